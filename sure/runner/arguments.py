"""The settings of a run, once: the command line, the record and resuming read these dataclasses."""

import dataclasses
import difflib
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
import yaml
from accelerate.utils import get_int_from_env
from transformers import HfArgumentParser, TrainingArguments

from sure import registry
from sure.errors import SureError
from sure.files import refuse_urls
from sure.record import DECISIVE_OF_TRAINER
from sure.task import Task, task_with_options

# What a number may be, from and to, where that is not anything from 0 on.
_RANGES = {
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), (1, math.inf)),
    **dict.fromkeys(("gradient_accumulation_steps", "eval_accumulation_steps"), (1, math.inf)),
    **dict.fromkeys(("preprocessing_workers", "dataloader_prefetch_factor"), (1, math.inf)),
    **dict.fromkeys(("seed", "data_seed"), (0, 2**32 - 1)),
    "label_smoothing_factor": (0, 1),
    # -1: as many as the epochs have; the process that launchers number, or none.
    **dict.fromkeys(("max_steps", "local_rank"), (-1, math.inf)),
}
_ABOVE_ZERO = ("eval_steps", "save_steps", "logging_steps", "max_batch_seconds")

# Of torch.compile.
_COMPILE_MODES = ["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]

# Flags of the trainer that a run cannot do as they say.
_UNFIT = {
    "push_to_hub": "a run publishes nothing; `sure export RUN --push_to_hub USER/NAME` does, when it has ended",
    "dataloader_drop_last": "it would leave utterances out of evaluations too",
    "auto_find_batch_size": "a record states the batch size; choose --per_device_train_batch_size",
    "prediction_loss_only": "a run is scored by its task's metrics",
    "batch_eval_metrics": "metrics are of whole splits",
    "eval_on_start": "a run that resumes would do it again, and count it as an evaluation without improvement",
    "eval_do_concat_batches": "every batch would copy the outputs of all before it; they are kept in a list",
    "eval_use_gather_object": "outputs are tensors, and go from process to process as such",
    "bf16_full_eval": "what is tested is what was trained; --bf16 True takes less memory in both",
    "fp16_full_eval": "what is tested is what was trained; --fp16 True takes less memory in both",
    "save_only_model": "a run resumes by itself, for which checkpoints hold the optimiser and the schedule",
    "ignore_data_skip": "a run that resumes goes on with the batches that an uninterrupted one would have",
    "use_liger_kernel": "it is for layers of language models",
    "neftune_noise_alpha": "it adds noise to token embeddings, of which a speech model has none",
}


@dataclass
class RunArguments:
    """What runs."""

    _argument_group_name = "what runs"

    task: str | None = field(default=None, metadata={"help": "Name of the task; `sure tasks` lists them."})
    data_dir: str | None = field(default=None, metadata={"help": "Folder of the corpus, in its own layout."})
    backbone: str = field(
        default="sure-mini",
        metadata={
            "help": "Hub id or local folder of a speech model; or sure-mini, sure-mini-tts (speaks), shipped, small, "
            "pretrained on synthetic speech; or <family>:<size>, such as wav2vec2:tiny, with random weights."
        },
    )
    backbone_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit on the hub."})
    backbone_options: list[str] = field(
        default_factory=list,
        metadata={"help": "What its family leaves to choose, such as window=6; see `sure backbones NAME`."},
    )
    method: str = field(
        default="conv_adapter",
        metadata={"help": "Name of the method; `sure methods` lists them. Several at once: lora+bitfit."},
    )
    method_options: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Values of the method's config, such as r=16 lora_alpha=32; `sure methods NAME` lists them. Of "
            "several at once each has its method's name before it: lora.r=16."
        },
    )
    task_options: list[str] = field(
        default_factory=list,
        metadata={"help": "Options of the task, such as language=mandarin; see `sure tasks NAME`."},
    )
    max_seconds: float | None = field(
        default=None, metadata={"help": "Use the first so many seconds of each utterance (SURE: 2.5); all by default."}
    )
    class_weights: Literal["none", "balanced"] = field(
        default="none", metadata={"help": "balanced: labels count in the loss by the inverse of their frequency."}
    )
    early_stopping_patience: int | None = field(
        default=None,
        metadata={"help": "Stop after so many evaluations without a better score; 0: never; the task's by default."},
    )
    cache_dir: str | None = field(
        default=None,
        metadata={
            "help": "Where decoded audio and outputs of frozen parts are kept; $SURE_CACHE or ~/.cache/sure by default."
        },
    )
    cache_frozen: float = field(
        default=20.0,
        metadata={
            "help": "Gigabytes that the cache may hold of what frozen parts of backbones give, computed once; 0: none."
        },
    )
    preprocessing_workers: int | None = field(
        default=None, metadata={"help": "Processes that decode audio; as many as there are cores by default."}
    )
    restart: bool = field(
        default=False, metadata={"help": "Discard what the output folder holds of an earlier run instead of resuming."}
    )

    def __post_init__(self) -> None:
        for name in ("task", "data_dir"):
            if getattr(self, name) is None:
                raise SureError(
                    f"--{name} is missing. For example: sure train --task emodb_emotion --data_dir DATA/emodb"
                )
        _refuse_wrong_numbers(self)

    def make_task(self) -> Task:
        """The task with its options. Raises `SureError` for an unknown task or option."""
        return task_with_options(self.task, parse_options(self.task_options, "--task_options"))


