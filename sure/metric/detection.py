"""Error rates of speaker detection at every threshold, for the metrics of verification trials."""

from abc import abstractmethod
from itertools import pairwise
from typing import ClassVar

import numpy as np

from sure.errors import SureError
from sure.metric import CountedMetric

# Into how many blocks of neighbouring scores trials are parted at most, and how many trials one has at least.
_BLOCKS, _FEWEST_TRIALS = 2048, 64

# Trials whose counts are in memory at a time, for all draws.
_AT_A_TIME = 256


class DetectionMetric(CountedMetric):
    """A metric of trials: predictions are scores, higher for the same speaker; references 1 for a target, 0 for none.

    Only the order of the scores matters, and equal scores are one threshold, so `prepare` replaces a score by its rank
    among the distinct ones.
    """

    higher_is_better = False
    feature = "float64"

    # What a bootstrap's sample counts that has, by chance, no target or no non-target trial: it tells nothing, as does
    # a system that cannot tell speakers apart.
    uninformed: ClassVar[float]

    def prepare(self, predictions: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ranks from 0 and whether a trial is a target, both of shape (trials,).

        Raises `SureError` where a score is not finite, a reference is neither 0 nor 1, or all trials are of one kind.
        """
        scores = np.asarray(predictions, dtype=np.float64)
        targets = np.asarray(references) == 1
        if not np.isfinite(scores).all():
            raise SureError("Trials: a score is no number (NaN or infinite).")
        if not (targets | (np.asarray(references) == 0)).all():
            raise SureError("Trials: a reference is neither 1 (same speaker) nor 0.")
        if targets.all() or not targets.any():
            kind = "targets" if targets.any() else "non-targets"
            raise SureError(f"Trials: all {len(targets)} are {kind}; error rates need both kinds.")
        return np.unique(scores, return_inverse=True)[1], targets

    def score_draws(self, predictions: np.ndarray, references: np.ndarray, counts: np.ndarray) -> np.ndarray:
        misses, false_alarms = errors(predictions, references, counts)
        # At the first threshold all targets are missed, at the last all non-targets are accepted.
        targets, others = misses[:, :1], false_alarms[:, -1:]
        scores = self.of_rates(misses / np.maximum(1, targets), false_alarms / np.maximum(1, others))
        return np.where(np.minimum(targets, others)[:, 0] > 0, scores, self.uninformed)

    def score_speaker_draws(
        self, predictions: np.ndarray, references: np.ndarray, sides: np.ndarray, times: np.ndarray
    ) -> np.ndarray:
        """`score_draws` where speakers were drawn `times`, (draws, speakers), with the trials of their `sides`.

        A trial of two sides, (trials, 2), counts as often as the one was drawn times as often as the other was, or,
        where both are one speaker, as often as that one was. The numbers are the same, without the counts of every
        trial in every draw, half a billion of VoxCeleb1-H: errors are added up over blocks of neighbouring scores, and
        followed from threshold to threshold only in the blocks that may hold what is looked for.
        """
        falling = np.argsort(-predictions, kind="stable")
        ranks, targets, (one, other) = predictions[falling], references[falling], sides[falling].T
        # Another speaker, who counts once, is the second of a trial that has none.
        other = np.where(one == other, times.shape[1], other)
        drawn = np.pad(times.astype(np.int32), ((0, 0), (0, 1)), constant_values=1)
        edges = _edges(ranks)
        hits, false_alarms = _sums_of_blocks(edges, targets, one, other, np.ascontiguousarray(drawn.T))
        misses = hits[:, -1:] - hits
        numbers = [np.maximum(1, total) for total in (hits[:, -1:], false_alarms[:, -1:])]
        searched = self.may_hold(misses / numbers[0], false_alarms / numbers[1])
        scores = np.full(len(times), self.uninformed)
        for draw in np.flatnonzero(np.minimum(hits[:, -1], false_alarms[:, -1])):
            followed = []
            for block in np.flatnonzero(searched[draw]):
                span = slice(edges[block], edges[block + 1])
                counts = drawn[draw, one[span]] * drawn[draw, other[span]]
                missed, accepted = errors(ranks[span], targets[span], counts[np.newaxis])
                followed.append((misses[draw, block + 1] + missed, false_alarms[draw, block] + accepted))
            both = (np.concatenate(kind, axis=1) for kind in zip(*followed, strict=True))
            miss, false_alarm = (kind / number[draw] for kind, number in zip(both, numbers, strict=True))
            scores[draw] = self.of_rates(miss, false_alarm)[0]
        return scores

    @abstractmethod
    def of_rates(self, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        """The metric of every draw, (draws,), from P_miss, which falls from 1 to 0, and P_fa, which rises from 0 to 1.

        Both are of shape (draws, thresholds), by falling threshold. All of one are 0 where a draw has no such trial.
        """

    @abstractmethod
    def may_hold(self, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        """Between which neighbouring ones of some thresholds lie those that decide the metric: (draws, thresholds - 1).

        The rates are as for `of_rates`, the first and the last threshold among theirs.
        """

    @abstractmethod
    def operating_point(self, miss: np.ndarray, false_alarm: np.ndarray) -> tuple[float, float]:
        """P_miss and P_fa where the metric is read off, from rates at every threshold, (thresholds,)."""


def errors(ranks: np.ndarray, targets: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of misses and of false alarms of trials that count as often as `counts` says, (draws, trials).

    Each of shape (draws, ranks + 1), from accepting nothing to accepting all; a trial is accepted where its score is at
    least the threshold.
    """
    falling = np.argsort(-ranks, kind="stable")
    # The last trial of each rank.
    ends = np.flatnonzero(np.diff(ranks[falling], append=-1))
    hits, false_alarms = np.zeros((2, len(counts), len(ends) + 1), dtype=np.int64)
    for accepted, kind in ((hits, targets), (false_alarms, ~targets)):
        accepted[:, 1:] = np.cumsum(counts[:, falling] * kind[falling], axis=1)[:, ends]
    return hits[:, -1:] - hits, false_alarms


def _edges(ranks: np.ndarray) -> np.ndarray:
    """Where blocks of falling ranks begin, from 0 on, and the last one ends; equal ranks are in one block."""
    ends = np.flatnonzero(np.diff(ranks, append=-1)) + 1
    size = max(_FEWEST_TRIALS, len(ranks) // _BLOCKS)
    nearest = np.searchsorted(ends, np.arange(size, len(ranks) + size, size))
    return np.concatenate([[0], ends[np.unique(np.minimum(nearest, len(ends) - 1))]])


def _sums_of_blocks(
    edges: np.ndarray, targets: np.ndarray, one: np.ndarray, other: np.ndarray, drawn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many targets and how many non-targets lie before each edge, both (draws, edges).

    `drawn`, (speakers, draws), counts the speakers `one` and `other`, both (trials,).
    """
    sums = []
    for kind in (targets, ~targets):
        trials = np.flatnonzero(kind)
        before = np.zeros((len(edges), drawn.shape[1]), dtype=np.int64)
        for block, (first, last) in enumerate(pairwise(np.searchsorted(trials, edges)), start=1):
            for start in range(first, last, _AT_A_TIME):
                some = trials[start : min(start + _AT_A_TIME, last)]
                before[block] += np.einsum("td,td->d", drawn[one[some]], drawn[other[some]])
        sums.append(np.cumsum(before, axis=0).T)
    return sums[0], sums[1]


class MinimumCost(DetectionMetric):
    """The least detection cost over all thresholds, with C_miss = C_fa = 1, normalised.

    C_det = P_miss P_target + P_fa (1 - P_target), divided by what the better of accepting all and accepting nothing
    costs, min(P_target, 1 - P_target): C_norm of NIST's Speaker Recognition Evaluations (plan of 2010, section 3).
    """

    uninformed = 1.0

    target_prior: float

    def of_rates(self, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        return self._costs(miss, false_alarm).min(axis=-1) / min(self.target_prior, 1 - self.target_prior)

    def may_hold(self, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        # No threshold between two misses fewer targets than the lower, and accepts fewer non-targets than the higher.
        least = self._costs(miss[:, 1:], false_alarm[:, :-1])
        return least <= self._costs(miss, false_alarm).min(axis=-1, keepdims=True)

    def operating_point(self, miss: np.ndarray, false_alarm: np.ndarray) -> tuple[float, float]:
        cheapest = self._costs(miss, false_alarm).argmin()
        return float(miss[cheapest]), float(false_alarm[cheapest])

    def _costs(self, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        return miss * self.target_prior + false_alarm * (1 - self.target_prior)


def rates(ranks: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P_miss, falling from 1 to 0, and P_fa, rising from 0 to 1, both (thresholds,), of trials that were prepared."""
    (misses,), (false_alarms,) = errors(ranks, targets, np.ones((1, len(ranks)), dtype=np.int64))
    return misses / misses[0], false_alarms / false_alarms[-1]
