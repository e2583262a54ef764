"""Slot-value CER of SUPERB's slot filling (Yang et al. 2021; s3prl's `downstream/ctc/metric.py`).

Each value of a reference's slots is compared with that of the predicted values of slots of its type that has the fewest
character errors; with nothing where there is none, so that all of it is deleted. All errors over all characters of the
references' values. A predicted slot that no reference has costs nothing, and one may serve several references. Where no
reference has a slot, which s3prl divides by, it is 0.
"""

import jiwer
import numpy as np

from sure.metric.ratio import RatioMetric
from sure.metric.slots import slots

# A value with as many errors a character is taken for nothing.
_WORST = 100


class SlotValueCER(RatioMetric):
    description = "Character errors of the references' slot values / characters of them."
    higher_is_better = False

    def prepare(self, predictions: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Errors and characters of each row's values."""
        errors, characters = [], []
        for prediction, reference in zip(predictions, references, strict=True):
            said, wanted = slots(str(prediction)), slots(str(reference))
            values = [(value, said.get(kind, [])) for kind, of_kind in wanted.items() for value in of_kind]
            errors.append(sum(_fewest_errors(value, candidates) for value, candidates in values))
            characters.append(sum(len(value) for value, _ in values))
        return np.array(errors, dtype=np.int64), np.array(characters, dtype=np.int64)

    def of_sums(self, sums: np.ndarray, totals: np.ndarray) -> np.ndarray:
        return sums / np.maximum(1, totals)


def _fewest_errors(value: str, candidates: list[str]) -> int:
    fewest = min((_errors(value, candidate) for candidate in candidates), default=len(value))
    return fewest if fewest < _WORST * len(value) else len(value)


def _errors(value: str, candidate: str) -> int:
    aligned = jiwer.process_characters(value, candidate)
    return aligned.substitutions + aligned.deletions + aligned.insertions
