"""Submissions become entries: runs that differ in seeds and folds only are one, with one score and one interval."""

import gc
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, mean, stdev
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from sure import registry
from sure.errors import SureError
from sure.leaderboard.comparison import Sample
from sure.leaderboard.disclosure import Checks
from sure.leaderboard.draws import Run, drawn
from sure.leaderboard.entries import BOARD, Entry, EntryRun, EntryScore, differing, groups, rank, refuse_unknown
from sure.leaderboard.submission import LONGEST_VALUE, flat, folders, left_out, read, rows_of, score, shortened, task_of
from sure.record import DECISIVE, RESULT, Interval, Result, Score
from sure.task import Task
from sure.task.scoring import TAILS, interval

# What PEFT notes in a configuration and no score depends on.
_BOOKKEEPING = ("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision", "task_type")


class _Submitted(NamedTuple):
    folder: Path
    result: Result
    # None of a failed run.
    task: Task | None
    checks: Checks
    references_hidden: bool

    @property
    def fold(self) -> int | None:
        """The one it tested, where a corpus is parted into folds."""
        return getattr(self.task, self.task.cross_validation[0]) if self.task and self.task.cross_validation else None


@contextmanager
def no_collection() -> Iterator[None]:
    """Records hold no cycles; to look for some takes longer than to read ten thousand of them."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@no_collection()
def read_entries(
    board: Path = BOARD, task: str | None = None, joined: Mapping[Path, Path | None] = MappingProxyType({})
) -> list[Entry]:
    """All submissions, or those of one task, as ranked entries; sorted by task, corpus, metric and score.

    `joined` has, by the folder of a submission whose references are hidden, where it is with these and its scores, or
    None where it has none (`sure.leaderboard.hidden`). A submission that cannot be read, or whose plug-ins are not
    there, is left out with a warning: one does not take a board from all others. Raises `SureError` for a task that has
    none.
    """
    results = {}
    for folder in filter(None, (joined.get(folder, folder) for folder in folders(board))):
        with left_out():
            results[folder] = read(folder / RESULT)
    refuse_unknown(task, (result.run.task for result in results.values()))
    tasks, submitted, hiding = {}, [], set(joined.values())
    for folder, result in results.items():
        if task not in (None, result.run.task):
            continue
        # Of thousands of submissions there are few tasks.
        said = result.run.model_dump_json(include={"task", "task_options", "plugins"})
        with left_out():
            if result.status == "complete" and said not in tasks:
                tasks[said] = task_of(folder / RESULT, result)
            of_task = tasks[said] if result.status == "complete" else None
            hidden = folder in hiding or (result.status == "complete" and "test" not in result.scores)
            one = _Submitted(folder, result, of_task, Checks.of(folder), hidden)
            if result.made_earlier:
                _scores(one)
            submitted.append(one)
    of_submission = {runs[0].folder.name: runs for runs in _configurations(submitted)}
    entries = [_entry(runs) for runs in of_submission.values()]
    ranked = []
    for group in groups(entries):
        _tell_apart((entry, of_submission[entry.submission][0]) for entry in group)
        scored = [entry for entry in group if entry.score]
        samples = _samples([(entry, of_submission[entry.submission]) for entry in scored])
        failed = [entry for entry in group if not entry.score]
        ranked += rank([entry for entry, _ in samples] + failed, {entry.submission: one for entry, one in samples})
    return ranked


def _configurations(submitted: Iterable[_Submitted]) -> Iterator[list[_Submitted]]:
    """Runs that differ in nothing that decides their scores but their seeds and folds."""
    alike = defaultdict(list)
    for one in submitted:
        alike[_configuration(one)].append(one)
    for runs in alike.values():
        corpora = {(run.fold, run.result.run.data.fingerprint) for run in runs}
        # A fold that was tested in two corpora does not say to which of them another fold belongs.
        apart = len({fold for fold, _ in corpora}) < len(corpora)
        parted = defaultdict(list)
        seen = defaultdict(int)
        for run in runs:
            fingerprint = run.result.run.data.fingerprint
            # The same seed again, on other hardware say, is no other seed.
            seen[run.result.run.seed, fingerprint] += 1
            parted[apart and fingerprint, seen[run.result.run.seed, fingerprint]].append(run)
        yield from parted.values()


def _configuration(one: _Submitted) -> str:
    run = one.result.run
    fields = run.model_dump(mode="json", exclude={"seed", "arguments", "data"})
    if one.fold is None:
        fields["fingerprint"] = run.data.fingerprint
    else:
        # Each fold has a fingerprint of its own: its splits are others.
        del fields["task_options"][one.task.cross_validation[0]]
        fields["synthetic"] = run.data.synthetic
    fields["arguments"] = [run.arguments.get(name) for name in DECISIVE]
    # Where references are hidden, what claims a score on test is not what waits for one.
    return json.dumps([one.result.status, one.result.metric, "test" in one.result.scores, fields], sort_keys=True)


def _tell_apart(group: Iterable[tuple[Entry, _Submitted]]) -> None:
    """Says in its `settings` what an entry has differently from others of its method and backbone."""
    alike = defaultdict(list)
    for entry, submitted in group:
        run = submitted.result.run
        arguments = {name: run.arguments.get(name) for name in DECISIVE}
        settings = run.backbone.options | run.method.config | arguments
        alike[run.method.name, run.backbone.name].append((entry, settings))
    for several in alike.values():
        entries, settings = zip(*several, strict=True)
        differ = differing(settings)
        # What a method's config says of the revision is bookkeeping.
        texts = [
            _texts({name: each.get(name) for name in differ}) | {"revision": entry.backbone.revision[:8]}
            for entry, each in several
        ]
        differ = differing(texts)
        # Which modules is most often decided by what else differs, and said more shortly there.
        differ = [name for name in differ if name.rpartition(".")[2] != "target_modules"] or differ
        for entry, each in zip(entries, texts, strict=True):
            said = {name: each[name] for name in differ if name in each}
            entry.settings = ", ".join(f"{name}={shortened(value, LONGEST_VALUE)}" for name, value in said.items())


def _texts(settings: Mapping[str, Any]) -> dict[str, str]:
    """Those that have a value, as a command line says them."""
    return {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in flat(settings)
        if value not in (None, {}) and name.rpartition(".")[2] not in _BOOKKEEPING
    }


def _entry(runs: list[_Submitted]) -> Entry:
    """What its records say, with the scores of the first: those of several are `_samples`'."""
    (folder, result, task, *_), run, cost = runs[0], runs[0].result.run, runs[0].result.cost
    scores = {one.folder.name: _scores(one) for one in runs}
    of_runs = [
        EntryRun(
            submission=one.folder.name,
            seed=one.result.run.seed,
            fold=one.fold,
            score=of[result.metric].value if (of := scores[one.folder.name][0].get("test")) else None,
        )
        for one in runs
    ]
    first, intervals = scores[folder.name]
    folds = {one.fold: one.result.run.data.fingerprint for one in runs}
    if cost and len(runs) > 1:
        seconds = {
            name: mean(getattr(one.result.cost, name) for one in runs)
            for name in ("training_seconds", "evaluation_seconds")
        }
        cost = cost.model_copy(update=seconds)
    # Of one the same, in much less time.
    average = mean if len(runs) > 1 else fmean
    checks = [one.checks for one in runs]
    # A record comes from anyone.
    given = run.arguments.get("task_options")
    given = [str(option) for option in given] if isinstance(given, list) else []
    if len(folds) > 1:
        given = [option for option in given if option.partition("=")[0] != task.cross_validation[0]]
    return Entry(
        rank=None,
        tied=False,
        difference=None,
        to_probe=None,
        task=run.task,
        fingerprint=run.data.fingerprint if len(folds) == 1 else _hash(sorted(folds.items())),
        synthetic=run.data.synthetic,
        backbone=run.backbone,
        method=run.method,
        runs=of_runs,
        folds=None if None in folds else sorted(folds),
        folds_there_are=None if None in folds else task.cross_validation[1],
        options=" ".join(given),
        scored_by=_scored_by(task),
        metric=result.metric,
        # What was looked at once need not be again.
        test={name: EntryScore.model_construct(**dict(score)) for name, score in first.get("test", {}).items()},
        validation={
            name: average(of["validation"][name].value for of, _ in scores.values())
            for name in first.get("validation", {})
        },
        interval=intervals,
        cost=cost,
        trainable_parameters_without_head=cost and cost.trainable_parameters - cost.head_parameters,
        provenance=result.provenance,
        plugins=run.plugins,
        status=result.status,
        error=result.error,
        submission=folder.name,
        verified=all(one.verified for one in checks),
        unchecked=list(dict.fromkeys(what for one in checks for what in one.unchecked)),
        references_hidden=any(one.references_hidden for one in runs),
        disclosure=next((one.disclosure for one in checks if one.disclosure), None),
    )


