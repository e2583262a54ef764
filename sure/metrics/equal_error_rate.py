"""Equal error rate (EER): the share of errors where as large a share of targets is missed as of non-targets accepted.

Exactly: every distinct score is a threshold (equal scores cannot be told apart), which gives the points (P_fa, P_miss)
from accepting nothing, (0, 1), to accepting all, (1, 0). Neighbouring points are joined by straight lines, and the EER
is where this line crosses P_miss = P_fa: scikit-learn's `roc_curve`, interpolated, as SUPERB and most toolkits compute
it. It lies between 0 and 1; 0.5 is chance.
"""

import numpy as np

from sure.metric.detection import DetectionMetric


class EqualErrorRate(DetectionMetric):
    description = "Where the shares of missed targets and of accepted non-targets are equal."
    uninformed = 0.5

    def of_rates(self, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        gap = miss - false_alarm
        # It falls from 1 to -1: the second of the two points is the first on or behind the crossing.
        after = np.maximum(1, np.argmax(gap <= 0, axis=-1))
        points = np.stack([after - 1, after], axis=-1)
        gap, false_alarm = (np.take_along_axis(rates, points, axis=-1).T for rates in (gap, false_alarm))
        share = gap[0] / np.where(gap[0] > gap[1], gap[0] - gap[1], 1)
        return false_alarm[0] + share * (false_alarm[1] - false_alarm[0])

    def may_hold(self, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        gap = miss - false_alarm
        return (gap[:, :-1] > 0) & (gap[:, 1:] <= 0)

    def operating_point(self, miss: np.ndarray, false_alarm: np.ndarray) -> tuple[float, float]:
        rate = float(self.of_rates(miss[np.newaxis], false_alarm[np.newaxis])[0])
        return rate, rate
