"""A study as it is written, in YAML or by flags of the same names, resolved into the questions that it asks."""

import dataclasses
import difflib
import itertools
import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from sure import registry
from sure.backbone import loading
from sure.errors import SureError
from sure.files import read_text
from sure.method import by_name
from sure.runner.arguments import INDIFFERENT, RunArguments, TrainerArguments, parse
from sure.sweep.plan import Question, Range, Study, file_name, said, short, with_setting

# What a study may say. An entry of these three is a name, or a mapping of settings that has it.
_AXES = ("task", "backbone", "method")
_KEYS = ("output_dir", *_AXES, "data_dir", "budget", "learning_rate", "seed", "select", "settings")

# Settings that are lists already.
_LISTS = {
    field.name
    for arguments in (RunArguments, TrainerArguments)
    for field in dataclasses.fields(arguments)
    if "list" in str(field.type)
}
# Settings and options of tasks that choose what validation scores, which makes them no values to choose among by it.
_DECIDES_VALIDATION = {
    "metric_for_best_model",
    *(f"task_options.{one}" for one in ("fold", "shots", "draw", "language")),
}
_LARGEST_SEED = 2**32 - 1
_LARGEST_ETA = 1000


def read(path: Path) -> dict[str, Any]:
    """A study as its file has it. Raises `SureError` where it is no mapping in YAML."""
    try:
        raw = yaml.safe_load(read_text(path))
    # Such as a date of a thirteenth month.
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise SureError(f"{path}{line}: not YAML ({getattr(error, 'problem', error)}).") from None
    if not isinstance(raw, dict):
        raise SureError(f"{path}: a study is a mapping, such as `task: emodb_emotion`.")
    return raw


def resolve(raw: dict[str, Any], source: str) -> Study:
    """The study that `raw` describes; `source` names where it is from.

    Raises `SureError`, naming source and key, for an unknown key, name or setting and for a value that is none.
    """
    for key in raw:
        if key not in _KEYS:
            nearest = difflib.get_close_matches(str(key), _KEYS, n=1)
            raise SureError(
                f"{source}: unknown key {key!r}."
                + (f" Did you mean {nearest[0]!r}?" if nearest else "")
                + f" A study has {', '.join(_KEYS)}; any other flag of `sure train` goes under settings."
            )
    try:
        return _resolve(raw)
    except SureError as error:
        raise SureError(f"{source}: {error}") from None


def _resolve(raw: dict[str, Any]) -> Study:
    if raw.get("task") is None:
        raise SureError("task is missing: name one or several (`sure tasks`).")
    settings, select = mapping(raw.get("settings"), "settings"), raw.get("select", "halving")
    for name in settings:
        if name in _KEYS and (name != "learning_rate" or raw.get(name) is not None):
            raise SureError(f"{name} is not for `settings`: a study has it as its own key.")
    select = {"by": select} if isinstance(select, str) else dict(mapping(select, "select"))
    by = select.setdefault("by", "halving")
    if by not in ("grid", "halving", "optuna"):
        raise registry.unknown("way to select:", str(by), ["grid", "halving", "optuna"])
    eta, tries = _whole(select.pop("eta", 2), "select: eta", 2, _LARGEST_ETA), select.pop("tries", None)
    tries = None if tries is None else _whole(tries, "select: tries", 1)
    del select["by"]
    if raw.get("learning_rate") is not None:
        select["learning_rate"] = raw["learning_rate"]
    seeds = [_whole(seed, "seed", 0, _LARGEST_SEED) for seed in _list(raw.get("seed", TrainerArguments.seed))]
    if len(set(seeds)) < len(seeds) or not seeds:
        raise SureError(f"seed: {seeds} are not different seeds.")
    methods = raw.get("method")
    methods = registry.names("method") if methods in (None, "all", ["all"]) else methods
    backbones = RunArguments.backbone if raw.get("backbone") is None else raw["backbone"]
    budgets = [str(budget) for budget in _list(raw.get("budget"))] or [None]
    questions = []
    for task, backbone, method in itertools.product(
        _with_data(_entries(raw["task"], "task"), raw.get("data_dir")),
        _entries(backbones, "backbone"),
        _entries(methods, "method"),
    ):
        given = select | {name: value for entry in (task, backbone, method) for name, value in entry.items()}
        fixed, compared = _parted(settings | given)
        # Where no budget sizes a method, or it was given a size, there is one question whatever the budgets.
        own = {option.partition("=")[0] for option in fixed.get("method_options", [])}
        own |= {name.removeprefix("method_options.") for name in compared if name.startswith("method_options.")}
        sized = by_name.dimensions(method["method"])
        group = " ".join(_own_settings(task, "task") + _own_settings(backbone, "backbone"))
        for budget in budgets if sized and not own & {*sized, "budget"} else [None]:
            with_budget = with_setting(fixed, "method_options.budget", budget) if budget else fixed
            label = _label(task, backbone, method, budget)
            questions.append(_question(label, group, with_budget, compared, by, eta, tries, seeds))
    _refuse_same_names(questions)
    return Study(questions=questions)


