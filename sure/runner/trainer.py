"""`transformers.Trainer` with what a benchmark needs: reproducible length buckets, measured cost, safe resuming."""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from accelerate import FullyShardedDataParallelPlugin, PartialState
from accelerate.utils import DistributedType, broadcast_object_list
from torch import Tensor, nn
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
from transformers.trainer_pt_utils import find_batch_size
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, EvalLoopOutput

from sure.errors import SureError
from sure.files import write_atomically
from sure.record import Memory
from sure.runner.batches import Collator, EvaluationBatches, Room, TrainingBatches, Utterances
from sure.task import Task

# Beside the weights of a checkpoint: the prediction rows of the evaluation after which it was saved.
_ROWS = "validation.json"

# Of a schedule that is only tried out.
_MANY_STEPS = 1_000_000


class CostMeter(TrainerCallback, ExportableState):
    """Seconds of training and of evaluation, and memory after each step; carried over when a run resumes.

    Of the memory a summary, for a run that makes no further step.
    """

    def __init__(self) -> None:
        self.training_seconds = 0.0
        self.evaluation_seconds = 0.0
        # Grows by what each step has, which lies on the GPU.
        self.utterances: int | Tensor = 0
        self.earlier_memory: dict[str, Any] | None = None
        self._device: torch.device | None = None
        self._resumed_at: float | None = None
        self._memory: list[int] = []
        # Of a GPU, within steps.
        self._peak = 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        self._stop_clock()
        self._start_clock()
        if self._memory:
            self.earlier_memory = self.memory(self._device).model_dump()
        attributes = {
            name: getattr(self, name) for name in ("training_seconds", "evaluation_seconds", "earlier_memory")
        }
        return {"args": {}, "attributes": attributes | {"utterances": int(self.utterances)}}

    def on_train_begin(self, args: TrainingArguments, *_: Any, **__: Any) -> None:
        if args.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(args.device)
        self._device = args.device
        self._start_clock()

    def on_step_end(self, args: TrainingArguments, *_: Any, **__: Any) -> None:
        if args.device.type == "cuda":
            self._memory.append(torch.cuda.memory_allocated(args.device))
            self._peak = max(self._peak, torch.cuda.max_memory_allocated(args.device))
        else:
            self._memory.append(psutil.Process().memory_info().rss)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._stop_clock()

    def evaluated(self, seconds: float) -> None:
        """Move these seconds from training to evaluation."""
        self.evaluation_seconds += seconds
        if self._device is not None and self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
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
            maximum=self._peak if cuda else max(self._memory),
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

    With `--eval_delay`, at the first that was evaluated: whoever asks for the pause compares scores. By an exception:
    at its own end the trainer would delete the newest checkpoint where another is better and `--save_total_limit` is 1.
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
        if state.global_step >= self.share * state.max_steps and state.best_metric is not None:
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


