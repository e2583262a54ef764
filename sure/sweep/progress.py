"""How far a sweep is, from its folder alone."""

import socket
import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import psutil

from sure.errors import SureError
from sure.method import by_name
from sure.record import RESULT, Result, Score
from sure.runner.checkpoints import newest_checkpoint, trainer_state
from sure.sweep.plan import Question, Study
from sure.sweep.schedule import StateOf, cells, count, work
from sure.sweep.state import State

TO_DO = "to do"


@dataclass(frozen=True)
class Row:
    """A cell as it is now."""

    question: str
    cell: str
    status: str
    # Whether it is over: with a record, failed, or not chosen.
    ended: bool
    running: bool
    # What is trained of all steps, and how many epochs that is.
    share: float
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


def not_begun(question: Question, known: list[Row]) -> str | None:
    """What there is to do for a question of which no cell has begun, by its rows; None of one that has."""
    if any(row.status != TO_DO for row in known):
        return None
    tries = len(question.candidates) or question.tries or 1
    values = f"{tries} values to compare, then " if tries > 1 else ""
    return f"{TO_DO}: {values}{len(question.seeds)} seed{'s' * (len(question.seeds) > 1)}"


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
    share, epochs, validation, seconds = _so_far(folder)
    last = state.reached[-1] if state.reached else None
    if result is not None:
        share, epochs, seconds = 1.0, result.cost.epochs, result.cost.training_seconds
        validation = result.scores["validation"][question.metric].value
        status = "finished"
    elif failure:
        status = f"{'does not apply' if state.does_not_apply else 'failed'}: {failure.partition(chr(10))[0]}"
    elif lost:
        status, share, epochs = "not chosen", last.share, last.epochs
        validation, seconds = last.validation, last.training_seconds
    elif running:
        status = f"running, {state.open.host} {state.open.process}"
    elif not state.attempts:
        status = TO_DO
    else:
        status = "paused" if state.open is None and last else "to go on"
    return Row(
        question=question.name,
        cell=name,
        status=status,
        ended=result is not None or failure is not None or lost,
        running=running and result is None,
        share=share,
        epochs=epochs,
        validation=validation,
        score=None if result is None else told(result),
        training_seconds=seconds,
    )


def _so_far(folder: Path) -> tuple[float, float, float | None, float]:
    """Share of all steps, epochs, best validation score and training seconds of the newest checkpoint."""
    newest = newest_checkpoint(folder)
    state = trainer_state(newest) if newest else None
    if state is None:
        return 0.0, 0.0, None, 0.0
    meter = state["stateful_callbacks"].get("CostMeter", {})
    seconds = meter.get("attributes", {}).get("training_seconds", 0.0)
    return state["global_step"] / state["max_steps"], state["epoch"] or 0.0, state["best_metric"], seconds


def seconds_left(study: Study, known: list[Row]) -> float | None:
    """Seconds of training that are still to be done, one cell after another; None where nothing can be said.

    A cell of a question takes what its others take, and of one that nobody has begun what those of other questions do:
    of a probe, whose backbone is computed once, what other probes do.
    """
    rows, whole = defaultdict(list), {}
    for row in known:
        rows[row.question].append(row)
    for question in study.questions:
        if begun := [row.training_seconds / row.share for row in rows[question.name] if row.share]:
            whole[question.name] = statistics.mean(begun)
    left = 0.0
    for question in study.questions:
        own = rows[question.name]
        if own and all(row.ended for row in own):
            continue
        probe = _is_probe(question)
        alike = [whole[one.name] for one in study.questions if one.name in whole and _is_probe(one) == probe]
        if not alike:
            return None
        each = whole.get(question.name, statistics.mean(alike))
        left += max(0.0, each * work(question) - sum(row.training_seconds for row in own))
    return left


def _is_probe(question: Question) -> bool:
    return by_name.is_around_backbone(question.settings["method"])
