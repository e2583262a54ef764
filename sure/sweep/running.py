"""A step of a sweep, done in the process that calls it: an attempt at a cell, written down before and after.

Nothing here knows of other cells, so that any place that can call `run` and see processes die can run a sweep.
"""

import gc
import logging
import os
import shlex
import shutil
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import torch

from sure.errors import SureError
from sure.files import InUse, locked
from sure.record import RESULT, RUN, Result, Run
from sure.record.provenance import now
from sure.runner.arguments import RunArguments, TrainerArguments, parse
from sure.runner.checkpoints import newest_checkpoint
from sure.runner.folder import failed_result
from sure.runner.run import Progress, Shared, train
from sure.sweep.plan import Cell, Step
from sure.sweep.state import LOG, Attempt, Reached, State

Outcome = Literal["paused", "finished", "failed", "does not apply", "done already", "in use"]

# What another attempt would end as again.
_FINAL = "FloatingPointError"
# On a GPU, and where there is none.
_OUT_OF_MEMORY = ("OutOfMemoryError", "DefaultCPUAllocator: can't allocate memory")

_log = logging.getLogger("sure")


def run(step: Step, attempts: int, shared: Shared | None = None) -> Outcome:
    """An attempt at a cell, unless it has had so many, or somebody else runs it. A cell's mistakes raise nothing.

    What it says goes to the cell's `log.txt`. `shared`: what it has in common with other cells of the process.
    """
    folder = step.cell.folder
    try:
        with locked(folder, folder, wait=False):
            return _attempt(step, attempts, shared)
    except InUse:
        return "in use"


def died(cell: Cell, process: int, how: str, attempts: int, host: str | None = None) -> bool:
    """Note that a process of a host, by default of this machine, died over a cell, if it had begun with it.

    It counts as an attempt unless a checkpoint came of it; after the last one the cell gets a failed record.
    """
    with locked(cell.folder, cell.folder, wait=True):
        state = State.read(cell.folder)
        attempt = state.open
        if attempt is None or (attempt.host, attempt.process) != (host or socket.gethostname(), process):
            return False
        attempt.ended, attempt.outcome, attempt.error = now(), "killed", how
        attempt.counts = newest_step(cell.folder) <= attempt.step
        state.write(cell.folder)
        if state.failed(attempts) and (cell.folder / RUN).exists():
            metric = parse(cell.command(), "sure train")[0].make_task().metric
            record = failed_result(Run.read(cell.folder / RUN), metric, how, attempt.started)
            record.write(cell.folder / RESULT)
        return True


def discard(cell: Cell) -> None:
    """Delete the checkpoints of a cell that nobody goes on with, unless somebody is still at it."""
    with suppress(InUse), locked(cell.folder, cell.folder, wait=False):
        for checkpoint in cell.folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint, ignore_errors=True)


def try_again(cell: Cell) -> None:
    """Have a cell that does not apply attempted once more, unless somebody is at it."""
    with suppress(InUse), locked(cell.folder, cell.folder, wait=False):
        state = State.read(cell.folder)
        for attempt in state.attempts:
            if attempt.outcome == "does not apply":
                attempt.counts = attempt.final = False
        state.write(cell.folder)


def smaller_batch(args: TrainerArguments) -> list[str]:
    """The words that halve a batch, or divide it by what it is a multiple of, and make up for it by accumulation.

    Batches of evaluations, on which no score depends, are halved too: nothing says which of both was too large. No
    words where all are one utterance. Where seconds bound what is in memory, they are halved.
    """
    if args.max_batch_seconds:
        return ["--max_batch_seconds", str(args.max_batch_seconds / 2)]
    words = []
    batch = args.per_device_train_batch_size
    if factor := next((factor for factor in range(2, batch + 1) if batch % factor == 0), None):
        words += [
            *("--per_device_train_batch_size", str(batch // factor)),
            *("--gradient_accumulation_steps", str(args.gradient_accumulation_steps * factor)),
        ]
    if args.per_device_eval_batch_size > 1:
        words += ["--per_device_eval_batch_size", str(args.per_device_eval_batch_size // 2)]
    return words


def _attempt(step: Step, attempts: int, shared: Shared | None) -> Outcome:
    folder = step.cell.folder
    state = State.read(folder)
    if state.finished or state.failed(attempts) or (step.until is not None and state.at(step.until)):
        return "done already"
    if left := state.open:
        # Nobody saw it end: a power cut, or the whole sweep was killed.
        left.ended, left.outcome = now(), "interrupted"
    attempt = Attempt(started=now(), host=socket.gethostname(), process=os.getpid(), step=newest_step(folder))
    state.attempts.append(attempt)
    state.write(folder)
    # Of an earlier attempt, which failed.
    (folder / RESULT).unlink(missing_ok=True)
    with _logged(folder):
        try:
            arguments = _arguments(step.cell, state)
            done = train(*arguments, until=step.until, selection=step.selection, shared=shared, locked_already=True)
            if isinstance(done, Progress):
                if done.validation is None:
                    raise SureError("nothing was evaluated, so there is nothing to compare: lower --eval_delay.")
                attempt.outcome = "paused"
                reached = Reached(until=step.until, failures=state.failures, **done._asdict())
                state.reached.append(reached)
            else:
                attempt.outcome = "finished"
        except Exception as error:
            _note(error, attempt, folder)
            if _out_of_memory(attempt.error) and not smaller_batch(arguments[1]):
                attempt.final = True
    attempt.ended = now()
    state.write(folder)
    if torch.cuda.is_available():
        # What a cell leaves on its device is room for others.
        gc.collect()
        torch.cuda.empty_cache()
    return attempt.outcome


def _arguments(cell: Cell, state: State) -> tuple[RunArguments, TrainerArguments]:
    """The settings of a cell, with a batch divided as often as memory did not suffice."""
    words = cell.command()
    run, args = parse(words, "sure train")
    for error in state.failures:
        if _out_of_memory(error):
            words += smaller_batch(args)
            run, args = parse(words, "sure train")
    _log.warning("sure train %s", shlex.join(words))
    return run, args


def _note(error: Exception, attempt: Attempt, folder: Path) -> None:
    """How an attempt went wrong."""
    attempt.counts = True
    if (folder / RESULT).exists():
        attempt.outcome, attempt.error = "failed", Result.read(folder / RESULT).error
        attempt.final = attempt.error.startswith(_FINAL)
    elif isinstance(error, SureError):
        # Nothing was trained yet: what was asked for cannot be had, at least until somebody starts the sweep anew.
        attempt.outcome, attempt.error, attempt.final = "does not apply", str(error), True
    else:
        attempt.outcome, attempt.error = "failed", f"{type(error).__name__}: {error}"
    _log.warning("%s", error if isinstance(error, SureError) else traceback.format_exc())


def _out_of_memory(error: str | None) -> bool:
    return error is not None and any(words in error for words in _OUT_OF_MEMORY)


def newest_step(folder: Path) -> int:
    """That of a cell's newest checkpoint; 0 without any."""
    newest = newest_checkpoint(folder)
    return int(newest.name.rpartition("-")[2]) if newest else 0


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Meanwhile everything that the process prints goes to the cell's log, C++'s and progress bars among it."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, before in enumerate(kept, start=1):
            os.dup2(before, number)
            os.close(before)
