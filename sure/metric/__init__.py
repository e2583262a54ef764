"""Metrics, one file each: `evaluate.Metric` classes that need no network, named for what they compute."""

from abc import ABC, abstractmethod
from typing import ClassVar

import datasets
import evaluate
import numpy as np


class Metric(evaluate.Metric, ABC):
    """A metric over paired predictions and references.

    `prepare` looks at each row once, `score` is the arithmetic over all of them, so that a bootstrap repeats no more
    than that; `compute` is what a user of `evaluate` knows and returns `{name: score}`.
    """

    description: ClassVar[str]
    higher_is_better: ClassVar[bool]
    unit: ClassVar[str] = "share"
    feature: ClassVar[str] = "string"

    def prepare(self, predictions: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What `score` needs of each row, two arrays of shape (rows,), such as a row's word errors and words."""
        return predictions, references

    @abstractmethod
    def score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """One number for two prepared arrays of shape (rows,)."""

    def _info(self) -> evaluate.MetricInfo:
        value = datasets.Value(self.feature)
        return evaluate.MetricInfo(
            description=self.description,
            citation="",
            features=datasets.Features({"predictions": value, "references": value}),
        )

    def _compute(self, predictions: list, references: list) -> dict[str, float]:
        prepared = self.prepare(np.asarray(predictions), np.asarray(references))
        return {self.__class__.__module__.rpartition(".")[2]: self.score(*prepared)}