# Where launchers say how many processes they start.
_LAUNCHED = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


@dataclass
class TrainerArguments(TrainingArguments):
    """How it trains: `transformers.TrainingArguments`, every flag of it, with a benchmark's defaults; and one more."""

    _argument_group_name = "how it trains (transformers.TrainingArguments)"

    learning_rate: float = field(default=2e-3, metadata={"help": "Peak learning rate (SURE's for emotion)."})
    per_device_train_batch_size: int = field(default=16, metadata={"help": "Utterances per process and step."})
    per_device_eval_batch_size: int = field(
        default=32, metadata={"help": "Utterances per process; no score depends on it."}
    )
    max_batch_seconds: float | None = field(
        default=None,
        metadata={
            "help": "So many seconds of audio, padding among them, go through the model at once, in place of a number "
            "of utterances: an evaluation has as many utterances in a batch as fit, and a step of training, whose "
            "utterances stay what they are, goes through in parts. It bounds memory; no score depends on it, save "
            "where networks normalise by their batch (ECAPA-TDNN, ResNet34, AMCRN)."
        },
    )
    eval_accumulation_steps: int | None = field(
        default=16, metadata={"help": "Batches whose outputs stay on the GPU before they go to main memory."}
    )
    eval_do_concat_batches: bool = field(
        default=False, metadata={"help": "One array of all outputs, padded; here they are a list."}
    )
    num_train_epochs: float = field(default=20.0, metadata={"help": "Passes over the training split, at most."})
    warmup_steps: float = field(
        default=0.1, metadata={"help": "Steps of linear warm-up; below 1, a share of all steps."}
    )
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate: epoch or steps."})
    save_strategy: str | None = field(
        default=None, metadata={"help": "When to save a checkpoint; when it evaluates by default."}
    )
    save_steps: float | None = field(
        default=None, metadata={"help": "Steps between checkpoints; eval_steps by default."}
    )
    save_total_limit: int | None = field(
        default=2,
        metadata={
            "help": "Checkpoints to keep, the best and the newest among them. Of 1 only the best is left when training "
            "ends: interrupted before its record, a run trains again from there."
        },
    )
    load_best_model_at_end: bool = field(
        default=True, metadata={"help": "Test the checkpoint of the best validation score."}
    )
    logging_steps: float = field(default=10, metadata={"help": "Steps between two log lines."})
    report_to: list[str] | str | None = field(
        default="tensorboard", metadata={"help": "Integrations to log to, or none."}
    )
    train_sampling_strategy: Literal["group_by_length", "random"] = field(
        default="group_by_length", metadata={"help": "group_by_length: similar lengths in a batch; or random."}
    )
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Hide a loss that is no number; here it fails."}
    )
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "Resume early stopping where it was."}
    )
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Every trainable parameter gets a gradient, so there is nothing to find."}
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "Columns are chosen when batches are made."})

    def __post_init__(self) -> None:
        _refuse_wrong_numbers(self)
        for name, why in _UNFIT.items():
            if getattr(self, name):
                raise SureError(f"--{name}: {why}.")
        if self.max_steps == 0 or (self.max_steps < 0 and self.num_train_epochs == 0):
            name = "max_steps" if self.max_steps == 0 else "num_train_epochs"
            raise SureError(
                f"--{name} 0: nothing would be trained. A model as it was pretrained is scored by --max_steps 1 "
                "--learning_rate 0, which its record then says."
            )
        metric = self.metric_for_best_model
        self.save_strategy = self.save_strategy or self.eval_strategy
        self.save_steps = self.save_steps or self.eval_steps or self.logging_steps
        # Several processes on a CPU find one another only where they are told that it is one.
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()
        try:
            super().__post_init__()
        except (ValueError, TypeError, ImportError, OSError, RuntimeError) as error:
            raise SureError(f"Training arguments: {error}") from None
        by_steps = self.eval_strategy == self.save_strategy == "steps"
        # Of the best evaluation without a checkpoint no weights could be tested, nor those of another as good.
        if self.load_best_model_at_end and by_steps and self.save_steps != self.eval_steps:
            raise SureError(
                f"--save_steps {self.save_steps:g}: the best of the evaluations, every {self.eval_steps:g} steps, is "
                "tested, so that each has a checkpoint: leave --save_steps out."
            )
        if self.dataloader_persistent_workers and not self.dataloader_num_workers:
            raise SureError("--dataloader_persistent_workers True needs workers: --dataloader_num_workers 2.")
        if self.torch_compile_mode not in (None, *_COMPILE_MODES):
            raise registry.unknown("mode for --torch_compile_mode", self.torch_compile_mode, _COMPILE_MODES)
        # The trainer would select by the loss; the task knows better.
        self.metric_for_best_model = metric
        # From pinned memory a batch is copied while the GPU is still at work on the one before.
        self.dataloader_pin_memory = self.accelerator_config.non_blocking = self.device.type == "cuda"
        _refuse_lone_processes(self.world_size)


