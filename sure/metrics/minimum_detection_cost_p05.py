"""minDCF at P_target = 0.05: the least normalised detection cost over all thresholds.

C_miss = C_fa = 1, and targets are taken to be one in twenty trials, as in NIST's Speaker Recognition Evaluation of 2018
(video) and in the VoxCeleb challenges (VoxSRC).
0 is perfect; 1 is what accepting nothing costs, so it is never more.
"""

from sure.metric.detection import MinimumCost


class MinimumDetectionCostP05(MinimumCost):
    description = "Least normalised detection cost with C_miss = C_fa = 1 and P_target = 0.05."
    target_prior = 0.05
