"""Two runs beside each other: what differs in their configuration, what they cost, and what their predictions say."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sure.errors import SureError
from sure.leaderboard.breakdown import (
    Confusion,
    ErrorBreakdown,
    alignment,
    at_equal_errors,
    confusions,
    counted,
    error_breakdown,
    kind,
)
from sure.leaderboard.comparison import Difference, Sample
from sure.leaderboard.comparison import compare as compare_samples
from sure.leaderboard.entries import words
from sure.leaderboard.submission import folders, naming, read, rows_of, task_of
from sure.metric.ratio import RatioMetric
from sure.record import DECISIVE, RESULT, Result
from sure.task import Task
from sure.task.scoring import NOISE, Prepared, Sampling, by_id, paired_draws

Rows = list[dict[str, Any]]

# Arguments that a run names by itself.
_SAID = ("task", "task_options", "backbone", "backbone_options", "method", "method_options", "seed")

# Of A minus B.
_VERDICTS = {"better": "A is better", "worse": "B is better", None: "cannot be told apart"}

# A matrix of more labels does not fit a terminal.
_MOST_LABELS = 12

# Confusions and errors that are named.
_MOST_NAMED = 15

# Longer values are cut.
_LONGEST = 80


class Table(NamedTuple):
    """A part of what is said of two runs."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    # Below it.
    about: str = ""


@dataclass(frozen=True)
class Compared:
    """One of two runs."""

    # As it was asked for.
    given: str
    record: Path
    result: Result
    # None of a failed run.
    task: Task | None

    @classmethod
    def of(cls, given: str, board: Path) -> "Compared":
        """A run's folder, its record, or a submission of a board by its name. Raises `SureError` where it is none."""
        submitted = Path(board) / "submissions" / given
        path = Path(given) if Path(given).exists() else submitted
        record = path / RESULT if path.is_dir() else path
        if not record.is_file():
            there = len(folders(board))
            raise SureError(
                f"{given}: neither a folder with a {RESULT}, nor such a file, nor one of the {there} submissions of "
                f"{board}."
            )
        result = read(record)
        return cls(given, record, result, task_of(record, result) if result.status == "complete" else None)

    def rows(self, evaluation: str) -> Rows:
        """Its predictions, by id."""
        return list(by_id(rows_of(self.record, self.result, self.task, evaluation)))

    def __str__(self) -> str:
        run = self.result.run
        failed = f", failed: {self.result.error}" if self.task is None else ""
        return f"{self.given}: {run.method.name} on {run.backbone.name}, {run.task}, seed {run.seed}{failed}"


def compare(one: Compared, other: Compared, utterances: int = 10) -> list[Table]:
    """All that is to be said of A, the one, and of B, the other; so many `utterances` that they differ on most.

    Raises `SureError` for predictions that are not there, have been changed or are no predictions.
    """
    tables = [configuration(one.result, other.result)]
    if one.task is None or other.task is None:
        return tables
    tables.append(_costs(one.result, other.result))
    shared = [name for name in one.result.scores if name in other.result.scores]
    of_evaluations = {name: (one.rows(name), other.rows(name)) for name in shared}
    with naming(Path(f"{one.given}, {other.given}")):
        tables.append(_scores(one, other, of_evaluations))
        tested = next((name for name in shared if name != "validation"), None)
        same = one.result.run.task == other.result.run.task
        if tested and same and _apart(*of_evaluations[tested]) is None:
            tables += _differing_most(one, other, tested, *of_evaluations[tested], utterances)
            tables += _breakdowns(one, other, tested, *of_evaluations[tested])
    return tables


def configuration(one: Result, other: Result) -> Table:
    """What differs of what ran. What decides no score, such as folders, is no more than named."""
    ours, theirs = (dict(_flat(_what_ran(result))) for result in (one, other))
    rows = [
        (name, _cell(ours.get(name, "-")), _cell(theirs.get(name, "-")))
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]
    arguments, others = one.run.arguments, other.run.arguments
    differing = [
        name
        for name in dict.fromkeys([*arguments, *others])
        if name not in (*DECISIVE, *_SAID) and arguments.get(name) != others.get(name)
    ]
    about = [] if rows else ["Nothing that decides scores."]
    about += [f"Further arguments that differ: {', '.join(differing)}."] if differing else []
    return Table("What differs of what ran", ("", "A", "B"), rows, " ".join(about))


