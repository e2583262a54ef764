"""Unweighted average recall (UAR): the mean over labels of the share of their utterances that were found.

The measure of the INTERSPEECH emotion challenges (Schuller et al. 2009); chance is 1 / number of labels.
"""

import numpy as np

from sure.metric.label import LabelMetric


class UnweightedAverageRecall(LabelMetric):
    description = "Recall per label, plain mean over the labels that occur in the references."
    higher_is_better = True

    def of_labels(self, found: np.ndarray, predicted: np.ndarray, support: np.ndarray) -> np.ndarray:
        return (found / np.maximum(1, support)).mean(axis=-1, where=support > 0)
