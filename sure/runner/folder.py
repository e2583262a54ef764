"""The output folder of a run: what is complete in it, what may go on in it, what a failure leaves."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError

from sure.errors import SureError, first_line
from sure.files import is_full_disk
from sure.method import saved
from sure.record import RESULT, RUN, Result, Run
from sure.record.provenance import provenance
from sure.runner.arguments import RunArguments, TrainerArguments
from sure.runner.checkpoints import checkpoints, is_complete

_DEFAULTS = {"backbone_options": []}

_Kind = TypeVar("_Kind", Run, Result)


def completed(output_dir: Path, run: RunArguments, args: TrainerArguments, chosen: dict[str, Any]) -> Result | None:
    """The record of this very run if it is complete; None where it can start or go on, with `--restart` afresh."""
    with args.main_process_first(local=False):
        if run.restart or not (output_dir / RUN).exists():
            return None
        before = _there(Run, output_dir / RUN).arguments
        # A setting that there was not when that run began was as it is by default.
        differing = [name for name, value in as_json(chosen).items() if before.get(name, _DEFAULTS.get(name)) != value]
        if differing:
            changes = "; ".join(f"{name}: {before.get(name)!r} there, {chosen[name]!r} now" for name in differing)
            raise SureError(
                f"--output_dir {output_dir} holds another run ({changes}). Choose another folder, or --restart True to "
                "discard that run."
            )
        if (output_dir / RESULT).exists():
            result = _there(Result, output_dir / RESULT)
            if result.status == "complete":
                return result
    return None


def discard(output_dir: Path, args: TrainerArguments) -> None:
    """Delete what a folder holds of an earlier run, once another one can start there."""
    with args.main_process_first(local=False):
        if args.should_save:
            for path in (*output_dir.glob("checkpoint-*"), output_dir / "runs", output_dir / "audio"):
                shutil.rmtree(path, ignore_errors=True)
            # An adapter that stayed would be taken for that of the run which is now beside it.
            for name in (RESULT, RUN, saved.CONFIG, saved.WEIGHTS, "predictions-*.jsonl", "sample_*.flac"):
                for path in output_dir.glob(name):
                    path.unlink()


def refuse_what_changed(output_dir: Path, record: Run) -> None:
    """Raises `SureError` where a run would go on with what has changed since it was interrupted, under the same name.

    That is a plug-in, the weights of the backbone, or what the task has from files.
    """
    if not (output_dir / RUN).exists():
        return
    before = _there(Run, output_dir / RUN)
    changed = [f"{plugin.kind} {plugin.name}" for plugin in record.plugins if plugin not in before.plugins]
    if before.backbone != record.backbone:
        changed.append(f"backbone {record.backbone.name}")
    now, then = as_json(record.task_options), as_json(before.task_options)
    changed += [f"{name} of the task" for name in now if name in then and now[name] != then[name]]
    if changed:
        raise SureError(
            f"--output_dir {output_dir} holds a run that began with another {', another '.join(changed)}. Choose "
            "another folder, or --restart True to discard that run."
        )


def _there(kind: type[_Kind], path: Path) -> _Kind:
    """What an output folder holds of an earlier run."""
    try:
        return kind.read(path)
    except SureError as error:
        raise SureError(f"{error} Choose another folder, or --restart True to discard that run.") from None


@contextmanager
def failure_recorded(args: TrainerArguments, output_dir: Path, record: Run, metric: str, started: str):
    """A run that breaks leaves a record that says so; running it again resumes.

    Raises `SureError` for what a user can put right: a loss that is no number, too little memory, a full disk.
    """
    try:
        yield
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        failed = failed_result(record, metric, message, started)
        reason = first_line(error)
        if is_full_disk(error):
            reason = f"a checkpoint cannot be written, is the disk full? ({reason})"
        elif not isinstance(error, FloatingPointError | torch.OutOfMemoryError | OSError | SafetensorError):
            reason = None
        if args.should_save and (unwritten := _write_failed(failed, output_dir)) and reason:
            reason += f"; no record of it could be written either ({unwritten})"
        if reason is None:
            raise
        raise SureError(f"The run failed: {reason}.") from None


def failed_result(record: Run, metric: str, error: str, started: str) -> Result:
    """The record of a run that broke."""
    return Result(
        status="failed",
        error=error,
        run=record,
        metric=metric,
        cost=None,
        scores={},
        interval=None,
        predictions={},
        provenance=provenance(started),
    )


def _write_failed(record: Result, output_dir: Path) -> str | None:
    """Write the record of a failed run; where that fails too, gives the reason."""
    # What a full disk has left of a checkpoint is of no use, and takes the place of the record.
    for checkpoint in checkpoints(output_dir).values():
        if not is_complete(checkpoint):
            shutil.rmtree(checkpoint, ignore_errors=True)
    try:
        record.write(output_dir / RESULT)
    except OSError as error:
        return error.strerror
    return None


def as_json(values: dict[str, Any]) -> dict[str, Any]:
    """As they come back from JSON: sets sorted, tuples as lists, enumerations as their values."""
    return json.loads(json.dumps(values, default=lambda value: sorted(value) if isinstance(value, set) else str(value)))
