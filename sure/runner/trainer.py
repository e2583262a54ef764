"""`transformers.Trainer` with what a benchmark needs: reproducible length buckets, measured cost, safe resuming."""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn
from torch.utils.data import Dataset, Sampler, SequentialSampler
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations import get_reporting_integration_callbacks
from transformers.optimization import get_scheduler
from transformers.trainer_callback import ExportableState
from transformers.trainer_optimizer import is_optimizer_factory
from transformers.trainer_utils import EvalLoopOutput

from sure.errors import SureError
from sure.record import Memory
from sure.runner.batches import Collator, TrainingOrder, Utterances
from sure.task import Task

# Of a schedule that is only tried out.
_MANY_STEPS = 1_000_000


class CostMeter(TrainerCallback, ExportableState):
    """Seconds of training and of evaluation, and memory after each step; carried over when a run resumes.

    Of the memory a summary, for a run that makes no further step.
    """

    def __init__(self) -> None:
        self.training_seconds = 0.0
        self.evaluation_seconds = 0.0
        self.utterances = 0
        self.earlier_memory: dict[str, Any] | None = None
        self._device: torch.device | None = None
        self._resumed_at: float | None = None
        self._memory: list[int] = []

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        self._stop_clock()
        self._start_clock()
        if self._memory:
            self.earlier_memory = self.memory(self._device).model_dump()
        names = ("training_seconds", "evaluation_seconds", "utterances", "earlier_memory")
        return {"args": {}, "attributes": {name: getattr(self, name) for name in names}}

    def on_train_begin(self, args: TrainingArguments, *_: Any, **__: Any) -> None:
        if args.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(args.device)
        self._device = args.device
        self._start_clock()

    def on_step_end(self, args: TrainingArguments, *_: Any, **__: Any) -> None:
        self.utterances += args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        if args.device.type == "cuda":
            self._memory.append(torch.cuda.memory_allocated(args.device))
        else:
            self._memory.append(psutil.Process().memory_info().rss)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._stop_clock()

    def evaluated(self, seconds: float) -> None:
        """Move these seconds from training to evaluation."""
        self.evaluation_seconds += seconds
        if self._resumed_at is not None:
            self._resumed_at += seconds

    def memory(self, device: torch.device) -> Memory | None:
        """Memory since the run began or resumed, or before where no step was made since; None where none ever was."""
        if not self._memory:
            return Memory(**self.earlier_memory) if self.earlier_memory else None
        cuda = device.type == "cuda"
        return Memory(
            kind="cuda allocated" if cuda else "resident set",
            mean=int(np.mean(self._memory)),
            maximum=torch.cuda.max_memory_allocated(device) if cuda else max(self._memory),
            percentile_99=int(np.percentile(self._memory, 99)),
        )

    def _start_clock(self) -> None:
        self._resumed_at = time.perf_counter()

    def _stop_clock(self) -> None:
        if self._resumed_at is not None:
            self.training_seconds += time.perf_counter() - self._resumed_at
        self._resumed_at = None


class Paused(Exception):
    """Training has come as far as it was asked to, and left a checkpoint to go on from."""


class Pause(TrainerCallback):
    """Stops at the first checkpoint from a share of all steps on, in the middle of the schedule of all of them.

    By an exception: at its own end the trainer would delete the newest checkpoint where another is better.
    """

    def __init__(self, share: float) -> None:
        self.share = share

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # Interrupted between that checkpoint and its end.
        self._stop(state)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if control.should_training_stop:
            raise Paused
        self._stop(state)

    def _stop(self, state: TrainerState) -> None:
        if state.global_step >= self.share * state.max_steps:
            raise Paused


class StopAtNaN(TrainerCallback):
    """A loss that is no number never becomes one again: fail, and say what to change."""

    def on_log(self, args: TrainingArguments, state: TrainerState, _: TrainerControl, logs: dict, **__: Any) -> None:
        # `train_loss` is that of all steps, however few were logged.
        loss = logs.get("loss", logs.get("train_loss", 0.0))
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} at step {state.global_step}: lower --learning_rate ({args.learning_rate})"
                " or train without --fp16"
            )


