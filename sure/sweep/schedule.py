"""What is to be done next: pure functions from a study and the states of its cells.

Values are compared with the first seed, on their best validation score so far. By halving (successive halving, Jamieson
and Talwalkar 2016, arXiv 1502.07943), `eta` to the power of the number of rounds is the part of the schedule after
which the first round ends, and one in `eta`, rounded up, goes on from its checkpoint to the next; by grid, all train to
the end. The chosen one goes on to its test, and then there are the other seeds. Of equal scores the first counts.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sure.errors import SureError
from sure.record import Selection, Tried
from sure.sweep.plan import Cell, Question, Step, Study
from sure.sweep.state import Reached, State

StateOf = Callable[[Cell], State]


def next_steps(study: Study, output_dir: Path, state_of: StateOf, attempts: int) -> list[Step]:
    """Everything that can be done now, in order; what is being done is among it. Empty when there is nothing left."""
    return [step for question in study.questions for step in _steps(question, output_dir, state_of, attempts)]


def rounds(question: Question) -> list[tuple[float, int]]:
    """Of a comparison, after which share of the steps it is made, and how many go on."""
    left = len(question.candidates)
    if question.by != "halving":
        return [(1.0, 1)]
    kept = []
    while left > 1:
        left = math.ceil(left / question.eta)
        kept.append(left)
    return [(question.eta ** -float(len(kept) - index), keep) for index, keep in enumerate(kept)]


class Comparison(NamedTuple):
    """How far the choice among a question's values is."""

    # What it still needs.
    pending: list[Step]
    # All values so far, and those that have not lost.
    values: list[dict[str, Any]]
    left: list[dict[str, Any]]
    # Once nothing is pending; None where all have failed.
    chosen: dict[str, Any] | None = None
    # Its trace; of one value there is none.
    trace: Selection | None = None


def compare(question: Question, output_dir: Path, state_of: StateOf, attempts: int) -> Comparison:
    """The comparison of a question's values as its cells have it now.

    A value that has its record was chosen, and stays so, whatever is tried again later; and a search that went on
    without a value that failed does not come back to it.

    Raises `SureError` where one of them has its record without having been compared: nothing would make it so.
    """
    if len(question.candidates) == 1:
        return Comparison([], question.candidates, question.candidates, question.candidates[0])

    def cell(values: dict[str, Any]) -> Cell:
        return question.cell(output_dir, values, question.seeds[0])

    candidates, turns = question.candidates, rounds(question)
    if question.by == "optuna":
        candidates, step = _searched(question, cell, state_of, attempts)
        if step:
            return Comparison([step], candidates, candidates)
    states = [state_of(cell(values)) for values in candidates]
    left, tested = list(range(len(candidates))), [index for index, state in enumerate(states) if state.finished]
    over = bool(tested) or question.by == "optuna"
    for until, keep in turns:
        pending, scored = [], []
        for index in left:
            if reached := states[index].at(until):
                scored.append((index, reached))
            elif states[index].finished or not (over or states[index].failed(attempts)):
                pending.append(_step(cell(candidates[index]), states[index], until))
        if pending:
            return Comparison(pending, candidates, [candidates[index] for index in left])
        left = [index for index, _ in sorted(scored, key=lambda one: _rank(question, *one))[:keep]]
    left = tested[:1] or left
    trace = [
        _tried(values, state, index in left, [until for until, _ in turns], attempts)
        for index, (values, state) in enumerate(zip(candidates, states, strict=True))
    ]
    selection = Selection(by=question.by, metric=question.metric, seed=question.seeds[0], tried=trace)
    chosen = candidates[left[0]] if left else None
    return Comparison([], candidates, [candidates[index] for index in left], chosen, selection)


def records(question: Question, output_dir: Path, values: dict[str, Any]) -> list[Cell]:
    """The cells of the chosen values, which each leave a record."""
    return [question.cell(output_dir, values, seed) for seed in question.seeds]


def cells(question: Question, output_dir: Path, state_of: StateOf, attempts: int) -> Iterator[tuple[Cell, bool]]:
    """Every cell known so far, and whether it has lost the comparison."""
    comparison = compare(question, output_dir, state_of, attempts)
    for values in comparison.values:
        cell = question.cell(output_dir, values, question.seeds[0])
        lost = values not in comparison.left and not state_of(cell).failed(attempts)
        yield cell, lost
    if comparison.chosen is not None:
        yield from ((cell, False) for cell in records(question, output_dir, comparison.chosen)[1:])