def _question(
    name: str,
    group: str,
    settings: dict[str, Any],
    compared: dict[str, Any],
    by: str,
    eta: int,
    tries: int | None,
    seeds: list[int],
) -> Question:
    ranges = {key: value for key, value in compared.items() if isinstance(value, Range)}
    if ranges and by != "optuna":
        raise SureError(f"{', '.join(ranges)}: a range needs `select: optuna`; otherwise list the values to try.")
    if by == "optuna":
        if not ranges:
            raise SureError("select: optuna needs a range, such as `learning_rate: {from: 1e-4, to: 1e-2, log: true}`.")
        candidates, ranges, tries = [], compared, tries or 8
    else:
        candidates = [dict(zip(compared, values, strict=True)) for values in itertools.product(*compared.values())]
        if tries and tries < len(candidates):
            # As if drawn by chance, but always the same.
            chosen = sorted(random.Random(seeds[0]).sample(range(len(candidates)), tries))  # noqa: S311
            candidates = [candidates[index] for index in chosen]
        tries = None
    settings = {"disable_tqdm": True} | settings
    question = Question(
        name=name,
        group=group,
        settings=settings,
        metric="",
        higher_is_better=True,
        by=by,
        eta=eta,
        candidates=candidates,
        ranges=ranges,
        tries=tries,
        seeds=seeds,
    )
    # Every value is tried on the command line's own parser, which names the flag that is wrong.
    for values in candidates or question.corners:
        run, args = parse(question.cell(Path("out"), values, seeds[0]).command(), "sure train")
        task = run.make_task()
        by_name.config_class(run.method)
        loading.family_of(run.backbone)
        metric = (args.metric_for_best_model or task.metric).removeprefix("eval_")
        if (len(candidates) != 1) and (args.save_strategy not in ("epoch", "steps") or args.eval_strategy == "no"):
            raise SureError("to choose among values, runs pause: --eval_strategy and --save_strategy epoch or steps.")
    if metric not in task.metrics:
        raise registry.unknown(f"metric of {task.name} for --metric_for_best_model", metric, list(task.metrics))
    return question.model_copy(
        update={"metric": metric, "higher_is_better": task.metric_named(metric).higher_is_better}
    )


def _entries(value: Any, axis: str) -> list[dict[str, Any]]:
    entries = []
    for entry in _list(value):
        if isinstance(entry, str):
            entry = {axis: entry}
        if not isinstance(entry, dict) or not isinstance(entry.get(axis), str):
            raise SureError(f"{axis}: {entry!r} is neither a name nor a mapping of settings with `{axis}: NAME`.")
        entry = mapping(entry, axis)
        if foreign := [name for name in entry if name in _AXES and name != axis]:
            raise SureError(f"{axis}: {entry[axis]} has a {foreign[0]} of its own, which is a key of the study.")
        entries.append(entry)
    if not entries:
        raise SureError(f"{axis}: an empty list names none.")
    return entries


def _with_data(tasks: list[dict[str, Any]], folders: Any) -> list[dict[str, Any]]:
    """Each task with the folder of its corpus."""
    without, folders = [task for task in tasks if "data_dir" not in task], [str(one) for one in _list(folders)]
    if len(folders) == 1:
        folders *= len(without)
    if len(folders) != len(without):
        raise SureError(
            f"data_dir: {len(folders)} for {', '.join(task['task'] for task in without) or 'no task'}; give one for "
            "each task, in their order, or one for all."
        )
    found = iter(folders)
    return [task if "data_dir" in task else task | {"data_dir": next(found)} for task in tasks]


