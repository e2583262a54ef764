"""The result record: one JSON file per run that says what ran, what it cost, what came out, and where.

Its JSON Schema is generated from these classes (`leaderboard/schema.json`); reading a record checks it.
"""

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sure.errors import SureError
from sure.files import write_atomically
from sure.record import untrusted
from sure.registry import Kind

SCHEMA_VERSION = 1

_RECORD = f"result record of schema version {SCHEMA_VERSION}"

# What a run leaves in its folder: its record, and before that what runs.
RESULT = "result.json"
RUN = "run.json"

# No page, no script and nothing that is unpickled.
PREDICTIONS_NAME = re.compile(r"(?=.{1,86}\Z)[A-Za-z0-9](\.?[A-Za-z0-9_-])*\.jsonl")

# What of a run's arguments decides its scores, beside what it names by itself: task, backbone, method and seed.
DECISIVE_OF_TRAINER = (
    *("learning_rate", "num_train_epochs", "max_steps", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps"),
    *("optim", "optim_args", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm"),
    *("data_seed", "bf16", "fp16", "train_sampling_strategy", "eval_strategy", "eval_steps", "metric_for_best_model"),
    *("label_smoothing_factor", "load_best_model_at_end"),
)
DECISIVE = (*DECISIVE_OF_TRAINER, "global_batch_size", "max_seconds", "class_weights", "early_stopping_patience")


def decimals(value: float) -> int:
    """Digits behind the point with which a score is written: three, of less than 0.01 so many that two are not zero."""
    return 3 if not 0 < abs(value) < 0.01 else min(6, 1 - math.floor(math.log10(abs(value))))


def shown(value: float, beside: float | None = None) -> str:
    """A score, or a number with as many digits as the score `beside` it has."""
    return f"{value:.{decimals(value if beside is None else beside)}f}"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def _read(cls, path: Path, what: str) -> Self:
        """From a JSON file. Raises `SureError` naming the file and every wrong field, where it is no `what`."""
        try:
            content = Path(path).read_bytes()
        except FileNotFoundError:
            raise SureError(f"{path}: no such {what}.") from None
        except OSError as error:
            raise SureError(f"{path}: cannot be read ({error.strerror}).") from None
        return cls._of(content, path, what)

    @classmethod
    def _of(cls, content: bytes, path: Path, what: str) -> Self:
        """From the content of a file, as `_read`."""
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
            raise SureError(f"{path} is not a {what}: {wrong}.") from None


class SplitSize(_Strict):
    """How much speech a split holds."""

    utterances: int
    seconds: float = Field(description="Length of the audio as it was used, in seconds.")
    speakers: int | None = Field(description="Number of speakers, or null where the corpus does not name them.")


class Data(_Strict):
    """The corpus: its fingerprint is the same wherever it lies, and differs when any file, label or split does."""

    fingerprint: str = Field(description="SHA-256 over all that is said of every utterance, and its file's contents.")
    synthetic: bool = Field(description="Whether the speech was made by a synthesiser.")
    splits: dict[str, SplitSize]
    trials: dict[str, int] | None = Field(
        default=None, description="By evaluation, the number of trials, where trial lists are scored."
    )


class BackboneInfo(_Strict):
    """The pretrained model."""

    name: str = Field(description="Hub id, folder name or built-in name.")
    family: str
    revision: str = Field(description="Hub commit, or SHA-256 of the weights of a local folder.")
    pretrained: bool = Field(description="False where the weights are random.")
    options: dict[str, Any] = Field(
        default_factory=dict,
        exclude_if=lambda options: not options,
        description="What was chosen of what the family leaves to choose.",
    )


class MethodInfo(_Strict):
    """The parameter-efficient method and every value of its configuration."""

    name: str
    config: dict[str, Any]


class PluginFile(_Strict):
    """The file of a task, method, backbone or metric that is not SURE's own."""

    kind: Kind
    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Run(_Strict):
    """What ran."""

    task: str
    task_options: dict[str, Any]
    data: Data
    backbone: BackboneInfo
    method: MethodInfo
    seed: int
    arguments: dict[str, Any] = Field(description="Every training argument.")
    # Left out where there is none: records made before there were plug-ins keep their names on a board.
    plugins: list[PluginFile] = Field(
        default_factory=list,
        exclude_if=lambda plugins: not plugins,
        description="Those that took part; absent where there is none.",
    )

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `sure train` leaves before it trains. Raises `SureError` naming the file and every wrong field."""
        return cls._read(path, "run of `sure train`")


class Memory(_Strict):
    """Memory in bytes, sampled after every optimiser step."""

    kind: Literal["cuda allocated", "resident set"]
    mean: int
    maximum: int = Field(description="On CUDA the allocator's peak, which lies within steps.")
    percentile_99: int


class Cached(_Strict):
    """What of the backbone was frozen and was computed once, before training, instead of in every step."""

    part: str = Field(description="Such as cnn, layers 0-5, or means of backbone, over time.")
    seconds: float = Field(description="Of computing it; 0 where an earlier run had done so.")


class Cost(_Strict):
    """What it cost."""

    trainable_parameters: int
    head_parameters: int = Field(description="Trainable parameters of the task head, counted in the line above.")
    total_parameters: int = Field(description="Backbone, method and head.")
    part_parameters: dict[str, int] = Field(
        default_factory=dict,
        exclude_if=lambda parts: not parts,
        description="Of several methods at once, by method its trainable parameters.",
    )
    trainable_share: float = Field(ge=0, le=1, description="Trainable / total parameters.")
    trainable_share_without_head: float = Field(ge=0, le=1, description="The same with the head left out of both.")
    adapter_bytes: int = Field(description="Size of adapter_model.safetensors, head included.")
    macs_per_second: int = Field(description="Multiply-accumulates of a forward pass per second of audio.")
    training_seconds: float = Field(description="Without evaluation and without decoding.")
    evaluation_seconds: float
    cached: Cached | None = Field(
        default=None,
        exclude_if=lambda cached: cached is None,
        description="What training and evaluation were spared, which macs_per_second counts all the same; absent where "
        "nothing was.",
    )
    samples_per_second: float = Field(description="Training utterances per second of training.")
    steps: int = Field(description="Optimiser steps made, over all processes together one each.")
    epochs: float
    memory: Memory | None
    device: str
    processes: int


class Score(_Strict):
    """A metric with its confidence interval."""

    value: float
    low: float
    high: float
    unit: str
    higher_is_better: bool
    method: Literal["Wilson", "percentile bootstrap", "undetermined"] | None = Field(
        default=None,
        exclude_if=lambda method: method is None,
        description="How the interval was made; undetermined where the draws all give the same score, such as no error "
        "at all, and so cannot say how far it would vary: low and high repeat it. Absent in earlier records, where "
        "all are percentile bootstrap.",
    )

    @property
    def determined(self) -> bool:
        """Whether low and high are an interval at all."""
        return self.method != "undetermined"

    def __str__(self) -> str:
        """`0.512 [0.430, 0.590]`, or that there is no interval."""
        limits = (shown(end, self.value) for end in (self.low, self.high))
        return f"{shown(self.value)} [{', '.join(limits) if self.determined else 'no interval'}]"


# What the bootstrap draws; trials by the speaker of the enrolment utterance alone where the other is not known.
Drawn = Literal["speaker", "enrolment speaker", "utterance", "trial"]


class Interval(_Strict):
    """How the confidence intervals were made."""

    method: Literal["percentile bootstrap"] | None = Field(
        default=None,
        exclude_if=lambda method: method is None,
        description="Of earlier records, which drew trials by the speakers of their enrolment utterances and gave "
        "proportions no interval of their own; absent where each score says its method.",
    )
    level: float = 0.95
    resamples: int
    resampled: dict[str, Drawn] = Field(description="By evaluation, what was drawn.")
    speakers: dict[str, int] = Field(
        default_factory=dict,
        exclude_if=lambda speakers: not speakers,
        description="By evaluation, the number of speakers where they were too few to be drawn: the intervals are for "
        "these speakers only.",
    )

    def speakers_unknown(self, evaluation: str) -> bool:
        """Whether rows were drawn because not all of them name their speakers."""
        return self.resampled[evaluation] in ("utterance", "trial") and evaluation not in self.speakers


class PredictionsFile(_Strict):
    """One JSON row per utterance, beside the record."""

    path: str = Field(description="Relative to the record's folder.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Provenance(_Strict):
    """Where and with what it ran."""

    versions: dict[str, str]
    python: str
    platform: str
    commit: str | None = Field(description="Commit of SURE's checkout, with '+changes' where it had any.")
    started: str = Field(description="UTC, ISO 8601.")
    finished: str = Field(description="UTC, ISO 8601.")


class Tried(_Strict):
    """A setting that was compared with others."""

    values: dict[str, Any] = Field(description="By flag, what it tried.")
    validation: float | None = Field(description="Its best validation score so far; null where it failed before.")
    epochs: float = Field(description="Passes over the training split that this score comes of.")
    training_seconds: float = Field(description="What it cost until then.")
    chosen: bool
    failures: list[str] = Field(
        default_factory=list,
        exclude_if=lambda failures: not failures,
        description="What went wrong in earlier attempts at it, or in all; absent where nothing did.",
    )


class Selection(_Strict):
    """How the settings of a run were chosen, on validation."""

    by: Literal["grid", "halving", "optuna"]
    metric: str
    seed: int = Field(description="All were compared with it.")
    tried: list[Tried]


class LearningPoint(_Strict):
    """What was known of a run when it had made so many steps."""

    epoch: float = Field(ge=0)
    step: int = Field(ge=0)
    training_loss: float | None = Field(description="The mean since the point before that has one; null where unknown.")
    validation: float | None = Field(description="The metric that ranks; null where nothing was evaluated.")


class Sample(_Strict):
    """Speech that was generated for a test utterance, beside the record."""

    id: str = Field(description="That of the utterance's row among the test predictions, which has its text.")
    path: str = Field(description="A FLAC file, relative to the record's folder.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Result(_Strict):
    """One run."""

    schema_version: Literal[1] = SCHEMA_VERSION
    status: Literal["complete", "failed"]
    error: str | None = Field(default=None, description="What stopped a failed run.")
    run: Run
    metric: str = Field(description="The metric that ranks; it selects the checkpoint unless arguments name another.")
    cost: Cost | None = Field(description="Null where the run failed.")
    scores: dict[str, dict[str, Score]] = Field(
        description="By evaluation (validation, test, and further ones such as test_1s), then by metric."
    )
    interval: Interval | None
    predictions: dict[str, PredictionsFile] = Field(description="By evaluation.")
    learning_curve: list[LearningPoint] = Field(
        default_factory=list,
        exclude_if=lambda points: not points,
        description="By step; absent in earlier records.",
    )
    samples: list[Sample] = Field(
        default_factory=list,
        max_length=8,
        exclude_if=lambda samples: not samples,
        description="Some of what was said, where speech is generated; absent otherwise.",
    )
    selection: Selection | None = Field(
        default=None,
        exclude_if=lambda selection: selection is None,
        description="Of a sweep: what was compared to choose this run's settings; absent where nothing was.",
    )
    provenance: Provenance

    @property
    def made_earlier(self) -> bool:
        """Whether its intervals were made in the way of earlier records."""
        return self.interval is not None and self.interval.method is not None

    def write(self, path: Path) -> None:
        """Write as JSON; a reader sees the old file or the whole new one."""
        write_atomically(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check. Raises `SureError` naming the file and every wrong field."""
        return cls._read(path, _RECORD)

    @classmethod
    def of(cls, content: bytes, path: Path) -> Self:
        """As `read`, of the content of that file."""
        return cls._of(content, path, _RECORD)


def write_predictions(path: Path, rows: list[dict[str, Any]]) -> PredictionsFile:
    """Write predictions as JSON lines; gives the file's name and SHA-256."""
    content = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
    write_atomically(path, content)
    return PredictionsFile(path=Path(path).name, sha256=hashlib.sha256(content).hexdigest())


def read_predictions(folder: Path, file: PredictionsFile) -> list[dict[str, Any]]:
    """Read predictions that a record names. Raises `SureError` where they are missing, changed or not JSON lines."""
    path = Path(folder) / file.path
    if path.name != file.path:
        raise SureError(f"{folder}: the predictions file must lie beside its record, not at {file.path!r}.")
    if not PREDICTIONS_NAME.fullmatch(file.path):
        raise SureError(f"{folder}: {file.path!r} is no name of a predictions file, such as predictions-test.jsonl.")
    content = untrusted.contents(path, untrusted.MOST_PREDICTIONS, "predictions file")
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise SureError(f"{path}: its SHA-256 is not the one in the record; it was changed after the run.")
    return untrusted.rows(path, content)
