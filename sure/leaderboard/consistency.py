"""In what a record contradicts itself, or says what no run can: without its predictions, and without counting anew."""

import functools
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import yaml

from sure import registry
from sure.record import Cost, Result, Run
from sure.task import Task

# Of a share that was computed from two counts.
_ROUNDING = 1e-9

# Characters of an option's value that are read as YAML, which takes its time; a longer one is a text.
_LONGEST_VALUE = 10_000


def contradictions(result: Result) -> Iterator[str]:
    """Each as `field: what is wrong`."""
    run = result.run
    if not re.fullmatch("[0-9a-f]{64}", run.data.fingerprint):
        yield f"run.data.fingerprint: {run.data.fingerprint[:80]!r} is no SHA-256."
    if not 0 <= run.seed < 2**32:
        yield f"run.seed: {run.seed} is not from 0 to 2^32 - 1."
    for name, split in run.data.splits.items():
        if split.utterances < 1 or split.seconds <= 0:
            yield f"run.data.splits.{name}: {split.utterances} utterances of {split.seconds:g} s."
        if split.speakers is not None and not 1 <= split.speakers <= split.utterances:
            yield f"run.data.splits.{name}.speakers: {split.speakers} of {split.utterances} utterances."
    yield from _of_arguments(run)
    yield from _times(result)
    if result.status == "failed":
        if result.scores or result.predictions:
            yield "status: a failed run has no scores and no predictions."
        return
    if result.error is not None:
        yield "error: a complete run has none."
    if result.cost is None or result.interval is None:
        yield "cost: a complete run states its cost and how its intervals were made."
    elif set(result.interval.resampled) != set(result.scores):
        yield f"interval.resampled: of {sorted(result.interval.resampled)}; scores are of {sorted(result.scores)}."
    # Where references are hidden there are predictions on test, and no scores.
    for what, names in (("scores", {"validation"}), ("predictions", {"validation", "test"})):
        if not names <= set(there := getattr(result, what)):
            yield f"{what}: of {sorted(there)}; expected {sorted(names)} at least."
    for name, scores in result.scores.items():
        if result.metric not in scores:
            yield f"scores.{name}: it has no {result.metric}, the metric that ranks."
        for metric, score in scores.items():
            if not score.low <= score.value + _ROUNDING or not score.value <= score.high + _ROUNDING:
                yield f"scores.{name}.{metric}: {score.value} is not within its interval, {score.low} to {score.high}."
    if result.cost is not None:
        for what in _of_cost(result.cost):
            yield f"cost.{what}"


def of_task_options(run: Run, task: Task) -> Iterator[str]:
    """Options of the task that the arguments claim and the run had not, or had and they leave out."""
    if (claimed := _claimed(run, "task_options")) is None:
        return
    options = {field.name: field for field in registry.options_of(type(task))}
    for name, value in claimed.items():
        if name not in options:
            yield f"run.arguments.task_options: {name[:80]}; {task.name} has no such option."
        elif getattr(task, name) is None and not _is_written(value, None):
            yield f"run.arguments.task_options: {name}={_short(value)}; the run had none."
    for name, value in registry.chosen_of(task).items():
        # A default of nothing may be found.
        if name not in claimed and options[name].default is not None:
            yield f"run.arguments.task_options: they leave out the run's {name}={_short(value)}."


def _claimed(run: Run, name: str) -> dict[str, str] | None:
    """By option what the arguments say; None where they name none, as earlier records' do."""
    given = run.arguments.get(name)
    if not isinstance(given, list):
        return None
    return {option: value for option, _, value in (str(pair).partition("=") for pair in given)}


def _of_arguments(run: Run) -> Iterator[str]:
    """What ran, where the arguments name something else; those of earlier records do not name all of it."""
    ran = {"task": run.task, "backbone": run.backbone.name, "method": run.method.name, "seed": run.seed}
    for name, said in ran.items():
        if name in run.arguments and run.arguments[name] != said:
            yield f"run.arguments.{name}: {_short(run.arguments[name])}; the run's is {_short(said)}."
    for name, options in (
        ("task_options", run.task_options),
        ("backbone_options", run.backbone.options),
        ("method_options", run.method.config),
    ):
        for option, value in (_claimed(run, name) or {}).items():
            # Of what is no number and no text, a run makes something else, such as a list of one value.
            if isinstance(options.get(option), int | float | str) and not _is_written(value, options[option]):
                yield f"run.arguments.{name}: {option}={_short(value)}; the run's is {_short(options[option])}."


# Runs of a board have the same options again and again, and YAML takes its time.
@functools.lru_cache(maxsize=1024, typed=True)
def _is_written(text: str, value: float | str | None) -> bool:
    """Whether a command line may say a value so."""
    try:
        read = yaml.safe_load(text) if len(text) <= _LONGEST_VALUE else text
    except (yaml.YAMLError, ValueError, RecursionError):
        read = text
    if not isinstance(read, int | float | str):
        # A default may be found for nothing.
        return read is None
    if isinstance(value, str):
        return str(read) == value
    try:
        # YAML takes 1e-3 for a text.
        return float(read) == value
    except (ValueError, OverflowError):
        return False


def _short(value: Any) -> str:
    return repr(value)[:80]


def _times(result: Result) -> Iterator[str]:
    moments = []
    for name in ("started", "finished"):
        said = getattr(result.provenance, name)
        try:
            moments.append(datetime.fromisoformat(said))
        except ValueError:
            yield f"provenance.{name}: {said[:80]!r} is no time in ISO 8601."
    if len(moments) == 2 and (moments[0].tzinfo is None) == (moments[1].tzinfo is None) and moments[1] < moments[0]:
        yield "provenance.finished: it finished before it started."


def _of_cost(cost: Cost) -> Iterator[str]:
    """Each as the field of the cost and what is wrong."""
    for name in ("total_parameters", "trainable_parameters", "adapter_bytes", "macs_per_second", "steps", "processes"):
        if (value := getattr(cost, name)) < 1:
            yield f"{name}: {value}; no complete run has less than 1."
    for name in ("head_parameters", "training_seconds", "evaluation_seconds", "samples_per_second", "epochs"):
        if (value := getattr(cost, name)) < 0:
            yield f"{name}: {value} is below 0."
    for name, value in cost.part_parameters.items():
        if value < 0:
            yield f"part_parameters.{name}: {value} is below 0."
    trainable, head, total = cost.trainable_parameters, cost.head_parameters, cost.total_parameters
    if not head <= trainable <= total:
        yield f"trainable_parameters: {trainable:,} are not from {head:,} of the head to {total:,} in all."
    else:
        shares = {
            "trainable_share": (trainable, total),
            "trainable_share_without_head": (trainable - head, total - head),
        }
        for name, (part, whole) in shares.items():
            share = part / whole if whole else 0.0
            if abs(getattr(cost, name) - share) > _ROUNDING:
                yield f"{name}: {getattr(cost, name)}; {part:,} of {whole:,} are {share}."
    if cost.memory is not None:
        memory = cost.memory
        if not 0 < memory.mean <= memory.maximum or not 0 < memory.percentile_99 <= memory.maximum:
            yield f"memory: mean {memory.mean:,}, 99th percentile {memory.percentile_99:,}, maximum {memory.maximum:,}."
    if cost.cached is not None and cost.cached.seconds < 0:
        yield f"cached.seconds: {cost.cached.seconds} is below 0."
