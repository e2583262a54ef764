"""Weighted F1: the F1 of each label, averaged with the number of its utterances as weight.

This is the "F1" of SURE (Li et al. 2023), whose released function calls it macro F1.
"""

import numpy as np

from sure.metric import Metric
from sure.metric.f1 import f1_per_label


class WeightedF1(Metric):
    description = "F1 per label, averaged by the number of references with that label."
    higher_is_better = True

    def score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        f1, support = f1_per_label(predictions, references)
        return float(np.average(f1, weights=support))
