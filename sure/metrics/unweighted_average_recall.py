"""Unweighted average recall (UAR): the mean over labels of the share of their utterances that were found.

The measure of the INTERSPEECH emotion challenges (Schuller et al. 2009); chance is 1 / number of labels.
"""

import numpy as np

from sure.metric import Metric


class UnweightedAverageRecall(Metric):
    description = "Recall per label, plain mean over the labels that occur in the references."
    higher_is_better = True

    def score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        right = predictions == references
        return float(np.mean([right[references == label].mean() for label in np.unique(references)]))