def _what_ran(result: Result) -> dict[str, Any]:
    run = result.run.model_dump(mode="json", exclude={"arguments"})
    run["arguments"] = {name: result.run.arguments.get(name) for name in DECISIVE}
    return run | {"versions": result.provenance.versions, "commit": result.provenance.commit}


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _costs(one: Result, other: Result) -> Table:
    costs = (one.cost, other.cost)
    numbers = {
        "trainable parameters": [cost.trainable_parameters for cost in costs],
        "of these head": [cost.head_parameters for cost in costs],
        "total parameters": [cost.total_parameters for cost in costs],
        "share, head left out (%)": [100 * cost.trainable_share_without_head for cost in costs],
        "adapter (MB)": [cost.adapter_bytes / 1e6 for cost in costs],
        "GMAC per second of audio": [cost.macs_per_second / 1e9 for cost in costs],
        "training (s)": [cost.training_seconds for cost in costs],
        "evaluation (s)": [cost.evaluation_seconds for cost in costs],
        "utterances per second of training": [cost.samples_per_second for cost in costs],
        "steps": [cost.steps for cost in costs],
        "epochs": [cost.epochs for cost in costs],
    }
    kinds = {cost.memory.kind for cost in costs if cost.memory}
    if all(cost.memory for cost in costs) and len(kinds) == 1:
        numbers[f"memory at most, {kinds.pop()} (MB)"] = [cost.memory.maximum / 1e6 for cost in costs]
    rows = [(name, _number(a), _number(b), f"{b / a:.3g}" if a and b else "") for name, (a, b) in numbers.items()]
    rows.append(("device", *(cost.device for cost in costs), ""))
    rows.append(("processes", *(str(cost.processes) for cost in costs), ""))
    return Table("Budget and cost", ("", "A", "B", "B / A"), rows)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{1 if value >= 1 else 3}f}"


def _scores(one: Compared, other: Compared, of_evaluations: Mapping[str, tuple[Rows, Rows]]) -> Table:
    rows, notes = [], []
    for evaluation, both in of_evaluations.items():
        ours, theirs = one.result.scores[evaluation], other.result.scores[evaluation]
        names = [name for name in ours if name in theirs]
        reason = _apart(*both)
        differences = {}
        if reason is None:
            sampling, differences = paired(one.task, other.task, *both, names)
            reason = f"draws of {sampling.drawn}s"
            if sampling.only_speakers:
                reason += f", for these {sampling.only_speakers} speakers only"
        notes.append(f"{words(evaluation)}: {reason}")
        for name in names:
            difference = differences.get(name)
            p = verdict = ""
            if difference:
                p = difference.p_words
                verdict = _VERDICTS[difference.verdict(higher_is_better=ours[name].higher_is_better)]
            cells = (str(ours[name]), str(theirs[name]), str(difference or ""), p, verdict)
            rows.append((words(evaluation), words(name), *cells))
    about = "A - B: paired difference on the same rows with its 95 % interval; p as for this line alone. "
    about += f"Seed {one.result.run.seed} against seed {other.result.run.seed}: what other seeds would give is not in "
    about += "the intervals."
    about += f" {'. '.join(notes)}." if notes else ""
    return Table("Scores", ("", "metric", "A [95 %]", "B [95 %]", "A - B [95 %]", "p", ""), rows, about)


def paired(
    task: Task, other_task: Task, rows: Rows, other_rows: Rows, metrics: Iterable[str]
) -> tuple[Sampling, dict[str, Difference]]:
    """What was drawn of the same rows, and by metric how much higher the first predictions score than the others."""
    metrics = list(metrics)
    runs = [Prepared.of(task, rows, metrics), Prepared.of(other_task, other_rows, metrics)]
    sampling, draws = paired_draws(runs)
    differences = {}
    for name in metrics:
        scores = [run.score(name) for run in runs]
        samples = [
            Sample.of_draws(runs[0].sha256, sampling, drawn[name], [score])
            for drawn, score in zip(draws, scores, strict=True)
        ]
        differences[name] = compare_samples(scores, samples).of(0, 1)
    return sampling, differences


