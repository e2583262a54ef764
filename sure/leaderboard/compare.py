"""Two runs beside each other: what differs in their configuration, what they cost, and what their predictions say.

On either side may be several runs of one configuration, which differ in their seeds, as in an entry of a board.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean
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
from sure.leaderboard.entries import EntryScore, mean_words, words
from sure.leaderboard.submission import (
    Rows,
    decisive,
    flat,
    folders,
    left_out,
    naming,
    read,
    rows_of,
    shortened,
    submission_name,
    task_of,
)
from sure.metric.ratio import RatioMetric
from sure.record import DECISIVE, RESULT, Cost, Result
from sure.task import Task
from sure.task.scoring import NOISE, Prepared, Sampling, by_id, paired_draws

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
    """A run."""

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
        try:
            path = Path(given) if Path(given).exists() else submitted
            record = path / RESULT if path.is_dir() else path
            found = record.is_file()
        # What is too long for a path is none.
        except OSError:
            found = False
        if not found:
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


@dataclass(frozen=True)
class Side:
    """A or B: a run, or several runs of one configuration, by seed."""

    runs: Sequence[Compared]

    @classmethod
    def of(cls, given: Sequence[str], board: Path, *, entry: bool = False) -> "Side":
        """Runs as `Compared.of` finds them; with `entry` those of the board's entry that has the one that is given.

        Raises `SureError` where they are not of one configuration, or a seed is there twice.
        """
        runs = [Compared.of(each, board) for each in given]
        if entry:
            runs = _of_entry(runs, board)
        runs.sort(key=lambda run: run.result.run.seed)
        for before, run in pairwise(runs):
            names = f"{before.given} and {run.given}"
            if differing := _unlike(before.result, run.result):
                raise SureError(f"{names}: no seeds of one configuration; these differ: {', '.join(differing)}.")
            if before.result.run.seed == run.result.run.seed:
                raise SureError(f"{names}: both are of seed {run.result.run.seed}.")
            if None in (before.task, run.task):
                raise SureError(f"{names}: a run that failed is no seed.")
        return cls(tuple(runs))

    @property
    def several(self) -> bool:
        return len(self.runs) > 1

    @property
    def result(self) -> Result:
        """Of the first run."""
        return self.runs[0].result

    @property
    def task(self) -> Task | None:
        """Of the first run; None where it failed."""
        return self.runs[0].task

    @property
    def cost(self) -> Cost:
        """Of the first run; what differs by time is a mean."""
        costs = [run.result.cost for run in self.runs]
        timed = ("training_seconds", "evaluation_seconds", "samples_per_second", "epochs") if self.several else ()
        return costs[0].model_copy(update={name: mean(getattr(cost, name) for cost in costs) for name in timed})

    @property
    def seeds(self) -> str:
        return ", ".join(str(run.result.run.seed) for run in self.runs)

    def rows(self, evaluation: str) -> list[Rows]:
        """Predictions of each run, by id. Raises `SureError` where they are of different rows."""
        of_runs = [run.rows(evaluation) for run in self.runs]
        for run, rows in zip(self.runs, of_runs, strict=True):
            if reason := _apart(of_runs[0], rows):
                raise SureError(f"{self.runs[0].given} and {run.given}, {evaluation}: {reason}.")
        return of_runs

    def __str__(self) -> str:
        first = self.runs[0]
        if not self.several:
            return str(first)
        what = str(first).removeprefix(first.given).rpartition(", seed ")[0]
        return f"{', '.join(run.given for run in self.runs)}{what}, seeds {self.seeds}"


def _of_entry(given: Sequence[Compared], board: Path) -> list[Compared]:
    """The seeds of a submission's configuration that its board has; of a seed that is there again, the first."""
    (named, *others), submissions = given, Path(board) / "submissions"
    if others or named.record.parent.resolve().parent != submissions.resolve():
        raise SureError(
            f"--entries: {', '.join(run.given for run in given)}: give one submission of {board} on either side; runs "
            "elsewhere are several by --with."
        )
    of_seeds = {named.result.run.seed: named}
    # Names say what ran, so that no others need be read.
    said, _, _ = submission_name(named.result).rpartition("--seed")
    for folder in sorted(submissions.glob(f"{said}--seed*")):
        with left_out():
            run = Compared.of(folder.name, board)
            if run.task and not _unlike(named.result, run.result):
                of_seeds.setdefault(run.result.run.seed, run)
    return list(of_seeds.values())


