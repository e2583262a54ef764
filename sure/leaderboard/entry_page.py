"""A page for each entry: what ran, what it cost, how it learnt and where it errs; one file, nothing remote.

A page holds nothing of other entries, such as a rank, so that it is written anew only where its own submissions have
changed, or what makes pages: its first line says of what it was made.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np

import sure
from sure.errors import SureError
from sure.files import write_atomically
from sure.leaderboard import breakdown, charts
from sure.leaderboard.breakdown import Aligned, Confusion, ErrorBreakdown
from sure.leaderboard.charts import Axis, Chart, Line, Mark, chart
from sure.leaderboard.disclosure import standing
from sure.leaderboard.entries import Entry, entry_path, folds, footnote, words
from sure.leaderboard.spectrogram import spectrogram_uri
from sure.leaderboard.submission import naming, read, rows_of, task_of
from sure.metric.detection import DetectionMetric, rates
from sure.record import DECISIVE, RESULT, Result, shown
from sure.record.samples import read_sample
from sure.task import Task

_log = logging.getLogger(__name__)

# By which a page is known as one that may be written anew, or deleted.
_MARK = "<!-- Made by `sure leaderboard build` of "

# What decides what a page says, beside what its entry does.
_SOURCES = ("entry.html", "entry_page.py", "charts.py", "spectrogram.py", "breakdown.py")

# Longer values of settings are cut; the record has them whole.
_LONGEST_VALUE = 240

# So many runs of an entry have a line of their own.
_MOST_LINES = 8

# A matrix of more labels would be no picture; the most frequent confusions are.
_MOST_LABELS = 50

# Of what there may be many of: confusions, and utterances with errors.
_MOST_ERRORS, _MOST_UTTERANCES = 12, 8

# A detection error tradeoff begins at no smaller rate, and ends behind the larger one.
_LEAST_RATE, _MOST_RATE = 0.0005, 0.5


class _Run(NamedTuple):
    """A run behind an entry."""

    submission: str
    # Where there are several: its seed, and its fold.
    name: str
    fold: int | None
    # Where its record and all that this names are.
    folder: Path
    result: Result
    # None of a failed run, as are its rows none.
    task: Task | None
    # Of the test predictions.
    rows: list[dict[str, Any]]


def write_pages(entries: Iterable[Entry], board: Path) -> list[Path]:
    """Write the pages that are not there as they should be, and delete those of entries that are gone.

    Gives what was written. An entry whose record, predictions or samples cannot be read has no page, with a warning:
    one does not take theirs from all others.
    """
    folder = Path(board) / "entries"
    written, current = [], set()
    for entry in entries:
        path, mark = Path(board) / entry_path(entry), _mark(entry)
        try:
            if _first_line(path) != mark:
                write_atomically(path, f"{mark}\n{page(entry, board)}", lasting=False)
                written.append(path)
            current.add(path.name)
        except SureError as error:
            _log.warning("No page of an entry: %s", error)
    for path in folder.glob("*.html"):
        if path.name not in current and _first_line(path).startswith(_MARK):
            path.unlink()
    return written


def changed_pages(entries: Iterable[Entry], board: Path) -> Iterator[Path]:
    """Pages that are there and are not what `write_pages` writes. Raises `SureError` as `page`."""
    there = set((Path(board) / "entries").glob("*"))
    for entry in entries:
        path = Path(board) / entry_path(entry)
        if path in there and path.read_bytes() != f"{_mark(entry)}\n{page(entry, board)}".encode():
            yield path
        there.discard(path)
    yield from sorted(there)


def page(entry: Entry, board: Path) -> str:
    """The page of an entry; the same submissions give the same text.

    Raises `SureError` for a record, predictions or samples that cannot be read.
    """
    with naming(Path(board) / "submissions" / entry.submission):
        return _page(entry, list(_runs(entry, board)))


def _page(entry: Entry, runs: list[_Run]) -> str:
    result = runs[0].result
    decisive = {name: result.run.arguments[name] for name in DECISIVE if name in result.run.arguments}
    return (
        _environment()
        .get_template("entry.html")
        .render(
            entry=entry,
            runs=runs,
            result=result,
            options=_of_task(result, chosen=True),
            learned=_of_task(result, chosen=False),
            decisive=decisive,
            others={name: value for name, value in result.run.arguments.items() if name not in decisive},
            learning=_learning(runs, entry),
            confusions=_confusions(runs),
            texts=_texts(runs),
            tradeoff=_tradeoff(runs),
            samples=_samples(runs[0]),
        )
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sure.leaderboard", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"words": words, "value": _value, "shown": shown}
    environment.globals |= {
        "most_errors": _MOST_ERRORS,
        "footnote": footnote,
        "folds": folds,
        "standing": standing,
        "size": (charts.WIDTH, charts.HEIGHT),
    }
    return environment


@cache
def _made_with() -> str:
    sources = [(Path(__file__).parent / name).read_text(encoding="utf-8") for name in _SOURCES]
    return hashlib.sha256(json.dumps([sure.__version__, *sources]).encode()).hexdigest()


def _mark(entry: Entry) -> str:
    # Names of submissions end in hashes of their records, which have those of predictions and samples.
    own = entry.model_dump_json(exclude={"rank", "tied", "difference", "to_probe", "better_than"})
    return f"{_MARK}{hashlib.sha256(f'{_made_with()}{own}'.encode()).hexdigest()} -->"


def _first_line(path: Path) -> str:
    with suppress(OSError), path.open("rb", buffering=0) as file:
        return file.read(len(_MARK) + 100).partition(b"\n")[0].decode(errors="replace")
    return ""


def _runs(entry: Entry, board: Path) -> Iterator[_Run]:
    for run in entry.runs:
        folder = Path(board) / "submissions" / run.submission
        record = folder / RESULT
        result = read(record)
        task = task_of(record, result) if result.status == "complete" else None
        rows = rows_of(record, result, task, "test") if task else []
        name = f"seed {run.seed}" + (f", fold {run.fold}" if entry.over_folds else "")
        yield _Run(run.submission, name, run.fold, folder, result, task, rows)


def _of_task(result: Result, *, chosen: bool) -> dict[str, Any]:
    """Fields of the task that were given on the command line, or all others."""
    given = result.run.arguments.get("task_options")
    names = {str(option).partition("=")[0] for option in given} if isinstance(given, list) else set()
    return {name: value for name, value in result.run.task_options.items() if (name in names) == chosen}


def _value(value: Any) -> str:
    """As it stands in the record, cut where it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]} … ({len(text):,} characters)"


