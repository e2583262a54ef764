"""What a task module must say: where its utterances, splits and labels are, and how its predictions are scored.

A task is a dataclass: its fields are its options (`--task_options language=mandarin`) and what it has from its corpus
(`learned`: labels), so that a task written as JSON beside an adapter is the task that reads it again.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from sure import audio, registry
from sure.audio import SAMPLE_RATE
from sure.errors import SureError

if TYPE_CHECKING:
    from datasets import DatasetDict
    from torch import Tensor, nn

    from sure.backbone import Backbone
    from sure.metric import Metric
    from sure.model import SpeechModel


SPLITS = ("train", "validation", "test")


@dataclass
class Task(ABC):
    """One benchmark task.

    A subclass says the `metrics` it reports (file names under `sure/metrics`), of which the first ranks the board and
    selects the checkpoint, and implements the abstract methods.
    """

    metrics: ClassVar[tuple[str, ...]]

    # What a prediction row is about, and what the bootstrap draws where it does not draw speakers.
    unit: ClassVar[Literal["utterance", "trial"]] = "utterance"

    # Whether cutting utterances (--max_seconds) would part them from what is known of them.
    whole_utterances: ClassVar[bool] = False

    # Whether scores are meant to tell how a method does on speakers that it has not learnt from.
    for_new_speakers: ClassVar[bool] = True

    # Whether it puts a head on every backbone, of an encoder-decoder on the encoder; others take models as they are.
    with_head: ClassVar[bool] = False

    # Whether it says texts rather than hears recordings: it has `voices` then, and `speech`.
    speaks: ClassVar[bool] = False

    # What the hub calls such a task (https://huggingface.co/tasks).
    hub_task: ClassVar[str] = "audio-classification"

    # Columns of an utterance that hold a label each.
    label_columns: ClassVar[tuple[str, ...]] = ()

    # Columns of an utterance that make its reference, which a test split may be without: it is predicted, not scored.
    reference_columns: ClassVar[tuple[str, ...]] = ()

    # Fields that decide how predictions are counted: the same ones score otherwise with others.
    scored_by: ClassVar[tuple[str, ...]] = ()

    # How many utterances of a split that is tested go to `predict` and `keep` at a time, where their outputs would take
    # much memory; None: all.
    predicted_at_a_time: ClassVar[int | None] = None

    # Evaluations without a better score after which training stops, unless the command line says so; 0: never.
    patience: ClassVar[int] = 5

    @property
    def trials(self) -> dict[str, list[tuple[str, str, int]]]:
        """By evaluation its trials (id, id, 1 for the same speaker or 0), known once the corpus is loaded."""
        return {}

    @property
    def cross_validation(self) -> tuple[str, int] | None:
        """The option that says which of a corpus' folds is tested, and their number, where all of them should be."""
        return None

    @property
    def name(self) -> str:
        """The name of the file that defines the task."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def smoothable(self) -> bool:
        """Whether its loss is the cross-entropy of one label, which the trainer can smooth."""
        return False

    @property
    def augments(self) -> bool:
        """Whether an utterance may sound otherwise in every epoch."""
        return type(self).augment is not Task.augment

    @property
    def training_seconds(self) -> float | None:
        """How long every utterance is in training, where `augment` makes all as long."""
        return None

    @property
    def stretch(self) -> float:
        """How many times as long `augment` may make an utterance."""
        return 1.0

    @property
    def metric(self) -> str:
        """The metric that ranks the leaderboard and selects the checkpoint."""
        return self.metrics[0]

    def refuse_cuts(self, max_seconds: float | None) -> None:
        """Raises `SureError` where utterances would be cut that the task needs whole, or to less than a frame."""
        if self.whole_utterances and max_seconds is not None:
            raise SureError(f"--max_seconds {max_seconds:g}: {self.name} needs whole utterances; leave it out.")
        audio.refuse_too_short(max_seconds)

    @abstractmethod
    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        """Every utterance of the corpus, in any order, as a row with at least `id`, `path`, `split` and `speaker`.

        `id` is unique in the corpus and does not depend on where the corpus lies; `speaker` is None where unknown;
        optional `start` and `end` (seconds) cut the utterance out of its file.
        """

    @abstractmethod
    def targets(self, rows: Sequence[dict[str, Any]]) -> "dict[str, Tensor]":
        """What the head's loss needs, batched: for classification `labels` of shape (batch,)."""

    @abstractmethod
    def predict(self, outputs: Sequence[np.ndarray], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One JSON row per utterance from the head's outputs, one for each, as `reduce` leaves them.

        Outputs that differ in length are padded to the longest of their batch, by the head or with -100.

        A row has `id`, `prediction`, and where the utterance has them `speaker` and `reference`.
        """

    def references(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the corpus knows of each row that `predict` gives for a split, `rows` being all of its utterances.

        With `id`, `reference` and, where they are known, `speaker` and `test_speaker`, as `predict` has them. Raises
        `SureError` where a task does not say it.
        """
        raise SureError(f"{self.name} does not say its references without predictions.")

    def compared(self, row: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
        """A row that `predict` gives for a new recording, with how it compares with the row of the first one."""
        return row

    @abstractmethod
    def build_model(self, backbone: "Backbone") -> "SpeechModel":
        """The model that a method adapts."""

    def weigh_labels(self, model: "SpeechModel", rows: Sequence[dict[str, Any]]) -> None:
        """Let labels count in the model's loss by the inverse of their frequency among `rows`.

        Raises `SureError` where the task has no labels.
        """
        raise SureError(f"--class_weights balanced: {self.name} does not classify.")

    def warnings(self, backbone: "Backbone", splits: "DatasetDict") -> Iterator[str]:
        """What of the decoded splits the backbone cannot hear or learn, for whoever starts a run."""
        for name, split in splits.items() if backbone.window else ():
            many = sum(samples > backbone.window * SAMPLE_RATE for samples in split["samples"][:])
            if many:
                yield (
                    f"{many} of the {len(split)} {name} utterances are longer than the {backbone.window:g} s that "
                    f"{backbone.name} hears: their ends do not count."
                )

    def augment(self, waveform: np.ndarray, row: dict[str, Any], generator: np.random.Generator) -> np.ndarray:
        """A training utterance, shape (samples,), as this epoch hears it; all chance comes from `generator`."""
        return waveform

    def batch(self, backbone: "Backbone", rows: Sequence[dict[str, Any]]) -> "dict[str, Tensor]":
        """What the model takes: inputs and targets for rows with their `waveform`, shape (samples,), 16 kHz."""
        return backbone.inputs([row["waveform"] for row in rows]) | self.targets(rows)

    def reduce(self, logits: "Tensor") -> "Tensor":
        """What `predict` needs of a batch of the head's outputs, so that no more is kept of an evaluation."""
        return logits

    def calibrate(  # noqa: B027 most tasks have nothing to do here
        self, training_outputs: Callable[[], tuple[Sequence[np.ndarray], list[dict[str, Any]]]]
    ) -> None:
        """Called once when training is over, before anything is predicted with the final model.

        `training_outputs()` gives the reduced outputs of every training utterance, whole and not augmented, and their
        rows; it takes a pass over the training split, which a task that does not call it is spared.
        """

    def keep(  # noqa: B027 most tasks have nothing to keep
        self, outputs: Sequence[np.ndarray], rows: Sequence[dict[str, Any]], folder: Path
    ) -> None:
        """Write into the run's folder what of the final test outputs is worth more than their scores."""

    def evaluations(self) -> dict[str, tuple[str, float | None]]:
        """What is scored: by name the split and the seconds kept of each utterance (None: all).

        `validation` selects the checkpoint; the names of all others are `test` or begin with `test_`.
        """
        return {"validation": ("validation", None), "test": ("test", None)}

    def load(self, data_dir: Path) -> "DatasetDict":
        """The splits `train`, `validation` and `test`, each sorted by id, with the rows of `utterances`, no audio.

        Raises `SureError` where the folder is missing, a split is empty, a row lacks something or two share an id, or
        only some of the test split have a reference.
        """
        from datasets import Dataset, DatasetDict

        data_dir = Path(data_dir)
        if not data_dir.is_dir():
            raise SureError(f"--data_dir {data_dir}: no such folder.")
        rows = list(self.utterances(data_dir))
        for row in rows:
            self.check_row(row)
        rows.sort(key=lambda row: row["id"])
        repeated = [name for name, count in Counter(row["id"] for row in rows).items() if count > 1]
        if repeated:
            raise SureError(f"{data_dir}: {len(repeated)} utterance ids occur twice, the first is {repeated[0]!r}.")
        splits = {split: [row for row in rows if row["split"] == split] for split in SPLITS}
        for split, members in splits.items():
            if not members:
                raise SureError(
                    f"{data_dir}: no {split} utterance for {self.name} among the {len(rows)} found; "
                    f"`sure tasks {self.name}` says what it expects."
                )
        for column in self.reference_columns:
            absent = [row["path"] for row in splits["test"] if row[column] is None]
            if 0 < len(absent) < len(splits["test"]):
                raise SureError(
                    f"{absent[0]}: no {column}, like {len(absent)} of {len(splits['test'])} test utterances; a test "
                    "split has references of all, which are scored, or of none, which are predicted only."
                )
        return DatasetDict({split: Dataset.from_list(members) for split, members in splits.items()})

    def check_row(self, row: dict[str, Any]) -> None:
        """Raises `SureError` where a row of `utterances` lacks what every task's rows have."""
        for column in ("id", "path", "split"):
            if not isinstance(row.get(column), str):
                raise SureError(f"{self.name}: {column} {row.get(column)!r} is no text, in the utterance {row}.")
        for column in ("speaker", *self.reference_columns):
            if column not in row:
                raise SureError(f"{row['path']}: {self.name} gives it no {column!r}; None says that it is not known.")

    def comparable(self, rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Predictions and references of JSON rows, as two arrays with one entry per row, as the metrics read them."""
        return (
            np.array([row["prediction"] for row in rows], dtype=object),
            np.array([row["reference"] for row in rows], dtype=object),
        )

    def score(self, rows: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Every metric of the task from JSON rows alone, without model or audio."""
        predictions, references = self.comparable(rows)
        scores = {}
        for name in self.metrics:
            metric = self.metric_named(name)
            scores[name] = metric.score(*metric.prepare(predictions, references))
        return scores

    def metric_named(self, name: str) -> "Metric":
        """The metric object, made once."""
        return _metric(name)


class TaskWithHead(Task):
    """A task that puts a head of its own on every backbone."""

    with_head: ClassVar[bool] = True

    @abstractmethod
    def build_head(self, width: int) -> "nn.Module":
        """A new head on hidden states of shape (batch, frames, `width`); see `sure.heads`."""

    def build_model(self, backbone: "Backbone") -> "SpeechModel":
        """The backbone with a new head."""
        from sure.model import ModelWithHead

        return ModelWithHead(backbone, self.build_head(backbone.width))


def evenly_spread(count: int, most: int) -> list[int]:
    """Places of at most `most` members of a list of `count`, from the first on, as far apart as can be."""
    chosen = min(count, most)
    return [index * count // chosen for index in range(chosen)]


def learned(help: str) -> dict[str, Any]:
    """Metadata of a field that users do not choose: what a task has from its corpus, learned from it or known of it.

    Records keep such fields; a command line may not give them.
    """
    return {"help": help, "learned": True}


def task_with_options(name: str, options: dict[str, Any]) -> Task:
    """A task as a command line asks for it. Raises `SureError` as `make_task`, and for what is no user's to choose."""
    task = registry.get("task", name)
    choices = [field.name for field in registry.options_of(task)]
    for option in options:
        if option in choices:
            continue
        if option in {field.name for field in dataclasses.fields(task)}:
            offered = f"its options are {', '.join(choices)}" if choices else "it has no options"
            raise SureError(f"--task_options {option}: {name} has it from its corpus; {offered}.")
        if not choices:
            raise SureError(f"--task_options {option}: {name} has no options.")
        raise registry.unknown(f"option of {name}:", option, choices)
    return make_task(name, options)


def make_task(name: str, options: dict[str, Any]) -> Task:
    """A task from its name and all of its fields, as `run.json` or a record has them.

    Raises `SureError` for an unknown task, an unknown option or a value that the task refuses.
    """
    return registry.dataclass_of(registry.get("task", name), options, "--task_options", name)


@cache
def _metric(name: str) -> "Metric":
    return registry.get("metric", name)()
