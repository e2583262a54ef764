"""Word and character errors: the fewest substitutions, deletions and insertions between two texts (Levenshtein)."""

from abc import abstractmethod

import jiwer
import numpy as np

from sure.metric.ratio import RatioMetric


class ErrorRate(RatioMetric):
    """All errors of a corpus over all units of its references: a long utterance counts for more than a short one.

    It exceeds 1 where there are more errors than units. An utterance with an empty reference adds its insertions to the
    errors and nothing to the units. Where no reference has any unit, the rate is the number of insertions, as if there
    were one unit (as jiwer has it).
    """

    higher_is_better = False

    @abstractmethod
    def align(self, reference: str, prediction: str) -> jiwer.WordOutput | jiwer.CharacterOutput:
        """Hits, substitutions, deletions and insertions between two texts."""

    def prepare(self, predictions: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Errors and reference units of each row."""
        errors, units = [], []
        for prediction, reference in zip(predictions, references, strict=True):
            aligned = self.align(str(reference), str(prediction))
            missed = aligned.substitutions + aligned.deletions
            errors.append(missed + aligned.insertions)
            units.append(missed + aligned.hits)
        return np.array(errors, dtype=np.int64), np.array(units, dtype=np.int64)

    def of_sums(self, sums: np.ndarray, totals: np.ndarray) -> np.ndarray:
        return sums / np.maximum(1, totals)