def _learning(runs: list[_Run], entry: Entry) -> list[Chart]:
    """Training loss and validation score by epoch, of the first runs that know them."""
    known = [run for run in runs if run.result.learning_curve][:_MOST_LINES]
    drawn = []
    metric = words(entry.metric)
    for title, field in (("training loss", "training_loss"), (f"validation {metric}", "validation")):
        lines, chosen = [], []
        for run in known:
            points = [point for point in run.result.learning_curve if getattr(point, field) is not None]
            if not points:
                continue
            lines.append(Line(run.name, [point.epoch for point in points], [getattr(point, field) for point in points]))
            final = run.result.scores.get("validation", {}).get(entry.metric)
            best = [point for point in points if field == "validation" and final and point.validation == final.value]
            chosen += [Mark(f"{run.name}: chosen", point.epoch, point.validation) for point in best[:1]]
        if lines:
            x = Axis.of("epoch", (value for line in lines for value in line.x), from_zero=True)
            y = Axis.of(title, (value for line in lines for value in line.y))
            ends = "; ".join(f"{line.name} from {line.y[0]:.3f} to {line.y[-1]:.3f}" for line in lines)
            drawn.append(chart(f"{title} by epoch: {ends}", x, y, lines, chosen))
    return drawn


def _of_kind(runs: list[_Run], kind: breakdown.Kind) -> list[_Run]:
    """Runs whose rows have a breakdown of this kind, and all say what they should have been."""
    return [
        run
        for run in runs
        if run.task and breakdown.kind(run.task) == kind and all(row.get("reference") is not None for row in run.rows)
    ]


def _confusions(runs: list[_Run]) -> list[tuple[Confusion, list[tuple[str, str, int]]]]:
    """Over all runs, by column of labels: the matrix, and which labels are confused most, where these are too many."""
    pooled: list[Confusion] = []
    for run in _of_kind(runs, "labels"):
        found = breakdown.confusions(run.task, run.rows)
        if pooled and [one.labels for one in pooled] != [one.labels for one in found]:
            # Folds may have other labels.
            return []
        before = [one.counts for one in pooled] or [0] * len(found)
        pooled = [one._replace(counts=one.counts + counts) for one, counts in zip(found, before, strict=True)]
    return [(one, one.most_frequent()[:_MOST_ERRORS] if len(one.labels) > _MOST_LABELS else []) for one in pooled]


