"""Error rates of speaker detection at every threshold, for the metrics of verification trials."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from sure.errors import SureError
from sure.metric import CountedMetric


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

    @abstractmethod
    def of_rates(self, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        """The metric of every draw, (draws,), from P_miss, which falls from 1 to 0, and P_fa, which rises from 0 to 1.

        Both are of shape (draws, thresholds), by falling threshold. All of one are 0 where a draw has no such trial.
        """


def errors(ranks: np.ndarray, targets: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of misses and of false alarms of trials that count as often as `counts` says, (draws, trials).

    Each of shape (draws, ranks + 1), from accepting nothing to accepting all; a trial is accepted where its score is at
    least the threshold.
    """
    falling = np.argsort(-ranks, kind="stable")
    # The last trial of each rank.
    ends = np.flatnonzero(np.diff(ranks[falling], append=-1))
    hits, false_alarms = (
        np.pad(np.cumsum(counts[:, falling] * kind[falling], axis=1)[:, ends], ((0, 0), (1, 0)))
        for kind in (targets, ~targets)
    )
    return hits[:, -1:] - hits, false_alarms


def minimum_cost(miss: np.ndarray, false_alarm: np.ndarray, target_prior: float) -> np.ndarray:
    """The least detection cost over all thresholds, with C_miss = C_fa = 1, normalised.

    C_det = P_miss P_target + P_fa (1 - P_target), divided by what the better of accepting all and accepting nothing
    costs, min(P_target, 1 - P_target): C_norm of NIST's Speaker Recognition Evaluations (plan of 2010, section 3).
    """
    cost = miss * target_prior + false_alarm * (1 - target_prior)
    return cost.min(axis=-1) / min(target_prior, 1 - target_prior)