def _scored_by(task: Task | None) -> str:
    if task is None:
        return ""
    chosen = registry.chosen_of(task)
    return " ".join(f"{name}={chosen[name]}" for name in task.scored_by if name in chosen)


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _scores(one: _Submitted) -> tuple[dict[str, dict[str, Score]], Interval | None]:
    result = one.result
    if not result.made_earlier:
        return result.scores, result.interval
    # A board makes its intervals as it does everybody's.
    record = one.folder / RESULT
    rows = {name: rows_of(record, result, one.task, name) for name in ("validation", "test") if name in result.scores}
    scored = score(record, result, one.task, rows)
    return {name: of.scores for name, of in scored.items()}, interval(scored)


def _samples(scored: list[tuple[Entry, list[_Submitted]]]) -> list[tuple[Entry, Sample]]:
    """Entries of one group with what says how far their scores would vary; of several runs, with the scores of all."""
    if scored and scored[0][0].over_folds:
        return [_of_folds(entry, runs) for entry, runs in scored]
    runs_of = [
        [Run(*run[:3], metrics=tuple(entry.test) if len(runs) > 1 else (entry.metric,)) for run in runs]
        for entry, runs in scored
    ]
    following = iter(drawn([run for runs in runs_of for run in runs]))
    samples = []
    for (entry, all_runs), runs in zip(scored, runs_of, strict=True):
        of_runs, whole = [], []
        for run, submitted in zip(runs, all_runs, strict=True):
            # None where predictions cannot be read.
            if (one := next(following)) is None:
                continue
            with left_out():
                # Other rows should not be: `disagreements` refuses them.
                if of_runs and one.rows != of_runs[0].rows:
                    raise SureError(f"{run.folder}: other utterances than {whole[0].folder}, of the same corpus.")
                of_runs.append(one)
                whole.append(submitted)
        if not whole:
            continue
        if len(whole) < len(runs):
            entry = _entry(whole)
        first = of_runs[0]
        of_mean = {name: np.mean([one.draws[name] for one in of_runs], axis=0) for name in first.draws}
        values = {name: [one.values[name] for one in of_runs] for name in of_mean}
        if len(whole) > 1:
            test = {
                name: EntryScore.of_seeds(runs[0].task.metric_named(name), values[name], of_mean[name], first.sampling)
                for name in entry.test
            }
            entry = entry.model_copy(update={"test": test})
        samples.append(
            (entry, Sample.of_draws(first.rows, first.sampling, of_mean[entry.metric], values[entry.metric]))
        )
    return samples


