"""Slot-type F1 of SUPERB's slot filling (Yang et al. 2021; s3prl's `downstream/ctc/metric.py`).

Of each utterance the F1 between the sets of types of its slots, whatever their values and however often they occur,
averaged over utterances: 1 where there are none in both, 0 where there are none in one.
"""

import numpy as np

from sure.metric.ratio import RatioMetric
from sure.metric.slots import slots


class SlotTypeF1(RatioMetric):
    description = "F1 between the sets of types of an utterance's slots, mean over utterances."
    higher_is_better = True

    def prepare(self, predictions: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The F1 of each row, and 1."""
        rows = [
            _f1(set(slots(str(one))), set(slots(str(other))))
            for one, other in zip(predictions, references, strict=True)
        ]
        return np.array(rows, dtype=np.float64), np.ones(len(rows))


def _f1(one: set[str], other: set[str]) -> float:
    return 2 * len(one & other) / (len(one) + len(other)) if one or other else 1.0