def refused(question: Question, output_dir: Path, state_of: StateOf, attempts: int) -> list[Cell]:
    """Cells that do not apply, of which another attempt may say otherwise: a path or a disk may have been put right.

    Once a chosen value has a record, its comparison stays as it was.
    """
    known = [cell for cell, _ in cells(question, output_dir, state_of, attempts)]
    comparison = compare(question, output_dir, state_of, attempts)
    if comparison.chosen is not None:
        chosen = records(question, output_dir, comparison.chosen)
        known = chosen if any(state_of(cell).finished for cell in chosen) else known
    return [cell for cell in known if (state := state_of(cell)).does_not_apply and state.failed(attempts)]


def count(question: Question, output_dir: Path, state_of: StateOf, attempts: int) -> int:
    """Cells that it will have had in the end, as far as is known."""
    comparison = compare(question, output_dir, state_of, attempts)
    nothing_chosen = not comparison.pending and comparison.chosen is None
    # Optuna may suggest the same values twice.
    values = len(question.candidates) or question.tries or 1 if comparison.pending else len(comparison.values)
    return values + (0 if nothing_chosen else len(question.seeds) - 1)


def work(question: Question) -> float:
    """Trainings to the end that a question has cost when it is answered."""
    if len(question.candidates) == 1:
        return float(len(question.seeds))
    if question.by != "halving":
        return float((question.tries or len(question.candidates)) + len(question.seeds) - 1)
    done, total, left = 0.0, 0.0, len(question.candidates)
    for until, keep in rounds(question):
        total += (until - done) * left
        done, left = until, keep
    return total + (1.0 - done) + len(question.seeds) - 1


def _steps(question: Question, output_dir: Path, state_of: StateOf, attempts: int) -> Iterator[Step]:
    comparison = compare(question, output_dir, state_of, attempts)
    yield from comparison.pending
    for cell in records(question, output_dir, comparison.chosen) if comparison.chosen is not None else ():
        state = state_of(cell)
        if not state.finished and not state.failed(attempts):
            yield Step(cell=cell, selection=comparison.trace)


def _searched(
    question: Question, cell: Callable[[dict[str, Any]], Cell], state_of: StateOf, attempts: int
) -> tuple[list[dict[str, Any]], Step | None]:
    """The values that Optuna has suggested so far, and what the last of them still needs."""
    candidates: list[dict[str, Any]] = []
    results: list[tuple[dict[str, Any], Reached | None]] = []

    def went_on_without(values: dict[str, Any]) -> bool:
        """Whether a search that had given these up has begun with what it suggests then, or with a test."""
        following = _suggested(question, [*results, (values, None)])
        begun = following not in candidates and bool(state_of(cell(following)).attempts)
        return begun or any(state_of(cell(one)).finished for one in candidates)

    while len(results) < (question.tries or 0):
        values = _suggested(question, results)
        if values not in candidates:
            candidates.append(values)
        state = state_of(cell(values))
        reached = state.at(1.0)
        given_up = state.failed(attempts) or (state.failures and went_on_without(values))
        if reached is None and not given_up:
            return candidates, _step(cell(values), state, 1.0)
        results.append((values, reached))
    return candidates, None


def _step(cell: Cell, state: State, until: float) -> Step:
    if state.finished:
        raise SureError(
            f"{cell.folder} has a record of a run that was not compared after {until:g} of its steps: another run has "
            "written there. Delete that folder."
        )
    return Step(cell=cell, until=until)


def _rank(question: Question, index: int, reached: Reached) -> tuple[float, int]:
    if reached.validation is None or math.isnan(reached.validation):
        return math.inf, index
    return -reached.validation if question.higher_is_better else reached.validation, index


def _tried(values: dict[str, Any], state: State, chosen: bool, turns: list[float], attempts: int) -> Tried:
    # What a survivor does after the comparison is no part of it.
    last = next((reached for until in reversed(turns) if (reached := state.at(until))), None)
    failed = None if last and last.share >= turns[-1] else state.failed(attempts)
    return Tried(
        values=values,
        validation=last.validation if last else None,
        epochs=last.epochs if last else 0.0,
        training_seconds=last.training_seconds if last else 0.0,
        chosen=chosen,
        failures=last.failures if last and not failed else state.failures,
    )


def _suggested(question: Question, tried: list[tuple[dict[str, Any], Reached | None]]) -> dict[str, Any]:
    """The values of the next try, from the files of those before: the same whoever asks."""
    from sure.sweep.ranges import suggest

    results = [(values, reached.validation if reached else None) for values, reached in tried]
    return suggest(question.ranges, results, question.seeds[0], question.higher_is_better, question.tries or 0)
