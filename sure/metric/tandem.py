"""The tandem detection cost: what a detector of spoofed speech costs in front of a given speaker verification.

Whoever claims to be a speaker is a target, a non-target or spoofed speech; only what the detector takes for bona fide
goes on to the verification. t-DCF(s) = C0 + C1 P_miss(s) + C2 P_fa(s), with the detector's error rates at threshold s
and constants of the verification's (evaluation plans of ASVspoof 2019 and 2021, and the organisers' code for them;
Kinnunen et al. 2020, arXiv 2007.05979).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sure.errors import SureError
from sure.metric.detection import MinimumCost

# Priors and costs of both challenges; those of a miss are 1.
SPOOF_PRIOR, FALSE_ALARM_COST = 0.05, 10
_TARGET_PRIOR, _NON_TARGET_PRIOR = (1 - SPOOF_PRIOR) * 0.99, (1 - SPOOF_PRIOR) * 0.01


class Constants(NamedTuple):
    """C0, what the verification's own errors cost, and the weights of the detector's misses and false alarms."""

    own: float
    miss: float
    false_alarm: float


@dataclass(frozen=True)
class VerificationErrors:
    """Shares of targets missed, and of non-targets and of spoofed speech accepted, at the verification's threshold.

    As they are by default it errs only with spoofed speech, all of which it accepts.
    """

    miss: float = 0.0
    false_alarm: float = 0.0
    spoof_false_alarm: float = 1.0

    @classmethod
    def of_scores(
        cls, targets: Sequence[float], non_targets: Sequence[float], spoofed: Sequence[float]
    ) -> "VerificationErrors":
        """At the threshold where misses and false alarms are most nearly equal: the organisers' operating point.

        Raises `SureError` where scores of a kind are missing.
        """
        kinds = [np.asarray(scores, dtype=np.float64) for scores in (targets, non_targets, spoofed)]
        if not all(map(len, kinds)):
            raise SureError("Scores of speaker verification: targets, non-targets and spoofed speech are all needed.")
        targets, non_targets, spoofed = kinds
        both = np.concatenate([targets, non_targets])
        # As in the organisers' code, whose threshold is the score that it still counts as rejected.
        order = np.argsort(both, kind="stable")
        is_target = order < len(targets)
        miss = np.cumsum(is_target) / len(targets)
        # Counted, not 1 minus a share: of two thresholds that are equally near, rounding decides.
        false_alarm = (len(non_targets) - np.cumsum(~is_target)) / len(non_targets)
        threshold = both[order[np.argmin(np.abs(miss - false_alarm))]]
        return cls(
            miss=float((targets < threshold).mean()),
            false_alarm=float((non_targets >= threshold).mean()),
            spoof_false_alarm=float((spoofed >= threshold).mean()),
        )

    def constants(self) -> Constants:
        """Raises `SureError` where a detector would make nothing better or worse, so that no cost can be normalised."""
        own = _TARGET_PRIOR * self.miss + _NON_TARGET_PRIOR * FALSE_ALARM_COST * self.false_alarm
        weights = Constants(own, _TARGET_PRIOR - own, SPOOF_PRIOR * FALSE_ALARM_COST * self.spoof_false_alarm)
        if min(weights.miss, weights.false_alarm) <= 0:
            raise SureError(
                f"t-DCF: a speaker verification that misses {self.miss:.0%} of targets and accepts "
                f"{self.false_alarm:.0%} of non-targets and {self.spoof_false_alarm:.0%} of spoofed speech leaves "
                "a detector nothing to do."
            )
        return weights


class TandemMetric(MinimumCost):
    """A metric of bona fide speech (1) and spoofed speech (0) before a verification with these `errors`."""

    def __init__(self, errors: VerificationErrors = VerificationErrors(), **arguments: object) -> None:
        self.constants = errors.constants()
        super().__init__(**arguments)

    def of_rates(self, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        return self.normalised(super().of_rates(miss, false_alarm))

    @abstractmethod
    def normalised(self, cost: np.ndarray) -> np.ndarray:
        """The metric, from (C1 P_miss + C2 P_fa) / min(C1, C2)."""

    @property
    def target_prior(self) -> float:
        """The prior that, with both costs 1, weighs errors in the proportion of C1 and C2."""
        return self.constants.miss / (self.constants.miss + self.constants.false_alarm)
