"""What goes wrong in predictions: labels that are confused, errors of words by kind, trials on the wrong side.

Pure functions of a task and of prediction rows that have their references. Which of them a task has is its `kind`.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from sure.metric.detection import DetectionMetric, rates
from sure.metric.error_rate import ErrorRate
from sure.task import Task
from sure.task.classification import ClassificationTask
from sure.task.speech_recognition.transcription import TranscriptionTask

Rows = Sequence[dict[str, Any]]

Kind = Literal["labels", "texts", "trials"]


class Confusion(NamedTuple):
    """How often each label was taken for each, of one column of labels."""

    column: str
    labels: list[str]
    # (labels, labels): of the label of each line how many were predicted as that of each column.
    counts: np.ndarray

    @property
    def recalls(self) -> np.ndarray:
        """Of each label, (labels,), the share that was found; NaN of those that do not occur."""
        occurring = self.counts.sum(axis=1)
        return np.divide(self.counts.diagonal(), occurring, out=np.full(len(occurring), np.nan), where=occurring > 0)

    def most_frequent(self) -> list[tuple[str, str, int]]:
        """What was taken for what and how often, the most frequent first; what was right is left out."""
        off = self.counts - np.diag(self.counts.diagonal())
        falling = np.argsort(-off, axis=None, kind="stable")
        pairs = zip(*np.unravel_index(falling[: np.count_nonzero(off)], off.shape), strict=True)
        return [(self.labels[said], self.labels[taken], int(off[said, taken])) for said, taken in pairs]


class Aligned(NamedTuple):
    """A word (or character, or phoneme) of a reference beside that of its prediction; one of both may not be there."""

    reference: str | None
    prediction: str | None

    @property
    def right(self) -> bool:
        return self.reference == self.prediction


class ErrorBreakdown(NamedTuple):
    """Errors of texts by kind, of the fewest that make predictions of references."""

    # What is counted: words, characters or phonemes.
    unit: str
    # Those of the references.
    units: int
    substitutions: Counter[tuple[str, str]]
    deletions: Counter[str]
    insertions: Counter[str]

    def shares(self) -> dict[str, tuple[int, float]]:
        """By kind, how many there are, and of how many units of the references that would be a share; as jiwer has it,
        of one unit where there is none."""
        counts = {kind: getattr(self, kind).total() for kind in ("substitutions", "deletions", "insertions")}
        return {kind: (count, count / max(1, self.units)) for kind, count in counts.items()}


def kind(task: Task) -> Kind | None:
    """Which breakdown a task's predictions have; None where they have none, such as measures of speech."""
    if isinstance(task.metric_named(task.metric), DetectionMetric):
        return "trials"
    if isinstance(task, ClassificationTask):
        return "labels"
    return "texts" if isinstance(task, TranscriptionTask) else None


def confusions(task: ClassificationTask, rows: Rows) -> list[Confusion]:
    """One for each column of labels. Raises `SureError` for a label outside the set, naming the row."""
    predictions, references = task.comparable(rows)
    of_columns = task.labels if isinstance(task.labels, dict) else {task.label_columns[0]: task.labels}
    counts = [len(labels) for labels in of_columns.values()]
    predicted, right = (np.unravel_index(ids, counts) for ids in (predictions, references))
    found = []
    for (column, labels), taken, said in zip(of_columns.items(), predicted, right, strict=True):
        matrix = np.zeros((len(labels), len(labels)), dtype=np.int64)
        np.add.at(matrix, (said, taken), 1)
        found.append(Confusion(column, list(labels), matrix))
    return found


def counted(task: TranscriptionTask) -> tuple[str, ErrorRate]:
    """What a task's errors are counted in, and the metric that aligns texts: its own, or else that of words."""
    rated = [name for name in task.metrics if isinstance(task.metric_named(name), ErrorRate)]
    name = rated[0] if rated else "word_error_rate"
    return f"{name.partition('_')[0]}s", task.metric_named(name)


def alignment(metric: ErrorRate, reference: str, prediction: str) -> list[Aligned]:
    """A prediction beside its reference, as the metric counts their errors."""
    found = metric.align(reference, prediction)
    (ours,), (theirs,), (chunks,) = found.references, found.hypotheses, found.alignments
    pairs = []
    for chunk in chunks:
        said, taken = ours[chunk.ref_start_idx : chunk.ref_end_idx], theirs[chunk.hyp_start_idx : chunk.hyp_end_idx]
        longest = max(len(said), len(taken))
        # A chunk that deletes has nothing of the prediction, one that inserts nothing of the reference.
        said, taken = ([*part, *[None] * (longest - len(part))] for part in (said, taken))
        pairs += map(Aligned, said, taken)
    return pairs


def error_breakdown(task: TranscriptionTask, rows: Rows) -> ErrorBreakdown:
    """Substitutions, deletions and insertions of all rows. Raises `SureError` for what is no text, naming the row."""
    unit, metric = counted(task)
    pairs = Counter(
        pair
        for prediction, reference in zip(*task.comparable(rows), strict=True)
        for pair in alignment(metric, reference, prediction)
    )
    units = sum(times for pair, times in pairs.items() if pair.reference is not None)
    errors = {pair: times for pair, times in pairs.items() if not pair.right}
    missed = {pair.reference: times for pair, times in errors.items() if pair.prediction is None}
    added = {pair.prediction: times for pair, times in errors.items() if pair.reference is None}
    swapped = {tuple(pair): times for pair, times in errors.items() if None not in pair}
    return ErrorBreakdown(unit, units, Counter(swapped), Counter(missed), Counter(added))


def at_equal_errors(task: Task, rows: Rows) -> tuple[float, np.ndarray, np.ndarray]:
    """The threshold of the equal error rate, and of each trial its score and whether it is a target, both (trials,).

    It is the highest score at which at least as large a share of non-targets is accepted as of targets is missed; a
    trial is accepted where its score is at least that. Raises `SureError` for rows that are no trials.
    """
    scores, references = task.comparable(rows)
    metric = next(metric for metric in map(task.metric_named, task.metrics) if isinstance(metric, DetectionMetric))
    miss, false_alarm = rates(*metric.prepare(scores, references))
    falling = np.unique(scores)[::-1]
    # Before the first threshold nothing is accepted.
    crossing = max(1, int(np.argmax(miss <= false_alarm)))
    return float(falling[crossing - 1]), scores, np.asarray(references) == 1
