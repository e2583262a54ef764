"""What a study will take before it runs: parameters and memory from configurations, time from what has ended.

Where nothing has, time is guessed from multiply-accumulates and how fast this machine multiplies matrices: for each
training utterance a forward pass, another for the gradients of what it computes, and one for those of the weights that
train; and a forward pass for each that is evaluated. Of a probe, whose backbone is computed once for all cells, it is
one forward pass for all of them.
"""

import dataclasses
import functools
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sure import audio
from sure.budget import Batch, Budget, Budgets
from sure.errors import SureError
from sure.method import by_name
from sure.method.fitting import OutOfReach
from sure.record import RESULT, Result
from sure.runner import frozen
from sure.runner.arguments import RunArguments, TrainerArguments, parse, parse_options
from sure.runner.trainer import steps
from sure.sweep.plan import Question
from sure.sweep.schedule import StateOf, cells, work
from sure.task import Task, TaskWithHead, evenly_spread, task_with_options

# What runs reach of the speed of a large product of matrices: full fine-tuning, LoRA, BitFit and ConvAdapter of
# sure-mini on EmoDB, on one thread of a CPU, 0.45 to 0.75. On GPUs this was not measured.
_REACHED = 0.6
# Recordings whose length stands for that of all.
_LOOKED_AT = 50
_SIDE = 1024


@dataclass(frozen=True)
class Estimate:
    """Of each cell of a question; None where nothing is known."""

    trainable_parameters: int | None = None
    training_bytes: int | None = None
    # Of training to the end, with evaluations.
    seconds: float | None = None
    measured: bool = False
    # Why it cannot be had at all.
    impossible: str | None = None


class Estimates:
    """Corpora are listed, not decoded, and backbones' configurations read, each once."""

    def __init__(self, output_dir: Path, state_of: StateOf, attempts: int) -> None:
        self._output_dir, self._state_of, self._attempts = output_dir, state_of, attempts
        self._corpus = functools.cache(_corpus)
        self._counting = functools.cache(self._budgets)
        # Learning rates change nothing of it.
        self._counted = functools.cache(_counted)

    def of(self, question: Question) -> Estimate:
        """Of one cell, the largest of those that are compared. Raises `SureError` where the corpus cannot be read."""
        each = [self._of_values(question, values) for values in question.candidates or [question.some_values]]
        seconds = self._measured(question)
        return Estimate(
            trainable_parameters=_largest([one.trainable_parameters for one in each]),
            training_bytes=_largest([one.training_bytes for one in each]),
            seconds=_largest([one.seconds for one in each]) if seconds is None else seconds,
            measured=seconds is not None,
            impossible=next((one.impossible for one in each if one.impossible), None),
        )

    def _of_values(self, question: Question, values: dict[str, Any]) -> Estimate:
        run, args = parse(question.cell(Path("out"), values, question.seeds[0]).command(), "sure train")
        task, lengths = self._corpus(run.task, tuple(run.task_options), run.data_dir)
        length = lengths.cut(run.max_seconds)
        try:
            budget = self._budget(run, args, length)
        except SureError as error:
            return Estimate(impossible=str(error))
        if budget is None:
            return Estimate()
        passes = _passes(question, task, run, args, length, budget.trainable_share)
        seconds = budget.macs_per_second * length.mean * passes / (_REACHED * _speed())
        return Estimate(budget.trainable_parameters, budget.training_bytes, seconds)

    def beyond(self, question: Question, estimated: int | None) -> float:
        """Of cells that ended, by how much they took more memory than `estimated`, in bytes; 1 where none has."""
        taken = [
            result.cost.memory.maximum / estimated
            for result in self._results(question)
            if estimated and result.cost.memory and result.cost.memory.kind == "cuda allocated"
        ]
        return max(taken, default=1.0)

    def _budget(self, run: RunArguments, args: TrainerArguments, length: "_Lengths") -> Budget | None:
        batch = Batch(args.per_device_train_batch_size, math.ceil(length.longest))
        if args.max_batch_seconds:
            batch = batch.within(args.max_batch_seconds)
        counting = self._counting(
            run.task, tuple(run.task_options), run.data_dir, run.backbone, tuple(run.backbone_options), batch
        )
        if counting is None:
            return None
        found = self._counted(counting, run.method, tuple(run.method_options))
        if isinstance(found, OutOfReach):
            raise found
        return found

    def _budgets(
        self,
        name: str,
        options: tuple[str, ...],
        data_dir: str,
        backbone: str,
        of_backbone: tuple[str, ...],
        batch: Batch,
    ) -> Budgets | None:
        task = self._corpus(name, options, data_dir)[0]
        if not isinstance(task, TaskWithHead):
            return None
        return Budgets(backbone, task.build_head, parse_options(list(of_backbone), "--backbone_options"), batch)

    def _measured(self, question: Question) -> float | None:
        seconds = [result.cost.training_seconds + result.cost.evaluation_seconds for result in self._results(question)]
        return statistics.mean(seconds) if seconds else None

    def _results(self, question: Question) -> list[Result]:
        known = cells(question, self._output_dir, self._state_of, self._attempts)
        return [Result.read(cell.folder / RESULT) for cell, _ in known if self._state_of(cell).finished]


