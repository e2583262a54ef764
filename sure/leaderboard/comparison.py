"""Which of several scores differ: paired differences of all of them, Holm-corrected."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel

from sure.record import decimals
from sure.task.scoring import LEVEL, NOISE, TAILS, Sampling

# A little less than the normal distribution's quantile of 97.5 %, than which Student's t has none smaller.
_WITHIN = 1.95


class Sample(NamedTuple):
    """What says how far a score would vary: draws of the test rows, the same for all that are compared, or folds."""

    # Only scores of the same rows, or folds, are compared.
    rows: Hashable
    # The mean over seeds in each draw, or of each fold.
    values: np.ndarray
    # What makes of the variance over these that of the score, and the degrees of freedom of that.
    scale: float
    freedom: float
    # The variance of the score that is due to seeds, where these are several; that of folds holds it already.
    between: float = 0.0
    seeds: int = 1

    @classmethod
    def of_draws(cls, rows: Hashable, sampling: Sampling, draws: np.ndarray, scores: Sequence[float]) -> "Sample":
        """Of a score that is the mean of those of some seeds, with `draws`, (resamples,), of that mean."""
        seeds = len(scores)
        between = float(np.var(scores, ddof=1)) / seeds if seeds > 1 else 0.0
        # A draw of some speakers varies less than a sample of as many.
        scale = sampling.speakers / sampling.freedom if sampling.of_speakers else 1.0
        return cls(rows, draws, scale, sampling.freedom, between, seeds)

    @classmethod
    def of_folds(cls, rows: Hashable, scores: Sequence[float]) -> "Sample":
        """Of a score that is the mean of those of some folds."""
        many = len(scores)
        values = np.asarray(scores, dtype=float)
        return cls(rows, values, 1 / many, many - 1)


class Difference(BaseModel):
    """How much higher a score is than another, in the metric's unit; its 95 % interval is that of this pair alone."""

    value: float
    low: float
    high: float
    # Holm's, for all pairs of the table.
    p: float

    @property
    def significant(self) -> bool:
        return self.p <= 1 - LEVEL

    def verdict(self, *, higher_is_better: bool) -> Literal["better", "worse"] | None:
        """Whether the score is significantly better or worse than the other; None where they cannot be told apart."""
        if not self.significant:
            return None
        return "better" if (self.value > 0) == higher_is_better else "worse"

    @property
    def p_words(self) -> str:
        """`0.034`, or `< 0.001`."""
        return "< 0.001" if self.p < 0.001 else f"{self.p:.3f}"

    def __str__(self) -> str:
        """`-0.051 [-0.080, -0.022]`; no end reads as zero that is none."""
        nearest = min(abs(self.low), abs(self.high))
        digits = decimals(nearest) if self.low * self.high > 0 and nearest < 0.0005 else 3
        return f"{self.value:+.{digits}f} [{self.low:+.{digits}f}, {self.high:+.{digits}f}]"


class Comparisons(NamedTuple):
    """Of every score minus every other, (scores, scores): difference, its error and degrees of freedom, corrected p.

    Error and freedom are NaN and p is 1 where two cannot be compared.
    """

    value: np.ndarray
    error: np.ndarray
    freedom: np.ndarray
    p: np.ndarray

    @property
    def significant(self) -> np.ndarray:
        return self.p <= 1 - LEVEL

    @property
    def half(self) -> np.ndarray:
        """Of the intervals' widths."""
        from scipy.special import stdtrit

        return stdtrit(self.freedom, TAILS[1]) * self.error

    def of(self, one: int, other: int) -> Difference | None:
        """None where the two cannot be compared."""
        if np.isnan(self.error[one, other]):
            return None
        pair = Comparisons(*(each[one, other] for each in self))
        value, half, p = float(pair.value), float(pair.half), float(pair.p)
        return Difference(value=value, low=value - half, high=value + half, p=p)


