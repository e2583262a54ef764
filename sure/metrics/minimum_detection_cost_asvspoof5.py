"""minDCF of ASVspoof 5: the least normalised detection cost over all thresholds, spoofed speech being the non-target.

C_miss = 1, C_fa = 10, and one utterance in twenty is taken to be spoofed (track 1 of the evaluation plan, Wang et al.
2024, arXiv 2408.08739; the organisers' evaluation package). 0 is perfect; 1 is what it costs to accept all, the better
of accepting all and nothing, so it is never more.
"""

from sure.metric.detection import MinimumCost


class MinimumDetectionCostASVspoof5(MinimumCost):
    description = "Least normalised detection cost with C_miss = 1, C_fa = 10 and P_spoof = 0.05."
    # With both costs 1 this prior of bona fide speech weighs errors as 0.95 * 1 and 0.05 * 10 do.
    target_prior = 0.95 / (0.95 + 0.05 * 10)
