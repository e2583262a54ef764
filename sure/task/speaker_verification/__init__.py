"""Speaker verification: the base of tasks that ask of two utterances whether one speaker said both.

An embedding per utterance is trained by telling the training speakers apart; a trial's score is the cosine of its two
embeddings. Test speakers are never training speakers, so evaluation has no loss: it is 0 there.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from sure.audio import LONGEST_SECONDS, SAMPLE_RATE, SHORTEST_SAMPLES
from sure.errors import SureError
from sure.files import is_number
from sure.task import TaskWithHead, learned

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from torch import Tensor, nn

    from sure.audio.augmentation import Surroundings
    from sure.backbone import Backbone
    from sure.model import SpeechModel
from sure.task.speaker_verification.scores import cosine, cosines, nearest_scores, normalised, unit
from sure.task.speaker_verification.trials import Trial, refuse_known, trials_by_rule

_CHOICES = {
    "head": (
        *("ecapa", "xvector", "mean", "mhfa", "layer_aggregation"),
        *("attentive_statistics", "local_attentive_statistics", "statistics"),
    ),
    "layers": ("last", "weighted_sum"),
    "score_normalization": ("none", "adaptive"),
}
_OF_ALL_LAYERS = ("mhfa", "layer_aggregation")


@dataclass
class SpeakerVerificationTask(TaskWithHead):
    """A subclass yields `utterances`, each with its speaker, and where it has a list of trials gives `test_trials`."""

    metrics: ClassVar[tuple[str, ...]] = (
        "equal_error_rate",
        "minimum_detection_cost_p01",
        "minimum_detection_cost_p05",
    )
    unit: ClassVar[Literal["utterance", "trial"]] = "trial"

    head: str = field(
        default="ecapa",
        metadata={
            "help": "ecapa (attentive statistics), xvector (SUPERB's, wants long training) or mean; of every layer, "
            "whatever `layers` says, mhfa (factorised attention) or layer_aggregation (a small network for each). What "
            "makes speaker networks whole: of ECAPA-TDNN attentive_statistics, or without global context "
            "local_attentive_statistics; of ResNet34 statistics."
        },
    )
    layers: str = field(
        default="last", metadata={"help": "What the head gets: the last hidden state, or a weighted_sum of all."}
    )
    crop_seconds: float = field(
        default=3.0,
        metadata={"help": "Training hears a random part of so many seconds; shorter utterances are repeated."},
    )
    margin: float = field(default=0.2, metadata={"help": "Of additive angular margin softmax, in radians."})
    scale: float = field(default=30.0, metadata={"help": "Of additive angular margin softmax."})
    segments: list[float] = field(
        default_factory=list,
        metadata={"help": "Also test on the first so many seconds of both utterances, such as [1,2,3,5]."},
    )
    score_normalization: str = field(
        default="none",
        metadata={
            "help": "adaptive: final scores by the 300 nearest training speakers (AS-norm), which the adapter does not "
            "keep, so that `sure predict` gives cosines; or none."
        },
    )
    noise_dir: str | None = field(
        default=None, metadata={"help": "Folder of MUSAN, whose noise, music and speech training utterances get."}
    )
    reverberation_dir: str | None = field(
        default=None, metadata={"help": "Folder with simulated_rirs, rooms in which training utterances are heard."}
    )
    augmentation_probability: float = field(
        default=0.6, metadata={"help": "Share of training utterances that get a noise or a room, where there are any."}
    )
    training_speakers: int = field(default=0, metadata=learned("Their number."))

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise _refused(name, getattr(self, name), f"choose one of {', '.join(choices)}")
        if self.head in _OF_ALL_LAYERS and self.layers == "weighted_sum":
            raise _refused("layers", self.layers, f"head={self.head} mixes all layers itself; leave `layers` out")
        if not isinstance(self.segments, list):
            self.segments = [self.segments]
        frame = SHORTEST_SAMPLES / SAMPLE_RATE
        for name, value, least, most in (
            ("crop_seconds", self.crop_seconds, frame, LONGEST_SECONDS),
            *(("segments", seconds, frame, LONGEST_SECONDS) for seconds in self.segments),
            ("margin", self.margin, 0, np.pi / 2),
            ("scale", self.scale, 1, np.inf),
            ("augmentation_probability", self.augmentation_probability, 0, 1),
        ):
            if not is_number(value) or not least <= value <= most:
                raise _refused(name, value, f"give a number of at least {least:g} and at most {most:g}")
        self._speaker_ids: dict[str, int] = {}
        self._trials: dict[str, list[Trial]] = {}
        self._cohort: np.ndarray | None = None

    @property
    def trials(self) -> dict[str, list[Trial]]:
        if not self._trials:
            return {}
        return {name: self._trials[split] for name, (split, _) in self.evaluations().items()}

    def test_trials(self, rows: Sequence[dict[str, Any]]) -> list[Trial]:
        """The trials of the test split, by default `trials_by_rule` among its rows."""
        return trials_by_rule(rows)

    def evaluations(self) -> dict[str, tuple[str, float | None]]:
        return super().evaluations() | {f"test_{seconds:g}s": ("test", float(seconds)) for seconds in self.segments}

    def load(self, data_dir: Path) -> "DatasetDict":
        """As `Task.load`; of validation and test only what trials name.

        Raises `SureError` where there is one speaker to learn from, where one is tested, or where a split has no trials
        of both kinds.
        """
        splits = super().load(data_dir)
        speakers = {name: set(split["speaker"]) for name, split in splits.items()}
        if len(speakers["train"]) < 2:
            raise SureError(f"{data_dir}: every train utterance is of one speaker; there is nobody to tell apart.")
        for name in ("validation", "test"):
            refuse_known(speakers[name], speakers["train"], f"{data_dir}, {name}")
        self._trials = {
            "validation": trials_by_rule(splits["validation"].to_list()),
            "test": self.test_trials(splits["test"].to_list()),
        }
        for name, trials in self._trials.items():
            if {label for _, _, label in trials} != {0, 1}:
                raise SureError(
                    f"{data_dir}: the {len(trials)} {name} trials are not of both kinds; they need two speakers, one "
                    "of them with two utterances."
                )
            splits[name] = _named(splits[name], trials)
        self._speaker_ids = {speaker: index for index, speaker in enumerate(sorted(speakers["train"]))}
        self.training_speakers = len(self._speaker_ids)
        # Folders that are not what they should be are better found now than when training begins.
        _ = self._surroundings
        return splits

    @property
    def training_seconds(self) -> float:
        return self.crop_seconds

    def augment(self, waveform: np.ndarray, row: dict[str, Any], generator: np.random.Generator) -> np.ndarray:
        """A random crop, perhaps with noise or in a room."""
        from sure.audio.augmentation import crop

        part = crop(waveform, round(self.crop_seconds * SAMPLE_RATE), generator)
        return self._surroundings.change(part, generator)

    @cached_property
    def _surroundings(self) -> "Surroundings":
        from sure.audio.augmentation import Surroundings

        folders = (None if name is None else Path(name) for name in (self.noise_dir, self.reverberation_dir))
        return Surroundings(*folders, self.augmentation_probability)

    @property
    def reads_every_layer(self) -> bool:
        """Whether its head is given all hidden states."""
        return self.layers == "weighted_sum" or self.head in _OF_ALL_LAYERS

    def build_head(self, width: int, states: int = 0) -> "nn.Module":
        """As `Task.build_head`; a head of all layers must know how many hidden `states` there are."""
        from sure.task.speaker_verification.heads import EMBEDDERS, SpeakerHead

        embedder, mixed = EMBEDDERS[self.head], states if self.layers == "weighted_sum" else 0
        made = embedder(width, states) if embedder.all_layers else embedder(width)
        return SpeakerHead(made, self.training_speakers, self.margin, self.scale, mixed)

    def build_model(self, backbone: "Backbone") -> "SpeechModel":
        from sure.model import ModelWithHead

        return ModelWithHead(backbone, self.build_head(backbone.width, backbone.states))

    def targets(self, rows: Sequence[dict[str, Any]]) -> "dict[str, Tensor]":
        """`labels` of shape (batch,), -100 for who is no training speaker."""
        import torch

        return {"labels": torch.tensor([self._speaker_ids.get(row["speaker"], -100) for row in rows])}

    def calibrate(self, training_outputs: Callable[[], tuple[Sequence[np.ndarray], list[dict[str, Any]]]]) -> None:
        """With `score_normalization=adaptive`: the cohort, which is the mean embedding of each training speaker."""
        if self.score_normalization == "adaptive":
            embeddings, rows = training_outputs()
            embeddings = np.asarray(embeddings)
            members = defaultdict(list)
            for index, row in enumerate(rows):
                members[row["speaker"]].append(index)
            self._cohort = unit(np.stack([embeddings[members[speaker]].mean(axis=0) for speaker in sorted(members)]))

    def predict(self, outputs: Sequence[np.ndarray], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Outputs are embeddings of shape (utterances, size); gives a row per trial of the rows' split.

        A row has the score as `prediction`, the label as `reference`, the speakers of the enrolment and of the test
        utterance, `speaker` and `test_speaker`, and both utterances as `id`; a list that repeats a trial counts it as
        often, as "... #2" and so on. Recordings that are in no trials give a row each, with their `embedding`.
        """
        trials = self._trials.get(rows[0].get("split"), [])
        if not trials:
            return [
                {"id": row["id"], "embedding": [round(float(value), 6) for value in embedding]}
                for row, embedding in zip(rows, outputs, strict=True)
            ]
        places = {row["id"]: index for index, row in enumerate(rows)}
        sides = np.array([[places[enrolment], places[test]] for enrolment, test, _ in trials])
        embeddings = unit(outputs)
        scores = cosines(embeddings, sides)
        if self._cohort is not None:
            scores = normalised(scores, sides, *nearest_scores(embeddings, self._cohort))
        return [
            known | {"prediction": round(float(score), 8)}
            for known, score in zip(self.references(rows), scores, strict=True)
        ]

    def references(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        speakers = {row["id"]: row["speaker"] for row in rows}
        seen: Counter[str] = Counter()
        references = []
        for enrolment, test, label in self._trials.get(rows[0].get("split"), []):
            identity = f"{enrolment} {test}"
            seen[identity] += 1
            references.append(
                {
                    "id": identity if seen[identity] == 1 else f"{identity} #{seen[identity]}",
                    "speaker": speakers[enrolment],
                    "test_speaker": speakers[test],
                    "reference": label,
                }
            )
        return references

    def compared(self, row: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
        """Adds `cosine_with_first`, of both embeddings."""
        return {"id": row["id"], "cosine_with_first": cosine(first["embedding"], row["embedding"]), **row}

    def comparable(self, rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Scores and labels. Raises `SureError` for what is none, naming the row."""
        for row in rows:
            if not is_number(row.get("prediction")):
                raise SureError(f"Prediction {row.get('id')!r}: the score {row.get('prediction')!r} is not a number.")
            if row.get("reference") not in (0, 1):
                raise SureError(
                    f"Prediction {row.get('id')!r}: the reference {row.get('reference')!r} is neither 1 nor 0."
                )
        return np.array([float(row["prediction"]) for row in rows]), np.array([int(row["reference"]) for row in rows])


def _named(split: "Dataset", trials: list[Trial]) -> "Dataset":
    """The utterances of a split that are in a trial."""
    named = {identity for enrolment, test, _ in trials for identity in (enrolment, test)}
    return split.select([index for index, identity in enumerate(split["id"]) if identity in named])


def _refused(option: str, value: Any, right: str) -> SureError:
    return SureError(f"--task_options {option}={value}: {right}.")