class _Texts(NamedTuple):
    """Errors of a task's texts, over all runs."""

    errors: ErrorBreakdown
    # Of the first run the utterances with the most errors: id, errors, units, and both texts side by side.
    worst: list[tuple[str, int, int, list[Aligned]]]
    # What stands between two words, characters or phonemes.
    between: str


def _texts(runs: list[_Run]) -> _Texts | None:
    """None where there are none."""
    runs = _of_kind(runs, "texts")
    if not runs:
        return None
    parts = [breakdown.error_breakdown(run.task, run.rows) for run in runs]
    errors = parts[0]._replace(
        units=sum(part.units for part in parts),
        **{kind: sum((getattr(part, kind) for part in parts), Counter()) for kind in parts[0].shares()},
    )
    unit, metric = breakdown.counted(runs[0].task)
    predictions, references = runs[0].task.comparable(runs[0].rows)
    wrong, units = metric.prepare(predictions, references)
    worst = [
        (
            str(runs[0].rows[place]["id"]),
            int(wrong[place]),
            int(units[place]),
            breakdown.alignment(metric, references[place], predictions[place]),
        )
        for place in np.argsort(-wrong, kind="stable")[:_MOST_UTTERANCES]
        if wrong[place]
    ]
    return _Texts(errors, worst, "" if unit == "characters" else " ")


class _Tradeoff(NamedTuple):
    """Detection errors of a task's trials."""

    chart: Chart
    # By run, and then by metric, its value and the shares of misses and false alarms there.
    points: list[tuple[str, str, float, float, float]]


def _tradeoff(runs: list[_Run]) -> _Tradeoff | None:
    """The detection error tradeoff of each run's test trials (Martin et al. 1997); None where there are none."""
    curves, marks, points = [], [], []
    for run in _of_kind(runs, "trials")[:_MOST_LINES]:
        metrics = {name: run.task.metric_named(name) for name in run.task.metrics}
        metrics = {name: metric for name, metric in metrics.items() if isinstance(metric, DetectionMetric)}
        prepared = next(iter(metrics.values())).prepare(*run.task.comparable(run.rows))
        miss, false_alarm = rates(*prepared)
        curves.append((run.name, false_alarm, miss))
        for name, metric in metrics.items():
            missed, accepted = metric.operating_point(miss, false_alarm)
            score = float(metric.of_rates(miss[np.newaxis], false_alarm[np.newaxis])[0])
            points.append((run.name, words(name), score, missed, accepted))
            marks.append(Mark(words(name), accepted, missed))
    if not curves:
        return None
    read = {"false alarms (%)": [mark.x for mark in marks], "misses (%)": [mark.y for mark in marks]}
    low = max(_LEAST_RATE, min([_LEAST_RATE * 40, *(rate / 4 for at in read.values() for rate in at if rate)]))
    x, y = (Axis.of_rates(kind, low, min(0.95, max([_MOST_RATE, *at]) * 1.1)) for kind, at in read.items())
    lines = []
    for name, false_alarm, miss in curves:
        # What is beyond the ends would be drawn along them.
        within = (false_alarm <= x.high) & (miss <= y.high)
        lines.append(Line(name, false_alarm[within], miss[within]))
    label = "Detection error tradeoff: " + "; ".join(f"{name} {score:.4f}" for _, name, score, *_ in points)
    return _Tradeoff(chart(label, x, y, lines, marks), points)


def _samples(run: _Run) -> list[Mapping[str, Any]]:
    """What a page plays of a run: where the file is, its spectrogram, and what its prediction row says."""
    rows = {str(row["id"]): row for row in run.rows}
    samples = []
    for sample in run.result.samples:
        waveform = read_sample(run.folder, sample)
        if sample.id not in rows:
            raise SureError(f"{run.folder / RESULT}: the sample {sample.id!r} is of no test utterance.")
        row = rows[sample.id]
        measures = row["prediction"] if isinstance(row["prediction"], dict) else {}
        samples.append(
            {
                "id": sample.id,
                "path": f"../submissions/{run.submission}/{sample.path}",
                "seconds": len(waveform) / 16_000,
                "text": str(row.get("reference", "")),
                "speaker": row.get("speaker"),
                "measures": {name: value for name, value in measures.items() if isinstance(value, int | float)},
                "spectrogram": spectrogram_uri(waveform),
            }
        )
    return samples
