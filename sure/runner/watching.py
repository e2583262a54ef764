"""Runs as they go, from what they leave in their folders; no run is asked, and none is touched."""

from collections.abc import Iterator
from functools import lru_cache
from os import walk
from pathlib import Path
from time import time
from typing import Any, Literal, NamedTuple

from sure.errors import SureError
from sure.files import is_locked, is_number
from sure.record import RESULT, RUN, LearningPoint, Result, Run
from sure.record.learning_curve import learning_curve
from sure.runner.checkpoints import newest_checkpoint, trainer_state

# Files that are read anew only where they have changed.
_KEPT = 4096


class Watched(NamedTuple):
    """A run as it is now."""

    # Relative to the folder that is watched.
    name: str
    status: Literal["running", "stopped", "finished", "failed", "unreadable"]
    # What made it fail, or why it cannot be read.
    problem: str | None = None
    task: str = ""
    method: str = ""
    backbone: str = ""
    seed: int | None = None
    # The metric that is looked at on validation.
    metric: str = ""
    higher_is_better: bool | None = None
    # At the newest checkpoint, which there is after every evaluation; of a run without one, 0.
    step: int = 0
    steps: int | None = None
    epoch: float = 0.0
    epochs: float | None = None
    best: float | None = None
    # On test, with its interval; of a finished run.
    score: str | None = None
    # How long ago it wrote anything.
    seconds_since: float | None = None
    # To the last step, at the pace of all before; it may stop early.
    seconds_left: float | None = None
    curve: tuple[LearningPoint, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For a page."""
        return self._asdict() | {"curve": [point.model_dump() for point in self.curve]}


def watch(folder: Path) -> list[Watched]:
    """Every run below a folder, those that run first, then by name; none where there is no such folder."""
    runs = [_watched(run, str(run.relative_to(folder))) for run in sorted(_runs(Path(folder)))]
    return sorted(runs, key=lambda run: (run.status != "running", run.status == "finished"))


def _runs(folder: Path) -> Iterator[Path]:
    for path, folders, files in walk(folder):
        # Checkpoints are large, hold no runs, and go while one looks.
        folders[:] = [name for name in folders if not name.startswith((".", "checkpoint-"))]
        if RUN in files:
            yield Path(path)


def _watched(folder: Path, name: str) -> Watched:
    try:
        run = _read_run(folder / RUN, _stamp(folder / RUN))
        result = _read_result(folder / RESULT, _stamp(folder / RESULT)) if (folder / RESULT).exists() else None
        newest = newest_checkpoint(folder)
        state = (trainer_state(newest) if newest else None) or {}
        written = max(_modified(path) for path in (folder / RUN, newest, folder / RESULT) if path)
    except (SureError, OSError) as error:
        return Watched(name, "unreadable", problem=str(error))
    metric = str(run.arguments.get("metric_for_best_model") or "").removeprefix("eval_")
    known = {
        "task": run.task,
        "method": run.method.name,
        "backbone": run.backbone.name,
        "seed": run.seed,
        "metric": metric,
        "higher_is_better": run.arguments.get("greater_is_better"),
    }
    if result and result.status == "complete":
        tested = next((scores for of, scores in result.scores.items() if of != "validation"), {})
        of_validation = result.scores.get("validation", {}).get(metric)
        return Watched(
            name,
            "finished",
            **known,
            step=result.cost.steps,
            steps=result.cost.steps,
            epoch=result.cost.epochs,
            epochs=result.cost.epochs,
            best=of_validation.value if of_validation else None,
            score=str(tested[result.metric]) if result.metric in tested else None,
            seconds_since=time() - written,
            curve=tuple(result.learning_curve or learning_curve(state.get("log_history", []), metric)),
        )
    running = is_locked(folder)
    failed = result is not None and not running
    return Watched(
        name,
        "running" if running else "failed" if failed else "stopped",
        problem=result.error if failed else None,
        **known,
        step=state.get("global_step", 0),
        steps=state.get("max_steps"),
        epoch=state.get("epoch") or 0.0,
        epochs=state.get("num_train_epochs"),
        best=state["best_metric"] if is_number(state.get("best_metric")) else None,
        seconds_since=time() - written,
        seconds_left=_seconds_left(state, time() - _modified(newest)) if running and newest else None,
        curve=tuple(learning_curve(state.get("log_history", []), metric)),
    )


def _seconds_left(state: dict[str, Any], since: float) -> float | None:
    """By what each step before the checkpoint took, evaluations among them."""
    meter = state.get("stateful_callbacks", {}).get("CostMeter", {}).get("attributes", {})
    taken = [meter.get("training_seconds"), meter.get("evaluation_seconds")]
    done, steps = state.get("global_step"), state.get("max_steps")
    if not all(map(is_number, (*taken, done, steps))) or done <= 0:
        return None
    return max(0.0, sum(taken) / done * (steps - done) - since)


@lru_cache(_KEPT)
def _read_run(path: Path, stamp: tuple[int, int]) -> Run:
    return Run.read(path)


@lru_cache(_KEPT)
def _read_result(path: Path, stamp: tuple[int, int]) -> Result:
    return Result.read(path)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _modified(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0
