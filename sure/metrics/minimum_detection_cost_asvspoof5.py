"""minDCF of ASVspoof 5: the least normalised detection cost over all thresholds, spoofed speech being the non-target.

C_miss = 1, C_fa = 10, and one utterance in twenty is taken to be spoofed (track 1 of the evaluation plan, Wang et al.
2024, arXiv 2408.08739; the organisers' evaluation package). 0 is perfect; 1 is what it costs to accept all, the better
of accepting all and nothing, so it is never more.
"""

import numpy as np

from sure.metric.detection import DetectionMetric, may_hold_minimum, minimum_cost

# With both costs 1 this prior of bona fide speech weighs errors as 0.95 * 1 and 0.05 * 10 do.
_PRIOR = 0.95 / (0.95 + 0.05 * 10)


class MinimumDetectionCostASVspoof5(DetectionMetric):
    description = "Least normalised detection cost with C_miss = 1, C_fa = 10 and P_spoof = 0.05."
    uninformed = 1.0

    def of_rates(self, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        return minimum_cost(miss, false_alarm, _PRIOR)

    def may_hold(self, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        return may_hold_minimum(miss, false_alarm, _PRIOR)
