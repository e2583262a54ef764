"""Scores with confidence intervals, from prediction rows alone: the runner and the leaderboard both call this."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sure.record import Drawn, Interval, Score
from sure.task import Task

if TYPE_CHECKING:
    from sure.metric import Metric

RESAMPLES = 1000
LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)

# Fewer are not drawn. A bootstrap over fewer clusters than about ten is unreliable (Cameron, Gelbach and Miller 2008,
# section 1). Trials share their recordings, so that drawing trials is worse than drawing five speakers: see the
# coverage in leaderboard/README.md.
FEWEST_SPEAKERS = {"utterance": 10, "trial": 5}

# Scores that differ by no more are the same, but for the last digits of a float.
NOISE = 1e-9

# Counts of rows in memory at a time, of which metrics make several arrays.
_AT_A_TIME = 1_000_000

# From how many trials on it takes longer to count each in every draw than to look for where to count.
_MANY_TRIALS = 2_000

Rows = Sequence[dict[str, Any]]


class Scored(NamedTuple):
    """The scores of an evaluation, what was drawn, and how many speakers they are for where they are for no others."""

    scores: dict[str, Score]
    drawn: Drawn
    speakers: int | None


def score_with_intervals(task: Task, rows: Rows, resamples: int = RESAMPLES) -> Scored:
    """Every metric of the task with its 95 % interval, the same for the same rows in any order.

    Utterances of one speaker are not independent, so speakers are drawn with all their utterances, or trials, where
    every row names its speakers and these are not too few (`FEWEST_SPEAKERS`); otherwise rows are drawn, and the
    interval tells nothing of other speakers. A share of rows has Wilson's interval (`wilson`), other metrics the
    percentiles of the draws.
    """
    prepared = Prepared.of(task, rows, task.metrics)
    sampling, (draws,) = paired_draws([prepared], resamples)
    scores = {
        name: over_seeds(metric, [prepared.score(name)], draws[name], sampling)
        for name, (metric, *_) in prepared.metrics.items()
    }
    return Scored(scores, sampling.drawn, sampling.only_speakers)


def over_seeds(metric: "Metric", values: Sequence[float], draws: np.ndarray, sampling: "Sampling") -> Score:
    """The mean of the scores that one configuration has with several seeds, and its interval.

    `draws`, (resamples,), are of that mean, all seeds scored on the same drawn rows. Their variance is that of the test
    sample; that of the seeds is estimated from `values`, the variance of their mean added, and Student's t taken for
    what is known of both (Welch 1947, Satterthwaite 1946). Of one seed nothing is known of others.
    """
    from scipy.special import stdtrit

    value, seeds = float(np.mean(values)), len(values)
    between = float(np.var(values, ddof=1)) / seeds if seeds > 1 else 0.0
    if metric.share_of_rows:
        rows, freedom = sampling.information(value, draws, seeds)
        if between:
            within = value * (1 - value) / rows
            rows, freedom = rows * within / (within + between), welch(within, freedom, between, seeds - 1)
        (low, high), method = wilson(value, rows, stdtrit(freedom, TAILS[1])), "Wilson"
    else:
        low, high = (float(end) for end in np.quantile(draws, TAILS))
        method = "percentile bootstrap"
        if between:
            low, high = _widened(low, high, draws, between, seeds - 1)
            low, high = metric.cut(low, value, high)
        elif high - low <= NOISE:
            low, high, method = value, value, "undetermined"
    return Score(
        value=value,
        low=low,
        high=high,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        method=method,
    )


def welch(one: float, freedom: float, other: float, other_freedom: float) -> float:
    """Degrees of freedom of the sum of two estimated variances, each with its own (Satterthwaite 1946)."""
    return (one + other) ** 2 / (one**2 / freedom + other**2 / other_freedom)


def _widened(low: float, high: float, draws: np.ndarray, between: float, freedom: float) -> tuple[float, float]:
    """An interval of draws made wider by another variance, about their mean, and as lopsided as it was."""
    from scipy.special import stdtrit

    within, middle = draws.var(), draws.mean()
    quantile = stdtrit(welch(within, np.inf, between, freedom), TAILS[1])
    if high - low <= NOISE:
        half = quantile * np.sqrt(between)
        return float(middle - half), float(middle + half)
    factor = quantile / stdtrit(np.inf, TAILS[1]) * np.sqrt(1 + between / within)
    return float(middle - factor * (middle - low)), float(middle + factor * (high - middle))


def interval(scored: Mapping[str, Scored]) -> Interval:
    """What a record says of the intervals of its evaluations."""
    return Interval(
        level=LEVEL,
        resamples=RESAMPLES,
        resampled={name: of.drawn for name, of in scored.items()},
        speakers={name: of.speakers for name, of in scored.items() if of.speakers},
    )


@dataclass(frozen=True)
class Prepared:
    """One run's predictions of an evaluation, ready to be drawn: no more than what its metrics need of each row."""

    # Of the ids, in order.
    sha256: str
    sampling: "Sampling"
    # By name, a metric and what it prepared.
    metrics: dict[str, tuple["Metric", np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, task: Task, rows: Rows, names: Iterable[str]) -> "Prepared":
        rows = by_id(rows)
        comparable = task.comparable(rows)
        metrics = {name: task.metric_named(name) for name in names}
        return cls(
            hashlib.sha256("\n".join(str(row["id"]) for row in rows).encode()).hexdigest(),
            Sampling.of(task, rows),
            {name: (metric, *metric.prepare(*comparable)) for name, metric in metrics.items()},
        )

    def score(self, name: str) -> float:
        """Of all rows, by a metric."""
        metric, *arrays = self.metrics[name]
        return metric.score(*arrays)


def paired_draws(
    runs: Sequence[Prepared], resamples: int = RESAMPLES
) -> tuple["Sampling", list[dict[str, np.ndarray]]]:
    """The metrics of several predictions of the same rows, drawn together, and how: (resamples,) of each, by name.

    Every draw is the same rows for all, so that differences are those of methods and not of test sets. Raises
    `ValueError` where rows are not the same.
    """
    if len({run.sha256 for run in runs}) != 1:
        raise ValueError("Rows with other ids cannot be drawn together.")
    # Where some name more speakers than others, as trials of earlier runs do not, theirs hold for all.
    sampling = max((run.sampling for run in runs), key=lambda one: (one.drawn == "speaker", one.speakers))
    drawn = iter(_draw([prepared for run in runs for prepared in run.metrics.values()], sampling, resamples))
    return sampling, [{name: next(drawn) for name in run.metrics} for run in runs]


def by_id(rows: Rows) -> Rows:
    """Sorted: what is drawn does not depend on the order in which rows were written."""
    return sorted(rows, key=lambda row: str(row["id"]))


def wilson(share: float, trials: float, quantile: float) -> tuple[float, float]:
    """The score interval of a proportion (Wilson 1927), which never shrinks to a point, not even where all are right.

    `trials` may be an effective number, `quantile` of Student's t (Dean and Pagano 2015, for clustered samples).
    """
    spread = quantile**2 / trials
    middle = share + spread / 2
    half = np.sqrt(share * (1 - share) * spread + spread**2 / 4)
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    # Of all and of none the one end is the share itself, but for the last digits.
    return (0.0 if share == 0 else float(low)), (1.0 if share == 1 else float(high))


@dataclass(frozen=True)
class Sampling:
    """What a bootstrap draws of some rows: the rows themselves, or speakers with all of their rows.

    A row of two speakers, a trial, counts as often as the one was drawn times as often as the other was: a target
    trial, of one speaker, as often as that one was.
    """

    drawn: Drawn
    rows: int
    # Places of the speakers of each row, (rows, 2), twice the same where it is one, and their number; None if unknown.
    sides: np.ndarray | None
    speakers: int

    @classmethod
    def of(cls, task: Task, rows: Rows) -> "Sampling":
        both = [(row.get("speaker"), row.get("test_speaker", row.get("speaker"))) for row in rows]
        # By first appearance.
        places = {speaker: place for place, speaker in enumerate(dict.fromkeys(name for pair in both for name in pair))}
        if None in places:
            return cls(task.unit, len(rows), None, 0)
        one_sided = task.unit == "trial" and not all("test_speaker" in row for row in rows)
        drawn = "enrolment speaker" if one_sided else "speaker"
        if len(places) < FEWEST_SPEAKERS[task.unit]:
            drawn = task.unit
        sides = np.fromiter((places[name] for pair in both for name in pair), dtype=np.int64).reshape(-1, 2)
        return cls(drawn, len(rows), sides, len(places))

    @property
    def of_speakers(self) -> bool:
        return self.drawn not in ("utterance", "trial")

    @property
    def only_speakers(self) -> int | None:
        """The number of speakers where they are known, and the draws tell nothing of others."""
        return None if self.of_speakers else self.speakers or None

    def counts(self, resamples: int) -> Iterator[np.ndarray]:
        """How often each row counts in each draw, in parts of shape (draws, rows)."""
        if not self.of_speakers:
            yield from self.times(resamples)
            return
        one, other = self.sides.T
        of_two = np.flatnonzero(one != other)
        for times in self.times(resamples, self.rows):
            counts = times[:, one]
            if len(of_two):
                counts[:, of_two] *= times[:, other[of_two]]
            yield counts

    def times(self, resamples: int, others: int = 0) -> Iterator[np.ndarray]:
        """How often each row or speaker was drawn in each draw, in parts of shape (draws, rows or speakers).

        Parts are so small that each of their draws may have so many `others` in memory, with the same numbers.
        """
        generator = np.random.default_rng(0)
        size = self.speakers if self.of_speakers else self.rows
        at_a_time = max(1, _AT_A_TIME // max(size, others))
        for start in range(0, resamples, at_a_time):
            draws = min(at_a_time, resamples - start)
            chosen = generator.integers(size, size=(draws, size)) + size * np.arange(draws)[:, np.newaxis]
            yield np.bincount(chosen.ravel(), minlength=draws * size).reshape(draws, size)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of a variance of the draws: one less than there are speakers."""
        return self.speakers - 1 if self.of_speakers else np.inf

    def information(self, share: float, draws: np.ndarray, seeds: int = 1) -> tuple[float, float]:
        """How many independent rows tell as much of a share of rows as these do, and the degrees of freedom of that.

        It is what explains the variance of the draws, at most the rows of all seeds, which may err in different ones.
        Drawn rows are at least themselves. Where speakers are drawn, it is at least their number, as if all rows of a
        speaker were one, which is all that can be said where all are right.
        """
        if seeds == 1 and not self.of_speakers:
            return self.rows, self.freedom
        # A draw of some varies less than a sample of as many.
        variance = draws.var() * (self.speakers / self.freedom if self.of_speakers else 1)
        certain = share * (1 - share)
        effective = certain / variance if variance else np.inf
        least = self.speakers if self.of_speakers else self.rows
        return np.clip(effective if certain else 0, least, self.rows * seeds), self.freedom


def _draw(
    prepared: Iterable[tuple["Metric", np.ndarray, np.ndarray]], sampling: Sampling, resamples: int
) -> list[np.ndarray]:
    """Scores of the draws, (resamples,), of each metric with what it prepared."""
    from sure.metric.detection import DetectionMetric

    prepared = list(prepared)
    many = sampling.of_speakers and sampling.rows >= _MANY_TRIALS
    if many and all(isinstance(metric, DetectionMetric) for metric, *_ in prepared):
        drawn = [
            [metric.score_speaker_draws(*arrays, sampling.sides, times) for metric, *arrays in prepared]
            for times in sampling.times(resamples)
        ]
    else:
        drawn = [
            [metric.score_draws(*arrays, counts) for metric, *arrays in prepared]
            for counts in sampling.counts(resamples)
        ]
    return [np.concatenate(parts) for parts in zip(*drawn, strict=True)]
