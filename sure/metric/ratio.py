"""Metrics that are a sum over rows divided by another: right labels by labels, errors by words."""

import numpy as np

from sure.metric import CountedMetric


class RatioMetric(CountedMetric):
    """`prepare` gives what a row adds to each sum."""

    def score_draws(self, predictions: np.ndarray, references: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return self.of_sums(counts @ predictions, counts @ references)

    def of_sums(self, sums: np.ndarray, totals: np.ndarray) -> np.ndarray:
        """The metric of every draw from its two sums, all of shape (draws,)."""
        return sums / totals
