"""Which of several scores differ: paired differences of all of them, Holm-corrected."""

from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel

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
        """`-0.051 [-0.080, -0.022]`."""
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


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
    value = np.subtract.outer(np.asarray(scores, dtype=float), np.asarray(scores, dtype=float))
    variance = np.full(value.shape, np.nan)
    freedom = np.full(value.shape, np.nan)
    for rows in {sample.rows for sample in samples}:
        places = [place for place, sample in enumerate(samples) if sample.rows == rows]
        block = np.ix_(places, places)
        of_rows = [samples[place] for place in places]
        covariance = np.atleast_2d(np.cov([sample.values for sample in of_rows]))
        own = np.diag(covariance)
        both = own[:, np.newaxis] + own
        within = of_rows[0].scale * (both - 2 * covariance)
        # What is 0 but for the last digits of floats is 0.
        within[within <= NOISE * both] = 0
        between = np.array([sample.between for sample in of_rows])
        of_one = np.array([sample.between**2 / max(1, sample.seeds - 1) for sample in of_rows])
        variance[block] = within + between[:, np.newaxis] + between
        # Welch's, of three variances.
        below = within**2 / of_rows[0].freedom + of_one[:, np.newaxis] + of_one
        freedom[block] = np.divide(variance[block] ** 2, below, out=np.full(below.shape, np.inf), where=below > 0)
    error = np.sqrt(variance)
    # The rest is of each pair once.
    some = np.nonzero(np.triu(~np.isnan(variance), 1))
    apart, by = np.abs(value[some]), error[some]
    # What differs by as much in every draw differs.
    statistic = np.divide(apart, by, out=np.where(apart > NOISE, np.inf, 0.0), where=by > 0)
    corrected = np.ones(value.shape)
    corrected[some] = corrected[some[::-1]] = holm(_p(statistic, freedom[some]))
    return Comparisons(value, error, freedom, corrected)


def _p(statistic: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """P-values of Student's t on both sides; 1 for those that Holm's correction makes 1 whatever they are.

    Where at least as many exceed 5 % as 1 / 5 % says, the least of them is made 1, and so are all.
    """
    from scipy.special import stdtr

    # Whatever the degrees of freedom, these exceed 5 %.
    large = statistic <= _WITHIN
    if large.sum() < 1 / (1 - LEVEL):
        large[:] = False
    p = np.ones(len(statistic))
    p[~large] = 2 * stdtr(freedom[~large], -statistic[~large])
    return p


def holm(p: np.ndarray) -> np.ndarray:
    """P-values corrected for their number, (hypotheses,) (Holm 1979)."""
    corrected = np.ones(len(p))
    # What is 1 stays 1 and comes last.
    below = np.flatnonzero(p < 1)
    rising = below[np.argsort(p[below])]
    left = np.arange(len(p), len(p) - len(rising), -1)
    corrected[rising] = np.maximum.accumulate(np.minimum(1, p[rising] * left))
    return corrected
