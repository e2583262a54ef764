"""Accuracy: the share of utterances that got their right label (in emotion recognition also "weighted accuracy")."""

import numpy as np

from sure.metric.ratio import RatioMetric


class Accuracy(RatioMetric):
    description = "Share of right labels."
    higher_is_better = True
    share_of_rows = True

    def prepare(self, predictions: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """1 for a right label, else 0; and 1 for each."""
        return (predictions == references).astype(np.int64), np.ones(len(references), dtype=np.int64)
