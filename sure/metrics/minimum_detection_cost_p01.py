"""minDCF at P_target = 0.01: the least normalised detection cost over all thresholds.

C_miss = C_fa = 1, and targets are taken to be one in a hundred trials, as in NIST's Speaker Recognition Evaluations
of 2016 and 2018 (telephone) and in most papers on VoxCeleb.
0 is perfect; 1 is what accepting nothing costs, so it is never more.
"""

from sure.metric.detection import MinimumCost


class MinimumDetectionCostP01(MinimumCost):
    description = "Least normalised detection cost with C_miss = C_fa = 1 and P_target = 0.01."
    target_prior = 0.01
