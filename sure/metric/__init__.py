"""Metrics, one file each: `evaluate.Metric` classes that need no network, named for what they compute."""

from abc import ABC, abstractmethod
from typing import ClassVar

import datasets
import evaluate
import numpy as np


class Metric(evaluate.Metric, ABC):
    """A metric over paired predictions and references.

    `prepare` looks at each row once, `score` is the arithmetic over all of them, so that a bootstrap repeats no more
    than that, in `score_draws`; `compute` is what a user of `evaluate` knows and returns `{name: score}`.
    """

    description: ClassVar[str]
    higher_is_better: ClassVar[bool]
    unit: ClassVar[str] = "share"
    feature: ClassVar[str] = "string"

    # No score is below or above; the greatest, where None, is 1 of shares that are better the higher they are. (An
    # error rate may exceed 1.)
    least: ClassVar[float] = 0.0
    greatest: ClassVar[float | None] = None

    # Whether it is the share of rows that are right, or wrong, each by itself, and so has the interval of a proportion.
    share_of_rows: ClassVar[bool] = False

    def prepare(self, predictions: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What `score` needs of each row, two arrays of shape (rows,), such as a row's word errors and words."""
        return predictions, references

    @abstractmethod
    def score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        """One number for two prepared arrays of shape (rows,)."""

    def score_draws(self, predictions: np.ndarray, references: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """`score` of every draw, shape (draws,), in which rows count as often as `counts` says, (draws, rows)."""
        rows = np.arange(len(predictions))
        draws = (np.repeat(rows, times) for times in counts)
        return np.array([self.score(predictions[draw], references[draw]) for draw in draws])

    @property
    def most(self) -> float:
        """The greatest score; infinite where there is none."""
        if self.greatest is not None:
            return self.greatest
        return 1.0 if self.higher_is_better and self.unit == "share" else np.inf

    def cut(self, low: float, value: float, high: float) -> tuple[float, float]:
        """An interval of a score without what no score can be."""
        # A plug-in's may lie beyond what it says: the score stays within its interval.
        return max(low, min(self.least, value)), min(high, max(self.most, value))

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


class CountedMetric(Metric):
    """A metric whose arithmetic is that of many draws at once: `score_draws`, of which `score` is the plainest."""

    @abstractmethod
    def score_draws(self, predictions: np.ndarray, references: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """As `Metric.score_draws`."""

    def score(self, predictions: np.ndarray, references: np.ndarray) -> float:
        return float(self.score_draws(predictions, references, np.ones((1, len(predictions)), dtype=np.int64))[0])