def compare(scores: Sequence[float], samples: Sequence[Sample]) -> Comparisons:
    """All pairs of some scores, each with what says how far it would vary.

    The variance of a difference is that of the differences of the same draws, or of the same folds, plus what seeds add
    on either side; the statistic is compared with Student's t. P-values are corrected by Holm (1979) for all pairs that
    can be compared, since the best is chosen by looking, so that with 95 % no true null hypothesis among them is
    rejected.
    """
    scores = np.asarray(scores, dtype=float)
    value = np.subtract.outer(scores, scores)
    variance, freedom = _variances(samples)
    error = np.sqrt(variance, out=variance)
    statistic = np.abs(value)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic /= error
    # What differs by as much in every draw differs.
    same = error == 0
    statistic[same] = np.where(np.abs(value[same]) > NOISE, np.inf, 0.0)
    return Comparisons(value, error, freedom, _corrected(statistic, freedom))


def _variances(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """Of each difference its variance and the degrees of freedom of that, (scores, scores); NaN where there is none."""
    of_rows = defaultdict(list)
    for place, sample in enumerate(samples):
        of_rows[sample.rows].append(place)
    if len(of_rows) == 1:
        return _variances_of_rows(samples)
    variance, freedom = np.full((2, len(samples), len(samples)), np.nan)
    for places in of_rows.values():
        block = np.ix_(places, places)
        variance[block], freedom[block] = _variances_of_rows([samples[place] for place in places])
    return variance, freedom


def _variances_of_rows(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """Of samples of the same rows."""
    covariance = np.atleast_2d(np.cov([sample.values for sample in samples]))
    own = np.diag(covariance)
    both = np.add.outer(own, own)
    # In place: of thousands of scores it is memory that takes the time.
    covariance *= 2
    within = np.subtract(both, covariance, out=covariance)
    within *= samples[0].scale
    # What is 0 but for the last digits of floats is 0.
    both *= NOISE
    within[within <= both] = 0
    between = np.array([sample.between for sample in samples])
    if not between.any():
        return within, np.broadcast_to(samples[0].freedom, within.shape)
    of_one = np.array([sample.between**2 / max(1, sample.seeds - 1) for sample in samples])
    variance = within + between[:, np.newaxis] + between
    # Welch's, of three variances.
    below = within**2 / samples[0].freedom + of_one[:, np.newaxis] + of_one
    return variance, np.divide(variance**2, below, out=np.full(below.shape, np.inf), where=below > 0)


def _corrected(statistic: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """P-values of Student's t on both sides, corrected, (scores, scores); each pair is one hypothesis.

    The p-value of most pairs need not be known: where many exceed 5 %, those that exceed 1 / their number become 1,
    since the least of them is multiplied by more than that number, and none is smaller after it.
    """
    from scipy.special import stdtr, stdtrit

    scores = len(statistic)
    pairs = (np.count_nonzero(~np.isnan(statistic)) - scores) // 2
    large = (np.count_nonzero(statistic <= _WITHIN) - scores) // 2
    # Whatever the degrees of freedom, up to here they exceed it.
    bound = -stdtrit(np.nanmax(freedom), 1 / (2 * large)) if large * (1 - LEVEL) >= 1 else -1.0
    some = np.nonzero(np.triu(statistic > bound, 1))
    corrected = np.ones(statistic.shape)
    corrected[some] = corrected[some[::-1]] = holm(2 * stdtr(freedom[some], -statistic[some]), pairs)
    return corrected


def holm(p: np.ndarray, hypotheses: int | None = None) -> np.ndarray:
    """P-values, (values,), corrected (Holm 1979) for their number, or for that of `hypotheses`, the others' being 1."""
    rising = np.argsort(p)
    left = (len(p) if hypotheses is None else hypotheses) - np.arange(len(p))
    corrected = np.empty(len(p))
    corrected[rising] = np.maximum.accumulate(np.minimum(1, p[rising] * left))
    return corrected