class BenchmarkTrainer(Trainer):
    """Trains an adapted model on one task; scores every evaluation with the task's own metrics."""

    def __init__(self, task: Task, collator: Collator, train: Utterances, validation: Utterances, **kwargs: Any):
        self.task = task
        try:
            super().__init__(
                data_collator=collator,
                train_dataset=train,
                eval_dataset=validation,
                preprocess_logits_for_metrics=lambda logits, _: task.reduce(logits),
                compute_metrics=lambda outputs: task.score(self.rows_of(outputs, validation)),
                **kwargs,
            )
        except (ValueError, ImportError) as error:
            raise SureError(f"Training arguments: {error}") from None

    @property
    def meter(self) -> CostMeter:
        """The cost so far. Resuming replaces callbacks, so it is looked up each time."""
        return next(callback for callback in self.callback_handler.callbacks if isinstance(callback, CostMeter))

    def rows_of(self, outputs: EvalPrediction | EvalLoopOutput, utterances: Utterances) -> list[dict[str, Any]]:
        """The task's prediction rows, one per utterance whatever the number of processes."""
        if len(outputs.predictions) != len(utterances):
            raise RuntimeError(f"{len(outputs.predictions)} outputs for {len(utterances)} utterances")
        return self.task.predict(outputs.predictions, utterances.rows)

    def outputs_of(self, utterances: Utterances) -> EvalLoopOutput:
        """The head's outputs, reduced, one per utterance, without scoring them."""
        started = time.perf_counter()
        compute_metrics, self.compute_metrics = self.compute_metrics, None
        outputs = self.predict(utterances)
        self.compute_metrics = compute_metrics
        self.meter.evaluated(time.perf_counter() - started)
        return outputs

    def predict_rows(self, utterances: Utterances, keep: bool) -> list[dict[str, Any]]:
        """Prediction rows sorted by id; `keep` leaves the outputs too, where the task has something to keep."""
        outputs = self.outputs_of(utterances)
        if keep and self.args.should_save:
            self.task.keep(outputs.predictions, utterances.rows, Path(self.args.output_dir))
        return sorted(self.rows_of(outputs, utterances), key=lambda row: row["id"])

    def restore(self, checkpoint: Path) -> None:
        """Take over step, epoch and cost from a checkpoint after which there is nothing left to train."""
        self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        self._load_callback_state()

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        started = time.perf_counter()
        metrics = super().evaluate(*args, **kwargs)
        self.meter.evaluated(time.perf_counter() - started)
        return metrics

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler:
        # The trainer's own length sampler draws from the global random state, so that a resumed run would differ.
        lengths = [row["samples"] for row in self.train_dataset.rows]
        batch_size = None
        if self.args.train_sampling_strategy == "group_by_length":
            batch_size = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return TrainingOrder(lengths, self.train_dataset.seed, batch_size)

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Sampler:
        # In order, so that the outputs can be told apart.
        return SequentialSampler(eval_dataset)


def steps(args: TrainingArguments, utterances: int) -> int:
    """Steps of the optimiser that a run of so many training utterances has, as the trainer counts them."""
    if args.max_steps > 0:
        return args.max_steps
    batches = math.ceil(utterances / (args.train_batch_size * args.world_size))
    return math.ceil(args.num_train_epochs * max(1, math.ceil(batches / args.gradient_accumulation_steps)))


def refuse_unusable(args: TrainingArguments) -> None:
    """Raises `SureError` for an optimiser, a schedule or an integration that cannot be had, before anything is read."""
    model = nn.Linear(1, 1)
    try:
        kind, options = Trainer.get_optimizer_cls_and_kwargs(args, model)
        if not is_optimizer_factory(kind):
            steps = args.max_steps if args.max_steps > 0 else _MANY_STEPS
            schedule = args.lr_scheduler_kwargs
            optimizer = kind(model.parameters(), **options)
            get_scheduler(args.lr_scheduler_type, optimizer, args.get_warmup_steps(steps), steps, schedule)
        for integration in get_reporting_integration_callbacks(args.report_to):
            integration()
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        raise SureError(f"Training arguments: {error}") from None


def callbacks(patience: int) -> list[TrainerCallback]:
    """The callbacks of every run."""
    return [CostMeter(), StopAtNaN(), *([EarlyStoppingCallback(patience)] if patience else [])]