def _unlike(one: Result, other: Result) -> list[str]:
    """What differs of what decides scores, beside the seed."""
    ours, theirs = (dict(flat(decisive(result))) for result in (one, other))
    return [name for name in dict.fromkeys([*ours, *theirs]) if name != "seed" and ours.get(name) != theirs.get(name)]


def compare(one: Side, other: Side, utterances: int = 10) -> list[Table]:
    """All that is to be said of A, the one, and of B, the other; so many `utterances` that they differ on most.

    Raises `SureError` for predictions that are not there, have been changed or are no predictions.
    """
    tables = [configuration(one, other)]
    if one.task is None or other.task is None:
        return tables
    tables.append(_costs(one, other))
    runs = [run for side in (one, other) for run in side.runs]
    # Of what a board hides references there is nothing to compare.
    shared = [name for name in one.result.scores if all(name in run.result.scores for run in runs)]
    of_evaluations = {name: (one.rows(name), other.rows(name)) for name in shared}
    with naming(Path(", ".join(run.given for run in runs))):
        tables.append(_scores(one, other, of_evaluations))
        tested = next((name for name in shared if name != "validation"), None)
        same = one.result.run.task == other.result.run.task
        if tested and same and _apart(*(of_side[0] for of_side in of_evaluations[tested])) is None:
            tables += _differing_most(one, other, tested, *of_evaluations[tested], utterances)
            tables += _breakdowns(one, other, tested, *of_evaluations[tested])
    return tables


def configuration(one_side: Side, other_side: Side) -> Table:
    """What differs of what ran. What decides no score, such as folders, is no more than named."""
    one, other = one_side.result, other_side.result
    ours, theirs = (dict(flat(_what_ran(result))) for result in (one, other))
    if one_side.several or other_side.several:
        ours["seed"], theirs["seed"] = one_side.seeds, other_side.seeds
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
    return decisive(result) | {"versions": result.provenance.versions, "commit": result.provenance.commit}


def _cell(value: Any) -> str:
    return shortened(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), _LONGEST)


def _costs(one: Side, other: Side) -> Table:
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
    about = "Seconds, utterances per second and epochs are means over seeds; memory and device are of the first."
    return Table("Budget and cost", ("", "A", "B", "B / A"), rows, about if one.several or other.several else "")


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{1 if value >= 1 else 3}f}"


def _scores(one: Side, other: Side, of_evaluations: Mapping[str, tuple[list[Rows], list[Rows]]]) -> Table:
    rows, notes = [], []
    for evaluation, both in of_evaluations.items():
        recorded = [side.result.scores[evaluation] for side in (one, other)]
        names = [name for name in recorded[0] if name in recorded[1]]
        sides = list(zip((one, other), both, strict=True))
        reason = _apart(both[0][0], both[1][0])
        differences = {}
        if reason is None:
            prepared = (_prepared(side, of_side, names) for side, of_side in sides)
            sampling, means, differences = paired(*prepared, names)
            reason = f"draws of {sampling.drawn}s"
            if sampling.only_speakers:
                reason += f", for these {sampling.only_speakers} speakers only"
        else:
            means = [_means_alone(side, of_side, names) if side.several else {} for side, of_side in sides]
        notes.append(f"{words(evaluation)}: {reason}")
        for name in names:
            difference = differences.get(name)
            p = verdict = ""
            if difference:
                p = difference.p_words
                verdict = _VERDICTS[difference.verdict(higher_is_better=recorded[0][name].higher_is_better)]
            scores = (
                mean_words(of_mean[name], len(side.runs)) if side.several else str(of_record[name])
                for side, of_mean, of_record in zip((one, other), means, recorded, strict=True)
            )
            rows.append((words(evaluation), words(name), *scores, str(difference or ""), p, verdict))
    about = "A - B: paired difference on the same rows with its 95 % interval; p as for this line alone. "
    about += _covered(one, other)
    runs = [run.result for side in (one, other) for run in side.runs]
    notes += [
        f"{words(name)}: not compared, since references are hidden"
        for name in one.result.predictions
        if all(name in run.predictions for run in runs) and not all(name in run.scores for run in runs)
    ]
    about += f" {'. '.join(notes)}." if notes else ""
    return Table("Scores", ("", "metric", "A [95 %]", "B [95 %]", "A - B [95 %]", "p", ""), rows, about)


