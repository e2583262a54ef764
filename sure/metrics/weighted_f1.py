"""Weighted F1: the F1 of each label, averaged with the number of its utterances as weight.

This is the "F1" of SURE (Li et al. 2023), whose released function calls it macro F1.
"""

import numpy as np
from sklearn.metrics import f1_score

from sure.metrics import Metric


class WeightedF1(Metric):
    description = "F1 per label, averaged by the number of references with that label."
    higher_is_better = True

    def score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        return float(f1_score(references, predictions, average="weighted", zero_division=0))