def _apart(ours: Rows, theirs: Rows) -> str | None:
    """Why two predictions cannot be compared row by row; None where they can."""
    one, other = ({str(row["id"]): row["reference"] for row in rows} for rows in (ours, theirs))
    if one.keys() != other.keys():
        return f"{len(one):,} and {len(other):,} rows, of which {len(one.keys() & other.keys()):,} are the same"
    differing = sum(one[name] != other[name] for name in one)
    return f"other references of {differing:,} of {len(one):,} rows" if differing else None


def _differing_most(
    one: Compared, other: Compared, evaluation: str, ours: Rows, theirs: Rows, most: int
) -> Iterator[Table]:
    """The rows that the one serves better and the other worse, by as much as can be told."""
    (merits, said), (other_merits, other_said) = (
        _merits(side.task, rows) for side, rows in ((one, ours), (other, theirs))
    )
    gaps = merits - other_merits
    falling = [place for place in np.argsort(-np.abs(gaps), kind="stable") if abs(gaps[place]) > NOISE]
    rows = [
        (
            str(ours[place]["id"]),
            _reference(one.task, ours[place]),
            said[place],
            other_said[place],
            "A" if gaps[place] > 0 else "B",
        )
        for place in falling[:most]
    ]
    unit = f"{one.task.unit}s"
    if rows:
        about = f"{len(falling):,} of {len(ours):,} {unit} differ."
        title = f"{unit.capitalize()} of {words(evaluation)} they differ on most"
        yield Table(title, ("id", "reference", "A", "B", "better"), rows, about)


def _reference(task: Task, row: Mapping[str, Any]) -> str:
    if kind(task) == "trials" and row["reference"] in (0, 1):
        return "target" if row["reference"] else "non-target"
    return _written(row["reference"])


def _merits(task: Task, rows: Rows) -> tuple[np.ndarray, list[str]]:
    """How well each row is served, (rows,), higher for better, and in words what was predicted of it."""
    of = kind(task)
    if of == "labels":
        predictions, references = task.comparable(rows)
        shares = [_probability(row) for row in rows]
        said = [
            _written(row["prediction"]) + (f" ({share:.2f} for the reference)" if share is not None else "")
            for row, share in zip(rows, shares, strict=True)
        ]
        # What is right is better than what is wrong, however sure.
        return (predictions == references) + np.array([share or 0.0 for share in shares]), said
    if of == "texts":
        unit, metric = counted(task)
        wrong = [
            sum(not pair.right for pair in alignment(metric, reference, prediction))
            for prediction, reference in zip(*task.comparable(rows), strict=True)
        ]
        said = [
            f"{_written(row['prediction'])} ({errors} {unit if errors != 1 else unit[:-1]} wrong)"
            for row, errors in zip(rows, wrong, strict=True)
        ]
        return -np.array(wrong, dtype=float), said
    if of == "trials":
        threshold, scores, targets = at_equal_errors(task, rows)
        # Scores of two systems have scales of their own; their order has not.
        places = np.searchsorted(np.sort(scores), scores) / len(scores)
        accepted = scores >= threshold
        words_of = {True: "accepted", False: "rejected"}
        said = [f"{score:.3f}, {words_of[bool(same)]}" for score, same in zip(scores, accepted, strict=True)]
        return (accepted == targets) + np.where(targets, places, 1 - places), said
    metric = task.metric_named(task.metric)
    if not isinstance(metric, RatioMetric):
        return np.zeros(len(rows)), [""] * len(rows)
    sums, totals = metric.prepare(*task.comparable(rows))
    values = np.divide(sums, totals, out=np.zeros(len(rows)), where=totals > 0)
    return (values if metric.higher_is_better else -values), [f"{value:.3f}" for value in values]


def _probability(row: Mapping[str, Any]) -> float | None:
    """What a classifier gave for the right label, of several columns on average; None where it does not say."""
    given, right = row.get("probabilities"), row["reference"]
    if not isinstance(given, dict):
        return None
    # Of one column there is no dictionary of columns.
    columns = (
        [(given.get(name), label) for name, label in right.items()] if isinstance(right, dict) else [(given, right)]
    )
    shares = [of.get(label) for of, label in columns if isinstance(of, dict)]
    if not shares or not all(isinstance(share, int | float) for share in shares):
        return None
    return float(np.mean(shares))


