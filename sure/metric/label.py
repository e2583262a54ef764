"""Metrics that look at each label by itself and average over labels."""

from abc import abstractmethod

import numpy as np

from sure.metric import CountedMetric


class LabelMetric(CountedMetric):
    """Labels, in their order, become whole numbers from 0 on; how often each was right is counted."""

    def prepare(self, predictions: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the labels."""
        numbers = np.unique(np.concatenate([predictions, references]), return_inverse=True)[1]
        return numbers[: len(predictions)], numbers[len(predictions) :]

    def score_draws(self, predictions: np.ndarray, references: np.ndarray, counts: np.ndarray) -> np.ndarray:
        labels = 1 + max(predictions.max(), references.max())

        def by_label(numbers: np.ndarray, counts: np.ndarray) -> np.ndarray:
            times = np.zeros((len(counts), labels))
            rising = np.argsort(numbers, kind="stable")
            some, first = np.unique(numbers[rising], return_index=True)
            if len(some):
                times[:, some] = np.add.reduceat(counts[:, rising], first, axis=1)
            return times

        right = predictions == references
        return self.of_labels(
            by_label(references[right], counts[:, right]), by_label(predictions, counts), by_label(references, counts)
        )

    @abstractmethod
    def of_labels(self, found: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> np.ndarray:
        """The metric of every draw, (draws,), from how often each label was rightly predicted, predicted, and right.

        These are of shape (draws, labels); a label may not occur in a draw.
        """


def f1(found: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> np.ndarray:
    """F1 of every label, 2 TP / (2 TP + FP + FN); 0 where it occurs nowhere."""
    return 2 * found / np.maximum(1, predicted + support)
