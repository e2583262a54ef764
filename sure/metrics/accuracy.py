"""Accuracy: the share of utterances that got their right label (in emotion recognition also "weighted accuracy")."""

import numpy as np

from sure.metric import Metric


class Accuracy(Metric):
    description = "Share of right labels."
    higher_is_better = True

    def score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        return float(np.mean(predictions == references))