def _written(value: Any) -> str:
    return ", ".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def _breakdowns(one: Compared, other: Compared, evaluation: str, ours: Rows, theirs: Rows) -> Iterator[Table]:
    of = kind(one.task)
    on = f"on {words(evaluation)}"
    if of == "labels":
        both = zip(confusions(one.task, ours), confusions(other.task, theirs), strict=True)
        for confusion, other_confusion in both:
            yield _confusions(confusion, other_confusion, on)
    elif of == "texts":
        yield from _errors(error_breakdown(one.task, ours), error_breakdown(other.task, theirs), on)
    elif of == "trials":
        yield _sides(at_equal_errors(one.task, ours), at_equal_errors(other.task, theirs), on)


def _confusions(one: Confusion, other: Confusion, on: str) -> Table:
    labels = list(dict.fromkeys([*one.labels, *other.labels]))
    title = f"Confusions of {words(one.column)}s {on}, A / B"
    if len(labels) <= _MOST_LABELS and one.labels == other.labels:
        rows = []
        for place, label in enumerate(labels):
            counts = zip(one.counts[place], other.counts[place], strict=True)
            found = f"{one.recalls[place]:.2f} / {other.recalls[place]:.2f}".replace("nan", "-")
            rows.append((label, *(f"{mine} / {theirs}" for mine, theirs in counts), found))
        return Table(title, ("reference", *labels, "found"), rows, "Columns: what was predicted.")
    ours, theirs = ({(said, taken): times for said, taken, times in of.most_frequent()} for of in (one, other))
    return _most_frequent(title, ("reference", "predicted"), ours, theirs)


def _errors(one: ErrorBreakdown, other: ErrorBreakdown, on: str) -> Iterator[Table]:
    ours, theirs = one.shares(), other.shares()
    rows = [(name, *(f"{count:,} ({share:.2%})" for count, share in (ours[name], theirs[name]))) for name in ours]
    yield Table(f"Errors of {one.unit} {on}", ("", "A", "B"), rows, f"Of {one.units:,} {one.unit}.")
    headers_of = {
        "substitutions": ("reference", "predicted"),
        "deletions": ("left out",),
        "insertions": ("added",),
    }
    for name, headers in headers_of.items():
        table = _most_frequent(f"Most frequent {name}", headers, getattr(one, name), getattr(other, name))
        if table.rows:
            yield table


def _most_frequent(title: str, headers: Sequence[str], ours: Mapping, theirs: Mapping) -> Table:
    """Of both, in the order of how often the one or the other has it."""
    counts = {what: (ours.get(what, 0), theirs.get(what, 0)) for what in [*ours, *theirs]}
    falling = sorted(counts.items(), key=lambda item: -max(item[1]))
    rows = [
        (*((what,) if isinstance(what, str) else what), f"{a:,}", f"{b:,}") for what, (a, b) in falling[:_MOST_NAMED]
    ]
    about = f"{len(falling) - _MOST_NAMED:,} more." if len(falling) > _MOST_NAMED else ""
    return Table(title, (*headers, "A", "B"), rows, about)


def _sides(one: tuple[float, np.ndarray, np.ndarray], other: tuple[float, np.ndarray, np.ndarray], on: str) -> Table:
    (threshold, scores, targets), (other_threshold, other_scores, _) = one, other
    right = (scores >= threshold) == targets
    other_right = (other_scores >= other_threshold) == targets
    parts = (right & other_right, right & ~other_right, ~right & other_right, ~right & ~other_right)
    rows = [
        (name, f"{of.sum():,}", *(f"{(of & part).sum():,}" for part in parts))
        for name, of in (("targets", targets), ("non-targets", ~targets))
    ]
    about = f"Accepted from {threshold:.4f} (A) and {other_threshold:.4f} (B) on, where both errors are as frequent."
    headers = ("", "trials", "both right", "only A right", "only B right", "both wrong")
    return Table(f"Trials that change sides {on}, each at its equal error rate", headers, rows, about)
