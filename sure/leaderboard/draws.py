"""What a submission scores in every draw, made once and kept: it depends on its bytes alone, and on code.

`$SURE_CACHE/draws/<code>/<content>` holds a line of JSON, then float64 numbers: of each metric the score and that of
every draw. `<code>` is a hash of this package and of what it counts with, `<content>` one of the predictions and of all
that says how they are scored. Anything that is missing or not whole is made anew; the folder may be deleted.
"""

import functools
import hashlib
import inspect
import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import sure
from sure import registry
from sure.files import default_folder, write_atomically
from sure.leaderboard.submission import left_out, naming, rows_of
from sure.record import RESULT, Result
from sure.task import Task
from sure.task.scoring import RESAMPLES, Prepared, Sampling, paired_draws

_COUNTS_WITH = ("numpy", "scipy", "scikit-learn", "jiwer")


class Run(NamedTuple):
    """A submission, and the metrics of its test split that are drawn."""

    folder: Path
    result: Result
    task: Task
    metrics: tuple[str, ...]


class Drawn(NamedTuple):
    """What a run scores, by metric, and in every draw, (resamples,), of these rows."""

    # Of the ids, in order.
    rows: str
    # Without the speakers of each row, of which it has a hash.
    sampling: Sampling
    sides: str
    values: dict[str, float]
    draws: dict[str, np.ndarray]

    @classmethod
    def of(cls, one: Prepared, sampling: Sampling, draws: dict[str, np.ndarray]) -> "Drawn":
        values = {name: float(one.score(name)) for name in one.metrics}
        return cls(one.sha256, replace(sampling, sides=None), _sides(sampling), values, draws)

    @property
    def drawn_from(self) -> tuple[Any, ...]:
        """What is the same where draws are."""
        return self.rows, *_said(self.sampling), self.sides


def drawn(runs: Sequence[Run]) -> list[Drawn | None]:
    """Of each run, those of the same rows in the same draws; None, with a warning, for predictions that are none."""
    kept = default_folder() / "draws" / _code()
    keys = [(name := _key(run)) and kept / name for run in runs]
    known = [_kept(key, run.metrics) for key, run in zip(keys, runs, strict=True)]
    new = {}
    for place in (place for place, one in enumerate(known) if one is None):
        with left_out():
            new[place] = _prepared(runs[place])
    alike = defaultdict(list)
    for place, one in new.items():
        alike[one.sha256, *_said(one.sampling), _sides(one.sampling)].append(place)
    for places in alike.values():
        sampling, draws = paired_draws([new[place] for place in places])
        for place, of_run in zip(places, draws, strict=True):
            known[place] = Drawn.of(new[place], sampling, of_run)
            _keep(keys[place], known[place])
    # Where some name more speakers than others of the same rows, theirs hold for all.
    of_rows = defaultdict(list)
    for place, one in enumerate(known):
        if one is not None:
            of_rows[one.rows].append(place)
    for places in of_rows.values():
        if len({known[place].drawn_from for place in places}) > 1:
            prepared = [new.get(place) or _prepared(runs[place]) for place in places]
            sampling, draws = paired_draws(prepared)
            for place, one, of_run in zip(places, prepared, draws, strict=True):
                known[place] = Drawn.of(one, sampling, of_run)
    return known


def _prepared(run: Run) -> Prepared:
    rows = rows_of(run.folder / RESULT, run.result, run.task, "test")
    with naming(run.folder):
        return Prepared.of(run.task, rows, run.metrics)


def _said(sampling: Sampling) -> tuple[Any, ...]:
    return sampling.drawn, sampling.rows, sampling.speakers


def _sides(sampling: Sampling) -> str:
    return hashlib.sha256(b"" if sampling.sides is None else sampling.sides.tobytes()).hexdigest()


def _key(run: Run) -> str | None:
    """Under what name it is kept; None where predictions are not those of the record: `rows_of` says so."""
    file = run.result.predictions.get("test")
    if file is None or Path(file.path).name != file.path or not (path := run.folder / file.path).is_file():
        return None
    if hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
        return None
    of = run.result.run
    scored_by = [_task(type(run.task)), *(_metric(plugin.name) for plugin in of.plugins if plugin.kind == "metric")]
    said = [of.task, of.task_options, of.data.model_dump(mode="json"), scored_by, run.metrics, RESAMPLES, file.sha256]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


@functools.cache
def _task(of: type[Task]) -> str:
    """Of the files of a task, which may be a plug-in's, and of those that it extends."""
    modules = (inspect.getmodule(one) for one in of.__mro__)
    paths = sorted({module.__file__ for module in modules if getattr(module, "__file__", None)})
    return _sha256(*map(Path, paths))


@functools.cache
def _metric(name: str) -> str:
    return _sha256(registry.file("metric", name))


@functools.cache
def _code() -> str:
    versions = json.dumps([version(package) for package in _COUNTS_WITH])
    ours = _sha256(*sorted(Path(sure.__file__).parent.rglob("*.py")))
    return hashlib.sha256(f"{versions} {ours}".encode()).hexdigest()[:16]


def _sha256(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _kept(path: Path | None, metrics: tuple[str, ...]) -> Drawn | None:
    try:
        head, _, numbers = path.read_bytes().partition(b"\n") if path else (b"", b"", b"")
        rows, sampling, sides = json.loads(head)
        of_metrics = np.frombuffer(numbers).reshape(len(metrics), 1 + RESAMPLES)
        drawn, of_rows, speakers = sampling
    except (OSError, ValueError, TypeError):
        return None
    values = {name: float(of[0]) for name, of in zip(metrics, of_metrics, strict=True)}
    draws = {name: of[1:] for name, of in zip(metrics, of_metrics, strict=True)}
    return Drawn(rows, Sampling(drawn, of_rows, None, speakers), sides, values, draws)


def _keep(path: Path | None, one: Drawn) -> None:
    """Where the cache cannot be written, the next build takes as long as this one."""
    if path is None:
        return
    head = json.dumps([one.rows, _said(one.sampling), one.sides]).encode()
    numbers = np.array([[value, *one.draws[name]] for name, value in one.values.items()])
    with suppress(OSError):
        write_atomically(path, head + b"\n" + numbers.tobytes(), lasting=False)