def _covered(one: Side, other: Side) -> str:
    """What intervals hold."""
    seeds = " against ".join(f"seed{'s' * side.several} {side.seeds}" for side in (one, other))
    seeds = f"{seeds[:1].upper()}{seeds[1:]}"
    if one.several and other.several:
        return f"{seeds}: means over seeds; intervals cover test sample and seed."
    unknown = "what other seeds would give is not in the intervals."
    if not (one.several or other.several):
        return f"{seeds}: {unknown}"
    several, single = "AB" if one.several else "BA"
    return f"{seeds}: intervals cover test sample and, of {several}, a mean over seeds, the seed; of {single} {unknown}"


def paired(
    ours: list[Prepared], theirs: list[Prepared], metrics: Sequence[str]
) -> tuple[Sampling, list[dict[str, EntryScore]], dict[str, Difference]]:
    """What was drawn of the same rows, what each side scores, and by metric how much higher the first than the other.

    Of several runs a side's scores are means over seeds.
    """
    sampling, draws = paired_draws([*ours, *theirs])
    sides = [
        _means(runs, sampling, of_side, metrics)
        for runs, of_side in ((ours, draws[: len(ours)]), (theirs, draws[len(ours) :]))
    ]
    means = [of_metrics for of_metrics, _ in sides]
    differences = {
        name: compare_samples([of[name].value for of in means], [samples[name] for _, samples in sides]).of(0, 1)
        for name in metrics
    }
    return sampling, means, differences


def _prepared(side: Side, of_runs: list[Rows], metrics: Iterable[str]) -> list[Prepared]:
    return [Prepared.of(run.task, rows, metrics) for run, rows in zip(side.runs, of_runs, strict=True)]


def _means_alone(side: Side, of_runs: list[Rows], metrics: Sequence[str]) -> dict[str, EntryScore]:
    """By metric the mean over a side's seeds, where the other has other rows."""
    runs = _prepared(side, of_runs, metrics)
    return _means(runs, *paired_draws(runs), metrics)[0]


def _means(
    runs: list[Prepared], sampling: Sampling, draws: list[dict[str, np.ndarray]], metrics: Iterable[str]
) -> tuple[dict[str, EntryScore], dict[str, Sample]]:
    """By metric the mean over some seeds, and what says how far it would vary."""
    means, samples = {}, {}
    for name in metrics:
        values, of_mean = [run.score(name) for run in runs], np.mean([of_run[name] for of_run in draws], axis=0)
        means[name] = EntryScore.of_seeds(runs[0].metrics[name][0], values, of_mean, sampling)
        samples[name] = Sample.of_draws(runs[0].sha256, sampling, of_mean, values)
    return means, samples


def _apart(ours: Rows, theirs: Rows) -> str | None:
    """Why two predictions cannot be compared row by row; None where they can."""
    one, other = ({str(row["id"]): row["reference"] for row in rows} for rows in (ours, theirs))
    if one.keys() != other.keys():
        return f"{len(one):,} and {len(other):,} rows, of which {len(one.keys() & other.keys()):,} are the same"
    differing = sum(one[name] != other[name] for name in one)
    return f"other references of {differing:,} of {len(one):,} rows" if differing else None


def _differing_most(
    one: Side, other: Side, evaluation: str, ours: list[Rows], theirs: list[Rows], most: int
) -> Iterator[Table]:
    """The rows that the one serves better and the other worse, by as much as can be told, on average over seeds."""
    (merits, said), (other_merits, other_said) = (_merits_of_side(*side) for side in ((one, ours), (other, theirs)))
    gaps = merits - other_merits
    falling = [place for place in np.argsort(-np.abs(gaps), kind="stable") if abs(gaps[place]) > NOISE]
    rows = [
        (
            str(ours[0][place]["id"]),
            _reference(one.task, ours[0][place]),
            said(place),
            other_said(place),
            "A" if gaps[place] > 0 else "B",
        )
        for place in falling[:most]
    ]
    unit = f"{one.task.unit}s"
    if rows:
        by = ", by means over seeds" if one.several or other.several else ""
        about = f"{len(falling):,} of {len(gaps):,} {unit} differ{by}."
        title = f"{unit.capitalize()} of {words(evaluation)} they differ on most"
        yield Table(title, ("id", "reference", "A", "B", "better"), rows, about)


