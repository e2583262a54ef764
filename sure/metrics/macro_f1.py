"""Macro F1: the F1 of each label, every label counting the same, over labels that are predicted or right somewhere."""

import numpy as np
from sklearn.metrics import f1_score

from sure.metrics import Metric


class MacroF1(Metric):
    description = "F1 per label, plain mean over labels."
    higher_is_better = True

    def score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        return float(f1_score(references, predictions, average="macro", zero_division=0))