def _refuse_wrong_numbers(settings: RunArguments | TrainerArguments) -> None:
    """Raises `SureError` for a number that is none (NaN), infinite, or out of its range."""
    for name, value in vars(settings).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        least, most = _RANGES.get(name, (0, math.inf))
        if not (least <= value <= most and math.isfinite(value)) or (name in _ABOVE_ZERO and value == 0):
            wanted = f"a number from {least} on" if most == math.inf else f"one from {least} to {most}"
            if name in _ABOVE_ZERO or least == 1:
                wanted = f"a {'whole ' if least == 1 else ''}number above 0"
            raise SureError(f"--{name} {value:g}: give {wanted}.")


def _refuse_lone_processes(known: int) -> None:
    """Raises `SureError` where a launcher was to start more processes than train together.

    Each would train by itself and write into the same folder, or fewer would than were asked for.
    """
    launched = get_int_from_env(_LAUNCHED, 1)
    if launched != known:
        raise SureError(f"{launched} processes were started and {known} train together: start them by torchrun.")
    # Accelerate says where several processes meet, and starts one of them where there are no several GPUs.
    if "ACCELERATE_USE_CPU" in os.environ and "MASTER_PORT" in os.environ and not set(_LAUNCHED) & set(os.environ):
        raise SureError(
            "accelerate launch was to start several processes and has started one: it does so where there are no "
            "several GPUs. Use torchrun --standalone --nproc_per_node N -m sure.train, with the same flags."
        )


_ON_DISK = ("output_dir", "data_dir", "cache_dir")
# What may differ between a run and its continuation without changing a score.
INDIFFERENT = {"data_dir", "cache_dir", "cache_frozen", "preprocessing_workers", "restart"}


def parse(argv: list[str], prog: str) -> tuple[RunArguments, TrainerArguments]:
    """Settings from a command line. Raises `SureError` for missing, unknown or contradictory ones."""
    parser = _Parser(
        (RunArguments, TrainerArguments),
        prog=prog,
        usage=f"{prog} --task TASK --data_dir FOLDER [more flags]",
        description=_DESCRIPTION,
        allow_abbrev=False,
    )
    given, unknown = parser.parse_known_args(argv)
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings]
        nearest = difflib.get_close_matches(unknown[0], flags, n=1)
        parser.error(f"Unknown flag {unknown[0]}" + (f"; did you mean {nearest[0]}?" if nearest else ""))
    if given.output_dir is None:
        backbone = given.backbone.rstrip("/").rpartition("/")[2]
        given.output_dir = f"out/{given.task}-{backbone}-{given.method}-seed{given.seed}"
    if given.resume_from_checkpoint is not None:
        parser.error("--resume_from_checkpoint: a run resumes by itself, from the newest checkpoint in its folder")
    refuse_urls({f"--{name}": Path(path) for name in _ON_DISK if (path := getattr(given, name))})
    run, trainer = parser.parse_dict(vars(given))
    return run, trainer


class _Parser(HfArgumentParser):
    """Says what is wrong without its two hundred flags."""

    def error(self, message: str) -> NoReturn:
        raise SureError(f"{message} (`{self.prog} --help` says more).")


_DESCRIPTION = (
    "Train one method on one task and write a result record. Resumes by itself when the output folder holds a "
    "checkpoint of the same run. Several processes: torchrun --standalone --nproc_per_node N -m sure.train, with "
    "the same flags."
)


def settings(run: RunArguments, trainer: TrainerArguments) -> dict[str, Any]:
    """Everything that decides the scores, as JSON values: two runs with equal settings are the same run."""
    chosen = {name: value for name, value in dataclasses.asdict(run).items() if name not in INDIFFERENT}
    arguments = trainer.to_dict()
    chosen |= {name: arguments[name] for name in (*DECISIVE_OF_TRAINER, "seed")}
    chosen["global_batch_size"] = (
        trainer.per_device_train_batch_size * trainer.gradient_accumulation_steps * trainer.world_size
    )
    return chosen


def parse_options(pairs: list[str], flag: str) -> dict[str, Any]:
    """`["r=16", "roles=query,value"]` as a dictionary; values are read as YAML."""
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise SureError(f"{flag} {pair}: expected name=value.")
        try:
            options[name] = yaml.safe_load(value)
        # Such as a date of a thirteenth month.
        except (yaml.YAMLError, ValueError):
            raise SureError(f"{flag} {pair}: {value!r} is not a YAML value.") from None
    return options
