"""Macro F1: the F1 of each label, every label counting the same, over labels that are predicted or right somewhere."""

import numpy as np

from sure.metric import Metric
from sure.metric.f1 import f1_per_label


class MacroF1(Metric):
    description = "F1 per label, plain mean over labels."
    higher_is_better = True

    def score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        return float(np.mean(f1_per_label(predictions, references)[0]))