def _parted(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is fixed, and what is to be chosen: a list of values, or a range."""
    fixed: dict[str, Any] = {}
    compared: dict[str, Any] = {}
    for name, value in settings.items():
        if name in ("seed", "output_dir", "restart", "resume_from_checkpoint"):
            raise SureError(f"{name} is not for `settings`: a sweep has it from its own key, or does it by itself.")
        several = isinstance(value, list | dict) and name not in _LISTS
        if several and len(value) > 1 and (name in INDIFFERENT or name in _DECIDES_VALIDATION):
            raise SureError(f"{name}: scores do not say which of several is better; write an entry of `task` for each.")
        if isinstance(value, dict) and {"from", "to"} <= set(value) <= {"from", "to", "log"}:
            low, high = _typed(value["from"]), _typed(value["to"])
            numbers = all(isinstance(bound, int | float) and not isinstance(bound, bool) for bound in (low, high))
            if not numbers or not math.isfinite(low) or not math.isfinite(high) or not low < high:
                raise SureError(f"{name}: from {low} to {high} is no range.")
            if value.get("log") and low <= 0:
                raise SureError(f"{name}: from {low} to {high} is no range with `log`, which begins above 0.")
            compared[name] = Range(low=low, high=high, log=bool(value.get("log", False)))
        elif isinstance(value, list) and name not in _LISTS:
            values = [_typed(one) for one in value]
            none = not values or any(one is None or isinstance(one, list | dict) for one in values)
            if none or len(set(values)) < len(values):
                raise SureError(f"{name}: {value} are not different values.")
            compared[name] = values
        elif isinstance(value, dict) and name in _LISTS:
            raise SureError(
                f"{name}: {value} is a mapping; list it as [{', '.join(f'{a}={b}' for a, b in value.items())}]."
            )
        elif value is not None:
            value = _list(value) if name in _LISTS else json.dumps(value) if isinstance(value, dict) else _typed(value)
            fixed = with_setting(fixed, name, [str(one) for one in value] if isinstance(value, list) else value)
    # One value is no choice.
    for name in [name for name, values in compared.items() if isinstance(values, list) and len(values) == 1]:
        fixed = with_setting(fixed, name, compared.pop(name)[0])
    return fixed, compared


def _label(task: dict[str, Any], backbone: dict[str, Any], method: dict[str, Any], budget: str | None) -> str:
    """A question's name, which says what tells it from others and depends on no other."""
    parts = []
    for axis, entry in (("task", task), ("backbone", backbone), ("method", method)):
        parts.append(entry[axis].rstrip("/").rpartition("/")[2])
        for name in entry:
            parts += map(str, _list(entry[name])) if name in _LISTS else _own(entry, axis, name)
    if budget:
        parts.append(f"budget={budget}")
    return file_name("--".join(parts))


def _own_settings(entry: dict[str, Any], axis: str) -> list[str]:
    return [part for name in entry if name not in _LISTS for part in _own(entry, axis, name)]


def _own(entry: dict[str, Any], axis: str, name: str) -> list[str]:
    """What an entry's setting adds to names; nothing where its values are compared."""
    value = entry[name]
    if name in (axis, "data_dir") or isinstance(value, list | dict):
        return []
    return [f"{short(name)}={said(_typed(value))}"]


def _refuse_same_names(questions: list[Question]) -> None:
    for name, count in Counter(question.name for question in questions).items():
        if count > 1:
            raise SureError(f"{count} questions have the same name, {name}: name each task, backbone and method once.")
    # An entry's own setting stands in its question's name, and a compared one in its cells' names: they can be alike.
    known: dict[str, str] = {}
    for question in questions:
        for values, seed in itertools.product(question.candidates, question.seeds):
            name = question.cell(Path("out"), values, seed).name
            what = ", ".join([question.name, *(f"{of} {value!r}" for of, value in values.items())])
            if name in known:
                raise SureError(
                    f"{known[name]} and {what} would have the same folder, {name}: name each task, backbone and method "
                    "once, with values that their first six digits tell apart."
                )
            known[name] = what


def _typed(value: Any) -> Any:
    """YAML takes 5e-4 for a text, and 2026-01-01 for a date."""
    if not isinstance(value, str):
        return value if value is None or isinstance(value, bool | int | float | list | dict) else str(value)
    try:
        number = float(value)
    except ValueError:
        return value
    if not math.isfinite(number):
        return value
    return int(value) if value.isdecimal() else number


def _whole(value: Any, what: str, least: int, most: int | None = None) -> int:
    number = _typed(value)
    if isinstance(number, bool) or not isinstance(number, int) or number < least or (most and number > most):
        upto = f" to {most}" if most else " on"
        raise SureError(f"{what}: {value!r} is no whole number from {least}{upto}.")
    return number


def _list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def mapping(value: Any, key: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise SureError(f"{key}: {value!r} is no mapping of names to values.")
    for name in value or {}:
        if not isinstance(name, str):
            raise SureError(f"{key}: {name!r} is no name of a setting.")
    return dict(value or {})
