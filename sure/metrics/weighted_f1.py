"""Weighted F1: the F1 of each label, averaged with the number of its utterances as weight.

This is the "F1" of SURE (Li et al. 2023), whose released function calls it macro F1.
"""

import numpy as np

from sure.metric.label import LabelMetric, f1


class WeightedF1(LabelMetric):
    description = "F1 per label, averaged by the number of references with that label."
    higher_is_better = True

    def of_labels(self, found: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> np.ndarray:
        return (f1(found, predicted, support) * support).sum(axis=-1) / support.sum(axis=-1)
