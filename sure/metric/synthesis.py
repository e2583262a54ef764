"""Metrics of synthesised speech: averages over utterances that `sure.task.text_to_speech.measures` measured."""

from typing import Any, ClassVar

import datasets
import evaluate
import numpy as np

from sure.metric.ratio import RatioMetric


class SynthesisMetric(RatioMetric):
    """A prediction is a dictionary of an utterance's measures; a reference is the text that was to be said.

    The score is the mean of the `measure`, in which an utterance counts as often as its `weight` says; once where that
    is None.
    """

    measure: ClassVar[str]
    weight: ClassVar[str | None] = None

    # The score where all weights are 0.
    uninformed: ClassVar[float] = 0.0

    def prepare(self, predictions: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The measure times its weight, and the weight, of each row."""
        weights = [1 if self.weight is None else row[self.weight] for row in predictions]
        weights = np.array(weights, dtype=np.float64)
        return np.array([row[self.measure] for row in predictions], dtype=np.float64) * weights, weights

    def of_sums(self, sums: np.ndarray, totals: np.ndarray) -> np.ndarray:
        return np.divide(sums, totals, out=np.full(len(sums), self.uninformed), where=totals > 0)

    def compute(self, *, predictions: list[dict[str, Any]], references: list[str]) -> dict[str, float]:
        """As `Metric.compute`; measures of other metrics may be in the dictionaries."""
        predictions = [{name: row[name] for name in (self.measure, self.weight) if name} for row in predictions]
        return super().compute(predictions=predictions, references=references)

    def _info(self) -> evaluate.MetricInfo:
        measures = {name: datasets.Value("float64") for name in (self.measure, self.weight) if name}
        return evaluate.MetricInfo(
            description=self.description,
            citation="",
            features=datasets.Features({"predictions": measures, "references": datasets.Value("string")}),
        )
