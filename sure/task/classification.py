"""Classification: one label per utterance."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sure.errors import SureError

if TYPE_CHECKING:
    from datasets import DatasetDict
    from torch import Tensor, nn

from sure.task import Task, learned


@dataclass
class ClassificationTask(Task):
    """One label per utterance.

    `labels` is sorted, so that a label's id never depends on files; subclasses give it a default or fill it from the
    training split.
    """

    metrics: ClassVar[tuple[str, ...]] = ("weighted_f1", "macro_f1", "accuracy", "unweighted_average_recall")

    labels: list[str] = field(default_factory=list, metadata=learned("The labels, sorted."))

    def load(self, data_dir: Path) -> "DatasetDict":
        """As `Task.load`; raises `SureError` for a label outside the set, naming the file."""
        splits = super().load(data_dir)
        if not self.labels:
            self.labels = sorted(set(splits["train"]["label"]))
        for split, rows in splits.items():
            for path, label in zip(rows["path"], rows["label"], strict=True):
                if label not in self.labels:
                    raise SureError(
                        f"{path}: label {label!r} ({split}) is not one of {self.name}'s: {', '.join(self.labels)}."
                    )
        return splits

    def build_head(self, width: int) -> "nn.Module":
        from sure.heads import ClassificationHead

        return ClassificationHead(width, len(self.labels))

    def targets(self, rows: Sequence[dict[str, Any]]) -> "dict[str, Tensor]":
        import torch

        return {"labels": torch.tensor([self.labels.index(row["label"]) for row in rows])}

    def comparable(self, rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Label ids. Raises `SureError` for a label outside the set, naming the row."""
        ids = {label: index for index, label in enumerate(self.labels)}
        for row in rows:
            for key in ("prediction", "reference"):
                if row.get(key) not in ids:
                    raise SureError(
                        f"Prediction {row.get('id')!r}: {key} {row.get(key)!r} is not one of {', '.join(self.labels)}."
                    )
        return (
            np.array([ids[row["prediction"]] for row in rows]),
            np.array([ids[row["reference"]] for row in rows]),
        )

    def predict(self, outputs: np.ndarray, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Outputs are logits of shape (utterances, labels); a row adds `probabilities` by label."""
        logits = np.asarray(outputs, dtype=np.float64)
        exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)
        predictions = []
        for row, shares in zip(rows, probabilities, strict=True):
            prediction = {"id": row["id"], "speaker": row.get("speaker"), "reference": row.get("label")}
            prediction["prediction"] = self.labels[int(shares.argmax())]
            prediction["probabilities"] = {
                label: round(float(share), 6) for label, share in zip(self.labels, shares, strict=True)
            }
            predictions.append({key: value for key, value in prediction.items() if value is not None})
        return predictions


def class_weights(targets: Sequence[int], labels: int) -> "Tensor":
    """Weights of shape (labels,): utterances / (labels * utterances of the label), as scikit-learn's "balanced"."""
    import torch

    counts = np.bincount(np.asarray(targets), minlength=labels)
    return torch.tensor(len(targets) / (labels * np.maximum(counts, 1)), dtype=torch.float32)