@dataclass(frozen=True)
class _Lengths:
    """Of a corpus, utterances by split; of those for training, seconds."""

    training: int
    validation: int
    # In all splits.
    total: int
    mean: float
    longest: float

    def cut(self, most: float | None) -> "_Lengths":
        if most is None:
            return self
        return dataclasses.replace(self, mean=min(self.mean, most), longest=min(self.longest, most))


def _corpus(name: str, options: tuple[str, ...], data_dir: str) -> tuple[Any, _Lengths]:
    task = task_with_options(name, parse_options(list(options), "--task_options"))
    splits = task.load(Path(data_dir))
    rows, sizes = splits["train"], {split: len(rows) for split, rows in splits.items()}
    seconds = [_seconds(rows[index]) for index in evenly_spread(len(rows), _LOOKED_AT)]
    lengths = statistics.mean(seconds), max(seconds)
    return task, _Lengths(sizes["train"], sizes.get("validation", 0), sum(sizes.values()), *lengths)


def _counted(counting: Budgets, method: str, options: tuple[str, ...]) -> Budget | OutOfReach:
    given = parse_options(list(options), "--method_options")
    allowed = [given.pop("budget")] if "budget" in given else []
    (found,) = counting.of(method, given, allowed)
    return found


def _largest(numbers: list[Any]) -> Any:
    return max((number for number in numbers if number is not None), default=None)


def _seconds(row: dict[str, Any]) -> float:
    if row.get("end") is not None:
        return row["end"] - (row.get("start") or 0.0)
    return audio.duration(row["path"]) - (row.get("start") or 0.0)


def _passes(
    question: Question, task: Task, run: RunArguments, args: TrainerArguments, length: _Lengths, share: float
) -> float:
    """Of a cell, times that one utterance goes through the backbone, forward or backward."""
    epochs = _epochs(args, length.training)
    if by_name.is_around_backbone(run.method) and run.cache_frozen and epochs >= frozen.EPOCHS and not task.augments:
        return length.total / work(question)
    # The last evaluation is the one that is predicted with test.
    evaluated = length.total - length.training + max(0.0, _evaluations(args, length.training) - 1) * length.validation
    return (2 + share) * length.training * epochs + evaluated


def _epochs(args: TrainerArguments, utterances: int) -> float:
    if args.max_steps > 0:
        batch = args.per_device_train_batch_size * args.gradient_accumulation_steps
        return args.max_steps * batch / utterances
    return args.num_train_epochs


def _evaluations(args: TrainerArguments, utterances: int) -> float:
    """Of the validation split while a run trains."""
    if args.eval_strategy == "epoch":
        return _epochs(args, utterances)
    if args.eval_strategy == "no":
        return 0.0
    # A part of all steps, or so many of them.
    return 1 / args.eval_steps if args.eval_steps < 1 else steps(args, utterances) / args.eval_steps


@functools.cache
def _speed() -> float:
    """Multiply-accumulates a second of this machine's device."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    # Seconds of its own, whoever else is at work on a CPU; there each thread has as many.
    clock, threads = (time.process_time, torch.get_num_threads()) if device.type == "cpu" else (time.perf_counter, 1)
    one = torch.ones(_SIDE, _SIDE, device=device)
    best = math.inf
    for _ in range(4):
        started = clock()
        (one @ one).sum().item()
        best = min(best, clock() - started)
    return _SIDE**3 * threads / best
