"""How far a sweep is, from its folder alone."""

import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

from sure.errors import SureError
from sure.record import RESULT, Result, Score
from sure.runner.checkpoints import newest_checkpoint, trainer_state
from sure.sweep.plan import Question, Study
from sure.sweep.schedule import StateOf, cells, count
from sure.sweep.state import State


@dataclass(frozen=True)
class Row:
    """A cell as it is now."""

    question: str
    cell: str
    status: str
    # Whether it is over: with a record, failed, or not chosen.
    ended: bool
    running: bool
    epochs: float
    validation: float | None
    score: str | None
    training_seconds: float


def rows(study: Study, output_dir: Path, state_of: StateOf, attempts: int) -> list[Row]:
    """Every cell that is known so far."""
    return [
        _row(question, cell.name, cell.folder, state_of(cell), lost, attempts)
        for question in study.questions
        for cell, lost in cells(question, output_dir, state_of, attempts)
    ]


def total(study: Study, output_dir: Path, state_of: StateOf, attempts: int) -> int:
    """Cells that there will have been in the end, as far as is known."""
    return sum(count(question, output_dir, state_of, attempts) for question in study.questions)


def ended(study: Study, output_dir: Path, state_of: StateOf, attempts: int) -> int:
    """How many of them are over: with a record, failed, or not chosen."""
    return sum(
        lost or state_of(cell).finished or state_of(cell).failed(attempts) is not None
        for question in study.questions
        for cell, lost in cells(question, output_dir, state_of, attempts)
    )


def evaluation(result: Result) -> str:
    """That by which a run is ranked: its test, or the first of several. Raises `SureError` where none is scored."""
    for name in result.scores:
        if name != "validation":
            return name
    raise SureError(
        f"{result.run.task}: the test split has no references, so nothing can be compared on it; a board whose keeper "
        "has them takes the runs (`sure submit`)."
    )


def tested(result: Result) -> Score:
    """What a run is ranked by."""
    return result.scores[evaluation(result)][result.metric]


def told(result: Result) -> str:
    """That in words; without references there is none."""
    return str(tested(result)) if result.scores.keys() - {"validation"} else "not scored"


def alive(state: State) -> bool:
    """Whether somebody runs a cell, as far as can be told: of another machine what it has said last."""
    attempt = state.open
    if attempt is None:
        return False
    if attempt.host != socket.gethostname():
        return True
    try:
        return psutil.Process(attempt.process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _row(question: Question, name: str, folder: Path, state: State, lost: bool, attempts: int) -> Row:
    failure, running = state.failed(attempts), alive(state)
    result = Result.read(folder / RESULT) if state.finished else None
    epochs, validation, seconds = _so_far(folder)
    last = state.reached[-1] if state.reached else None
    if result is not None:
        epochs, seconds = result.cost.epochs, result.cost.training_seconds
        validation = result.scores["validation"][question.metric].value
        status = "finished"
    elif failure:
        status = f"{'does not apply' if state.does_not_apply else 'failed'}: {failure.partition(chr(10))[0]}"
    elif lost:
        status, epochs, validation, seconds = "not chosen", last.epochs, last.validation, last.training_seconds
    elif running:
        status = f"running, {state.open.host} {state.open.process}"
    elif not state.attempts:
        status = "to do"
    else:
        status = "paused" if state.open is None and last else "to go on"
    return Row(
        question=question.name,
        cell=name,
        status=status,
        ended=result is not None or failure is not None or lost,
        running=running and result is None,
        epochs=epochs,
        validation=validation,
        score=None if result is None else told(result),
        training_seconds=seconds,
    )


def _so_far(folder: Path) -> tuple[float, float | None, float]:
    """Epochs, best validation score and training seconds of the newest checkpoint."""
    newest = newest_checkpoint(folder)
    state = trainer_state(newest) if newest else None
    if state is None:
        return 0.0, None, 0.0
    meter = state["stateful_callbacks"].get("CostMeter", {})
    return state["epoch"] or 0.0, state["best_metric"], meter.get("attributes", {}).get("training_seconds", 0.0)


def seconds_left(study: Study, known: list[Row]) -> float | None:
    """Seconds of training that are still to be done, one cell after another, as long as those took that have ended.

    By what finished cells of the same question took, or of all. None where none has.
    """
    of_all = [row.training_seconds for row in known if row.score]
    if not of_all:
        return None
    left = 0.0
    for question in study.questions:
        own = [row for row in known if row.question == question.name]
        seconds = [row.training_seconds for row in own if row.score] or of_all
        each = sum(seconds) / len(seconds)
        lost = sum(row.training_seconds for row in own if row.ended and not row.score)
        done = sum(row.training_seconds for row in own) - lost
        if any(not row.ended for row in own) or not own:
            left += max(0.0, each * len(question.seeds) - done)
    return left