def _merits_of_side(side: Side, of_runs: list[Rows]) -> tuple[np.ndarray, Callable[[int], str]]:
    """The means of `_merits`, and what says of a row what was predicted: of several seeds how often which."""
    found = [_merits(run.task, rows) for run, rows in zip(side.runs, of_runs, strict=True)]
    merits = np.mean([merits for merits, _ in found], axis=0)

    def said(place: int) -> str:
        if not side.several:
            return found[0][1][place][1]
        times = Counter(texts[place][0] for _, texts in found)
        return "; ".join(f"{text} ({many} of {len(found)})" for text, many in times.most_common())

    return merits, said


def _reference(task: Task, row: Mapping[str, Any]) -> str:
    if kind(task) == "trials" and row["reference"] in (0, 1):
        return "target" if row["reference"] else "non-target"
    return _written(row["reference"])


def _merits(task: Task, rows: Rows) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """How well each row is served, (rows,), higher for better, and in words what was predicted, briefly and in full."""
    of = kind(task)
    if of == "labels":
        predictions, references = task.comparable(rows)
        shares = [_probability(row) for row in rows]
        said = [
            _briefly(_written(row["prediction"]), f" ({share:.2f} for the reference)" if share is not None else "")
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
            _briefly(_written(row["prediction"]), f" ({errors} {unit if errors != 1 else unit[:-1]} wrong)")
            for row, errors in zip(rows, wrong, strict=True)
        ]
        return -np.array(wrong, dtype=float), said
    if of == "trials":
        threshold, scores, targets = at_equal_errors(task, rows)
        # Scores of two systems have scales of their own; their order has not.
        places = np.searchsorted(np.sort(scores), scores) / len(scores)
        accepted = scores >= threshold
        words_of = {True: "accepted", False: "rejected"}
        sides = [words_of[bool(same)] for same in accepted]
        said = [(side, f"{score:.3f}, {side}") for score, side in zip(scores, sides, strict=True)]
        return (accepted == targets) + np.where(targets, places, 1 - places), said
    metric = task.metric_named(task.metric)
    if not isinstance(metric, RatioMetric):
        return np.zeros(len(rows)), [("", "")] * len(rows)
    sums, totals = metric.prepare(*task.comparable(rows))
    values = np.divide(sums, totals, out=np.zeros(len(rows)), where=totals > 0)
    return (values if metric.higher_is_better else -values), [(f"{value:.3f}",) * 2 for value in values]


def _briefly(text: str, more: str) -> tuple[str, str]:
    return text, text + more


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


def _breakdowns(one: Side, other: Side, evaluation: str, ours: list[Rows], theirs: list[Rows]) -> Iterator[Table]:
    """Counts are sums over seeds; which trials change sides is said of two runs alone."""
    of, several = kind(one.task), one.several or other.several
    on = f"on {words(evaluation)}{', sums over seeds' * several}"
    all_ours, all_theirs = ([row for rows in of_runs for row in rows] for of_runs in (ours, theirs))
    if of == "labels":
        both = zip(confusions(one.task, all_ours), confusions(other.task, all_theirs), strict=True)
        for confusion, other_confusion in both:
            yield _confusions(confusion, other_confusion, on)
    elif of == "texts":
        yield from _errors(error_breakdown(one.task, all_ours), error_breakdown(other.task, all_theirs), on)
    elif of == "trials" and not several:
        yield _sides(at_equal_errors(one.task, all_ours), at_equal_errors(other.task, all_theirs), on)


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
    of = " and ".join(dict.fromkeys(f"{part.units:,}" for part in (one, other)))
    yield Table(f"Errors of {one.unit} {on}", ("", "A", "B"), rows, f"Of {of} {one.unit}.")
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
