"""minDCF at P_target = 0.05: the least normalised detection cost over all thresholds.

C_miss = C_fa = 1, and targets are taken to be one in twenty trials, as in NIST's Speaker Recognition Evaluation of 2018
(video) and in the VoxCeleb challenges (VoxSRC).
0 is perfect; 1 is what accepting nothing costs, so it is never more.
"""

import numpy as np

from sure.metric.detection import DetectionMetric, may_hold_minimum, minimum_cost


class MinimumDetectionCostP05(DetectionMetric):
    description = "Least normalised detection cost with C_miss = C_fa = 1 and P_target = 0.05."
    uninformed = 1.0

    def of_rates(self, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        return minimum_cost(miss, false_alarm, target_prior=0.05)

    def may_hold(self, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
        return may_hold_minimum(miss, false_alarm, target_prior=0.05)
