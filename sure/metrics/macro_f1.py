"""Macro F1: the F1 of each label, every label counting the same, over labels that are predicted or right somewhere."""

import numpy as np

from sure.metric.label import LabelMetric, f1


class MacroF1(LabelMetric):
    description = "F1 per label, plain mean over labels."
    higher_is_better = True

    def of_labels(self, found: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> np.ndarray:
        return f1(found, predicted, support).mean(axis=-1, where=predicted + support > 0)
