"""Classification: one label per utterance, or one in each of several columns."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sure.corpus.folders import listed
from sure.errors import SureError
from sure.task import TaskWithHead, learned

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from torch import Tensor, nn

    from sure.model import SpeechModel


@dataclass
class ClassificationTask(TaskWithHead):
    """One label per utterance, or one in each of the `label_columns` of a subclass, such as an intent's action,
    object and location.

    Several columns have a classifier each and one loss, the sum of theirs, as in SUPERB's intent classification (Yang
    et al. 2021; s3prl's `downstream/fluent_commands`), and an utterance is right where all of its labels are. Averages
    over labels say little then, so that such a task has `metrics = ("accuracy",)`. What is one column's alone
    otherwise is a dictionary by column: `labels`, and `reference`, `prediction` and `probabilities` of a row.

    `shots` are so many training utterances of each class, of several columns of each combination of labels that occurs:
    those with the first SHA-256 of the draw's number and their id, so that fewer shots are some of more. The other
    splits stay whole. A corpus' fingerprint covers what was drawn, so that a board compares only runs that learnt from
    the same utterances.

    `labels` is sorted, so that a label's id never depends on files; subclasses give it a default or fill it from the
    training split.
    """

    metrics: ClassVar[tuple[str, ...]] = ("weighted_f1", "macro_f1", "accuracy", "unweighted_average_recall")
    label_columns: ClassVar[tuple[str, ...]] = ("label",)

    labels: list[str] | dict[str, list[str]] = field(default_factory=list, metadata=learned("The labels, sorted."))
    shots: int | None = field(
        default=None, metadata={"help": "Learn from so many utterances of each class; from all where it is not given."}
    )
    draw: int = field(default=0, metadata={"help": "For shots: which draw of them, the same one for every --seed."})
    drawn: list[str] = field(default_factory=list, metadata=learned("The ids of the utterances that shots drew."))

    @property
    def reference_columns(self) -> tuple[str, ...]:
        return self.label_columns

    @property
    def smoothable(self) -> bool:
        return len(self.label_columns) == 1

    def load(self, data_dir: Path) -> "DatasetDict":
        """As `Task.load`; raises `SureError` where there is one label to learn, and for one outside the set.

        Also where a class has fewer utterances than `shots`.
        """
        splits = super().load(data_dir)
        if self.shots is not None:
            splits["train"] = self._few(splits["train"])
        found = {column: sorted(set(splits["train"][column])) for column in self.label_columns}
        if max(map(len, found.values())) < 2:
            raise SureError(
                f"{data_dir}: every train utterance has the same {' and '.join(found)}, "
                f"{', '.join(map(repr, chain(*found.values())))}; there is nothing to tell apart. Two labels are the "
                "fewest."
            )
        if not self.labels:
            self.labels = self._one_or_all(found)
        for split, rows in splits.items():
            for column, labels in self._labels().items():
                for path, label in zip(rows["path"], rows[column], strict=True):
                    if label not in labels and not (label is None and split == "test"):
                        raise SureError(
                            f"{path}: {column} {label!r} ({split}) is not one of {self.name}'s: {', '.join(labels)}."
                        )
        return splits

    def check_row(self, row: dict[str, Any]) -> None:
        """As `Task.check_row`; and where a label is no text."""
        super().check_row(row)
        for column in self.label_columns:
            if not isinstance(label := row[column], str | None):
                raise SureError(
                    f"{row['path']}: {column} {label!r} is no text; a label is one, such as {str(label)!r}."
                )

    def build_head(self, width: int) -> "nn.Module":
        from sure.heads import ClassificationHead

        return ClassificationHead(width, *map(len, self._labels().values()))

    def targets(self, rows: Sequence[dict[str, Any]]) -> "dict[str, Tensor]":
        """`labels`, ids of shape (batch,), or of several columns (batch, columns); of what has no label, any."""
        import torch

        columns = self._labels().items()
        ids = torch.tensor(
            [[0 if row[column] is None else labels.index(row[column]) for column, labels in columns] for row in rows]
        )
        return {"labels": ids.squeeze(-1)}

    def weigh_labels(self, model: "SpeechModel", rows: Sequence[dict[str, Any]]) -> None:
        """Of several columns, each column's labels by themselves."""
        import torch

        ids = self.targets(rows)["labels"].reshape(len(rows), -1).T
        weights = [class_weights(own, len(labels)) for own, labels in zip(ids, self._labels().values(), strict=True)]
        model.head.label_weights.copy_(torch.cat(weights))

    def comparable(self, rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Label ids, of several columns one for all labels of a row, so that it is right where they all are.

        Raises `SureError` for a label outside the set, naming the row.
        """
        columns = self._labels()
        known = {name: {label: index for index, label in enumerate(labels)} for name, labels in columns.items()}
        ids = [[_ids(row, key, known) for key in ("prediction", "reference")] for row in rows]
        counts = [len(labels) for labels in columns.values()]
        by_key = np.array(ids, dtype=np.int64).reshape(len(rows), 2, len(counts)).transpose(1, 2, 0)
        predictions, references = (np.ravel_multi_index(tuple(of_columns), counts) for of_columns in by_key)
        return predictions, references

    def predict(self, outputs: Sequence[np.ndarray], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Outputs are logits of shape (utterances, labels), one column's after another's.

        A row adds `probabilities` by label.
        """
        columns = self._labels()
        logits = np.asarray(outputs, dtype=np.float64)
        ends = np.cumsum([len(labels) for labels in columns.values()])
        by_column = [_softmax(part) for part in np.split(logits, ends[:-1], axis=-1)]
        predictions = []
        for row, *parts in zip(rows, *by_column, strict=True):
            chosen, probabilities = {}, {}
            for (column, labels), shares in zip(columns.items(), parts, strict=True):
                chosen[column] = labels[int(shares.argmax())]
                probabilities[column] = {
                    label: round(float(share), 6) for label, share in zip(labels, shares, strict=True)
                }
            # New recordings have no labels.
            told = {column: row[column] for column in columns if row.get(column) is not None}
            prediction = {
                "id": row["id"],
                "speaker": row.get("speaker"),
                "reference": self._one_or_all(told) if told else None,
                "prediction": self._one_or_all(chosen),
                "probabilities": self._one_or_all(probabilities),
            }
            predictions.append({key: value for key, value in prediction.items() if value is not None})
        return predictions

    def references(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {
                "id": row["id"],
                "speaker": row.get("speaker"),
                "reference": self._one_or_all({column: row[column] for column in self.label_columns}),
            }
            for row in rows
        ]

    def _few(self, rows: "Dataset") -> "Dataset":
        """So many `shots` of each class among `rows`."""
        from datasets import Dataset

        if self.shots < 1:
            raise SureError(f"--task_options shots={self.shots}: at least one utterance of each class is needed.")
        members = defaultdict(list)
        for place, (name, *labels) in enumerate(
            zip(rows["id"], *(rows[column] for column in self.label_columns), strict=True)
        ):
            members[tuple(labels)].append((hashlib.sha256(f"{self.draw} {name}".encode()).digest(), place))
        lacking = [f"{', '.join(labels)} ({len(of)})" for labels, of in sorted(members.items()) if len(of) < self.shots]
        if lacking:
            raise SureError(f"--task_options shots={self.shots}: fewer training utterances are of {listed(lacking)}.")
        places = sorted(place for of in members.values() for _, place in sorted(of)[: self.shots])
        few = Dataset.from_list([rows[place] for place in places])
        self.drawn = few["id"][:]
        return few

    def _one_or_all(self, by_column: dict[str, Any]) -> Any:
        """What rows and records hold: of one column what it has, of several a dictionary."""
        return by_column if len(self.label_columns) > 1 else by_column[self.label_columns[0]]

    def _labels(self) -> dict[str, list[str]]:
        """By column. Raises `SureError` where a record has them in another shape."""
        by_column, expected = {self.label_columns[0]: self.labels}, "a list"
        if len(self.label_columns) > 1:
            by_column, expected = self.labels, f"a list for each of {', '.join(self.label_columns)}"
        if not (
            isinstance(by_column, dict)
            and set(by_column) == set(self.label_columns)
            and all(isinstance(labels, list) for labels in by_column.values())
        ):
            raise SureError(f"The labels of {self.name} are {self.labels!r}; expected {expected}.")
        return {column: by_column[column] for column in self.label_columns}


def class_weights(targets: Sequence[int], labels: int) -> "Tensor":
    """Weights of shape (labels,): utterances / (labels * utterances of the label), as scikit-learn's "balanced"."""
    import torch

    counts = np.bincount(np.asarray(targets), minlength=labels)
    return torch.tensor(len(targets) / (labels * np.maximum(counts, 1)), dtype=torch.float32)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _ids(row: dict[str, Any], key: str, known: dict[str, dict[str, int]]) -> list[int]:
    """The ids of a prediction row's `prediction` or `reference`, one for each column."""
    told = row.get(key)
    if len(known) == 1:
        told = dict.fromkeys(known, told)
    elif not isinstance(told, dict) or set(told) != set(known):
        raise SureError(f"Prediction {row.get('id')!r}: {key} {told!r} is not a label for each of {', '.join(known)}.")
    for column, ids in known.items():
        if told[column] not in ids:
            of = f"{key} of {column}" if len(known) > 1 else key
            raise SureError(f"Prediction {row.get('id')!r}: {of} {told[column]!r} is not one of {', '.join(ids)}.")
    return [ids[told[column]] for column, ids in known.items()]