class LogAtCheckpoints(TrainerCallback):
    """Logs the training loss at every evaluation and checkpoint: a resumed run knows nothing of what was not logged."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_log |= control.should_evaluate or control.should_save

    on_epoch_end = on_step_end


class Packed:
    """What is kept of every batch of an evaluation, copied close together into a few large blocks of main memory.

    Each for itself, made between two batches, keeps what lies before it from being given back or filled again: of short
    utterances the process grew by 7 kB with each, whose outputs are a hundred bytes.
    """

    def __init__(self, block: int = 1 << 20) -> None:
        """`block`: bytes of one."""
        self._block, self._free = block, torch.empty(0, dtype=torch.uint8)

    def __call__(self, tensor: Tensor) -> Tensor:
        """The same numbers, elsewhere; what lies on a GPU stays there."""
        if tensor.device.type != "cpu":
            return tensor
        size = tensor.numel() * tensor.element_size()
        # Numbers of eight bytes begin at a multiple of that.
        taken = -(-size // 8) * 8
        if taken > len(self._free):
            self._free = torch.empty(max(taken, self._block), dtype=torch.uint8)
        own, self._free = self._free[:size], self._free[taken:]
        return own.view(tensor.dtype).view(tensor.shape).copy_(tensor)


class BenchmarkTrainer(Trainer):
    """Trains an adapted model on one task; scores every evaluation with the task's own metrics.

    The loss of a step is that of all its utterances, however they are divided into batches and among processes, but for
    what of text-to-speech losses is a mean over anything but frames, which parts are weighted by.
    """

    # By what `get_batch_samples` counts.
    loss_is_scaled_for_ga = True

    def __init__(self, task: Task, collator: Collator, train: Utterances, validation: Utterances, **kwargs: Any):
        self.task = task
        self.room = Room.of(kwargs["args"].max_batch_seconds, collator.backbone)
        self.training_room = self.room and replace(
            self.room, window=self.room.window or task.training_seconds, stretch=task.stretch
        )
        # The last evaluation's step and rows, and whether the task still predicts as it did there.
        self._evaluated: tuple[int, list[dict[str, Any]]] | None = None
        self._calibrated = False
        try:
            super().__init__(
                data_collator=collator,
                train_dataset=train,
                eval_dataset=validation,
                preprocess_logits_for_metrics=lambda logits, _: task.reduce(logits),
                compute_metrics=self._score,
                **kwargs,
            )
        except (ValueError, ImportError) as error:
            raise SureError(f"Training arguments: {error}") from None
        kinds = tuple(get_reporting_integration_callbacks(self.args.report_to))
        self._reporters = [callback for callback in self.callback_handler.callbacks if isinstance(callback, kinds)]
        for reporter in self._reporters:
            # They close what they write with training, when the scores are still to come: see `report`.
            reporter.on_train_end = lambda *_, **__: None

    def report(self, figures: dict[str, float]) -> None:
        """Log what came out wherever `--report_to` logs, and let that be closed."""
        if figures:
            self._tell_reporters("on_log", logs=figures)
        for reporter in self._reporters:
            del reporter.on_train_end
        self._tell_reporters("on_train_end")

    def _tell_reporters(self, event: str, **what: Any) -> None:
        handler = self.callback_handler
        everybody, handler.callbacks = handler.callbacks, self._reporters
        try:
            handler.call_event(event, self.args, self.state, self.control, **what)
        finally:
            handler.callbacks = everybody

    def create_accelerator_and_postprocess(self) -> None:
        """Outputs of evaluations are packed, and FSDP works without accelerators.

        Accelerate shards on accelerators only, and takes processes of a CPU for copies; torch shards there too.
        """
        super().create_accelerator_and_postprocess()
        gather, pack = self.accelerator.gather_for_metrics, Packed()
        self.accelerator.gather_for_metrics = self.gather_function = lambda outputs: pack(gather(outputs))
        state = self.accelerator.state
        asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
        if asked and state.distributed_type == DistributedType.MULTI_CPU:
            # Where there are flags they say how, else the variables of `accelerate launch`.
            state.fsdp_plugin = FullyShardedDataParallelPlugin(**(self.args.fsdp_plugin_args or {}))
            state.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.is_fsdp_enabled = True

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Biases that an adapter has of its own, as BitFit's, decay no more than a model's."""
        layers = [name for name, module in model.named_modules() if getattr(module, "copies_bias", False)]
        biases = tuple(f"{name}.sure_adapter." for name in layers)
        return [name for name in super().get_decay_parameter_names(model) if not name.startswith(biases)]

    def put_together(self, model: nn.Module) -> None:
        """Load into a copy of what was trained, made before training, all that processes hold in parts."""
        whole = self.accelerator.get_state_dict(self.model_wrapped)
        if self.args.should_save:
            model.load_state_dict(whole)

    @property
    def meter(self) -> CostMeter:
        """The cost so far. Resuming replaces callbacks, so it is looked up each time."""
        return next(callback for callback in self.callback_handler.callbacks if isinstance(callback, CostMeter))

    def outputs_of(self, utterances: Utterances) -> list[np.ndarray]:
        """The head's outputs, reduced, one per utterance, without scoring them."""
        started = time.perf_counter()
        compute_metrics, self.compute_metrics = self.compute_metrics, None
        outputs = self.predict(utterances)
        self.compute_metrics = compute_metrics
        self.meter.evaluated(time.perf_counter() - started)
        return self._by_utterance(outputs, utterances)

    def calibrate(self, training: Callable[[], Utterances]) -> None:
        """Let the task see the outputs of the training split before it predicts, where it wants to."""

        def outputs() -> tuple[list[np.ndarray], list[dict[str, Any]]]:
            self._calibrated = True
            utterances = training()
            return self.outputs_of(utterances), utterances.rows

        self.task.calibrate(outputs)

    def predict_rows(self, utterances: Utterances, keep: bool) -> list[dict[str, Any]]:
        """Prediction rows sorted by id; `keep` leaves the outputs too, where the task has something to keep.

        Those of validation are the rows of the evaluation that selected the model, where its checkpoint has them.
        """
        if utterances is self.eval_dataset and (rows := self._rows_of_checkpoint()) is not None:
            return rows
        most = self.task.predicted_at_a_time
        parts = utterances.parts(most) if most else [utterances]
        return _sorted([row for part in parts for row in self._predicted(part, keep)])

    def _predicted(self, utterances: Utterances, keep: bool) -> list[dict[str, Any]]:
        """Of `predict_rows`; the outputs are gone when it returns."""
        outputs = self.outputs_of(utterances)
        if keep and self.args.should_save:
            self.task.keep(outputs, utterances.rows, Path(self.args.output_dir))
        return self.task.predict(outputs, utterances.rows)

    def restore(self, checkpoint: Path) -> None:
        """Take over step, epoch and cost from a checkpoint after which there is nothing left to train."""
        self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        self._load_callback_state()
        self.state.is_world_process_zero = self.is_world_process_zero()
        self._tell_reporters("on_train_begin")

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        started = time.perf_counter()
        metrics = super().evaluate(*args, **kwargs)
        self.meter.evaluated(time.perf_counter() - started)
        return metrics

    def prediction_step(self, *args: Any, **kwargs: Any) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Loss, outputs, and a zero for the labels: rows have those, and of a transcript they are a kilobyte."""
        loss, outputs, labels = super().prediction_step(*args, **kwargs)
        return loss, outputs, None if labels is None else torch.zeros(1, device=self.args.device)

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Tensor]], Tensor]:
        """The batches of a step, each with the `items` that its loss is the mean of; and those of all processes."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        parts = [part for batch in batches for part in (batch if isinstance(batch, list) else [batch])]
        utterances = sum(find_batch_size(part) for part in parts if "items" not in part)
        for part in parts:
            if "items" not in part:
                known = "labels" in part
                part["items"] = self.model.items(part["labels"]) if known else torch.tensor(find_batch_size(part))
        items = sum(part["items"] for part in parts).to(device, torch.float32)
        counts = self.accelerator.reduce(torch.stack([items, torch.full_like(items, utterances)]), "sum")
        self.meter.utterances = self.meter.utterances + counts[1]
        return batches, counts[0]

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor] | list[dict[str, Tensor]],
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """Of a batch in parts (`--max_batch_seconds`) gradients add up; processes exchange them after the last."""
        if not isinstance(inputs, list):
            return super().training_step(model, inputs, num_items_in_batch)
        *parts, last = inputs
        exchanging = self.accelerator.sync_gradients
        loss = torch.zeros((), device=self.args.device)
        self.accelerator.gradient_state._set_sync_gradients(False)
        # Of a batch whose gradients only accumulate the trainer has said so already.
        with self.accelerator.no_sync(model) if exchanging and not self.is_deepspeed_enabled else nullcontext():
            for part in parts:
                loss += super().training_step(model, part, num_items_in_batch)
        self.accelerator.gradient_state._set_sync_gradients(exchanging)
        return loss + super().training_step(model, last, num_items_in_batch)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Any]:
        """The loss; in training its share in that of the step, times the processes, as gradients are their mean."""
        items = inputs.pop("items", None)
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True)
        if items is not None:
            loss = loss * (items * self.args.world_size / num_items_in_batch.clamp(min=torch.finfo(torch.float32).tiny))
        return (loss, outputs) if return_outputs else loss

    def _score(self, outputs: EvalPrediction) -> dict[str, float]:
        rows = self.task.predict(self._by_utterance(outputs, self.eval_dataset), self.eval_dataset.rows)
        self._evaluated = (self.state.global_step, rows)
        return self.task.score(rows)

    def _by_utterance(self, outputs: EvalPrediction | EvalLoopOutput, utterances: Utterances) -> list[np.ndarray]:
        """The outputs of all batches, one per utterance whatever the processes, each as long as those of its batch."""
        found = [output for batch in outputs.predictions for output in batch]
        # With `EvaluationBatches` the last one may be there several times.
        repeated = self.args.world_size - 1 if self.room else 0
        if not 0 <= len(found) - len(utterances) <= repeated:
            raise RuntimeError(f"{len(found)} outputs for {len(utterances)} utterances")
        return found[: len(utterances)]

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        if self.args.should_save and self._evaluated and self._evaluated[0] == self.state.global_step:
            # First, for a checkpoint is complete when the trainer has written it.
            folder = self._checkpoint(self.state.global_step)
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / _ROWS, json.dumps(_sorted(self._evaluated[1])))
        super()._save_checkpoint(*args, **kwargs)

    def _rows_of_checkpoint(self) -> list[dict[str, Any]] | None:
        """What was predicted, when it was evaluated, with the checkpoint that the model now is; None if unknown."""
        best = self.args.load_best_model_at_end and self.state.best_model_checkpoint
        kept = (Path(best) if best else self._checkpoint(self.state.global_step)) / _ROWS
        # One process looks for all, which then predict together or not at all; its rows are those that are written.
        known = [self.is_world_process_zero() and not self._calibrated and kept.is_file()]
        if not broadcast_object_list(known)[0]:
            return None
        return json.loads(kept.read_text(encoding="utf-8")) if self.args.should_save else []

    def _checkpoint(self, step: int) -> Path:
        return Path(self.args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{step}"

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler:
        # The trainer's own samplers would not resume as if nothing had been, or train on some utterances twice.
        return TrainingBatches(
            self.train_dataset.samples,
            self.train_dataset.seed,
            batch_size=self.args.train_batch_size,
            accumulated=self.args.gradient_accumulation_steps,
            processes=self.args.world_size,
            process=self.args.process_index,
            by_length=self.args.train_sampling_strategy == "group_by_length",
            room=self.training_room,
            epoch=lambda: int(self.state.epoch or 0),
        )

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Sampler:
        # In order, so that the outputs can be told apart.
        if self.room is None:
            return SequentialSampler(eval_dataset)
        return EvaluationBatches(eval_dataset.samples, self.room, self.args.world_size, self.args.process_index)


def _sorted(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["id"])


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
    return [CostMeter(), StopAtNaN(), LogAtCheckpoints(), *([EarlyStoppingCallback(patience)] if patience else [])]