def _of_folds(entry: Entry, runs: list[_Submitted]) -> tuple[Entry, Sample]:
    """Its scores as means over folds, with Student's t over these (Ibragimov and Müller 2010)."""
    from scipy.special import stdtrit

    scores = {run.folder.name: _scores(run)[0]["test"] for run in runs}
    of_seed = defaultdict(list)
    for run in runs:
        of_seed[run.result.run.seed].append(run.folder.name)
    whole = [names for names in of_seed.values() if len(names) == len(entry.folds)]
    test = {}
    for name, first in entry.test.items():
        of_folds = [
            mean(scores[run.folder.name][name].value for run in runs if run.fold == fold) for fold in entry.folds
        ]
        value = mean(of_folds)
        half = float(stdtrit(len(of_folds) - 1, TAILS[1])) * stdev(of_folds) / len(of_folds) ** 0.5
        low, high = runs[0].task.metric_named(name).cut(value - half, value, value + half)
        test[name] = EntryScore(
            value=value,
            low=low,
            high=high,
            unit=first.unit,
            higher_is_better=first.higher_is_better,
            method="Student's t over folds",
            deviation=stdev(mean(scores[run][name].value for run in names) for names in whole)
            if len(whole) > 1
            else None,
        )
        if name == entry.metric:
            sample = Sample.of_folds(entry.fingerprint, of_folds)
    return entry.model_copy(update={"test": test}), sample
