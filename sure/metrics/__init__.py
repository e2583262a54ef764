"""Metrics, one file each: `evaluate.Metric` classes that need no network, named for what they compute."""

from abc import ABC, abstractmethod
from typing import ClassVar

import datasets
import evaluate
import numpy as np


class Metric(evaluate.Metric, ABC):
    """A metric over paired predictions and references.

    `score` is the arithmetic; `compute` is what a user of `evaluate` knows and returns `{name: score}`.
    """

    description: ClassVar[str]
    higher_is_better: ClassVar[bool]
    unit: ClassVar[str] = "share"
    feature: ClassVar[str] = "string"

    @abstractmethod
    def score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """One number for two arrays of shape (utterances,)."""

    def _info(self) -> evaluate.MetricInfo:
        value = datasets.Value(self.feature)
        return evaluate.MetricInfo(
            description=self.description,
            citation="",
            features=datasets.Features({"predictions": value, "references": value}),
        )

    def _compute(self, predictions: list, references: list) -> dict[str, float]:
        return {
            self.__class__.__module__.rpartition(".")[2]: self.score(np.asarray(predictions), np.asarray(references))
        }
