"""What is to be done next follows from the states of cells alone."""

from pathlib import Path

import pytest

from sure.errors import SureError
from sure.sweep import plan, progress, schedule
from sure.sweep.local import Place, cells_within, places
from sure.sweep.state import Attempt, Reached, State

OUT = Path("out")
ATTEMPTS = 3


def question(*rates, by="halving", eta=2, seeds=(1, 2), higher=True, **more):
    candidates = [{"learning_rate": rate} for rate in rates]
    return plan.Question(
        name="q", settings={"task": "emodb_emotion"}, metric="weighted_f1", higher_is_better=higher, by=by, eta=eta,
        candidates=candidates, seeds=list(seeds), **more,
    )  # fmt: skip


def attempt(outcome, error=None, **more):
    return Attempt(started="", ended="", host="h", process=1, step=0, outcome=outcome, error=error, **more)


class Folders(dict):
    """States by the name of the cell, and what doing a step makes of them."""

    def __call__(self, cell):
        return self.get(cell.name, State())

    def do(self, step, score=None, checkpoints=8, fails=None):
        state = self(step.cell)
        if fails:
            state = state.model_copy(update={"attempts": [*state.attempts, attempt("failed", fails, counts=True)]})
        elif step.until is None:
            state = state.model_copy(update={"finished": True})
        else:
            share = next(one / checkpoints for one in range(1, checkpoints + 1) if one / checkpoints >= step.until)
            reached = Reached(until=step.until, share=share, epochs=share * 8, validation=score, training_seconds=share)
            attempts = [*state.attempts, attempt("paused")]
            state = state.model_copy(update={"attempts": attempts, "reached": [*state.reached, reached]})
        self[step.cell.name] = state


def rate_and_until(step):
    return step.cell.settings["learning_rate"], step.until


def answered(one, folders, score, fails=lambda *_: None, checkpoints=8):
    """Do everything in order; gives what was done."""
    study, done = plan.Study(questions=[one]), []
    while steps := schedule.next_steps(study, OUT, folders, ATTEMPTS):
        step = steps[0]
        rate, until = rate_and_until(step)
        folders.do(step, score(rate, until) if until else None, checkpoints, fails(rate, step.cell.settings["seed"]))
        done.append((rate, until, step.cell.settings["seed"]))
    return done


def test_halving_goes_by_rounds_and_the_chosen_one_goes_on_to_every_seed():
    folders, one = Folders(), question(1e-3, 2e-3, 3e-3)
    assert schedule.rounds(one) == [(0.25, 2), (0.5, 1)]
    scores = {(1e-3, 0.25): 0.5, (2e-3, 0.25): 0.4, (3e-3, 0.25): 0.3, (1e-3, 0.5): 0.5, (2e-3, 0.5): 0.6}
    done = answered(one, folders, lambda *at: scores[at])
    assert done == [
        *[(rate, 0.25, 1) for rate in (1e-3, 2e-3, 3e-3)],
        *[(rate, 0.5, 1) for rate in (1e-3, 2e-3)],
        *[(2e-3, None, seed) for seed in (1, 2)],
    ]
    # Asked again when all is done, the trace is what it was.
    comparison = schedule.compare(one, OUT, folders, ATTEMPTS)
    assert comparison.chosen == {"learning_rate": 2e-3}
    assert [(tried.validation, tried.epochs, tried.chosen) for tried in comparison.trace.tried] == [
        (0.5, 4.0, False),
        (0.6, 4.0, True),
        (0.3, 2.0, False),
    ]


def test_every_step_of_one_comparison_may_be_done_at_once():
    steps = schedule.next_steps(plan.Study(questions=[question(1, 2, 3), question(4)]), OUT, Folders(), ATTEMPTS)
    assert [rate_and_until(step) for step in steps] == [(1, 0.25), (2, 0.25), (3, 0.25), (4, None), (4, None)]


def test_a_round_that_ends_at_the_same_checkpoint_is_not_run_again():
    done = answered(question(1, 2, 3), Folders(), lambda rate, _: rate, checkpoints=2)
    assert done == [(1, 0.25, 1), (2, 0.25, 1), (3, 0.25, 1), (3, None, 1), (3, None, 2)]


@pytest.mark.parametrize("more", [{}, {"by": "optuna", "ranges": {"weight_decay": [1, 2]}, "tries": 2}])
def test_a_record_of_a_run_that_was_not_compared_is_an_error_and_not_waited_for(more, monkeypatch):
    monkeypatch.setattr(schedule, "_suggested", lambda *_: {"weight_decay": 1})
    one = question(*(() if more else (1, 2)), **more)
    with pytest.raises(SureError, match="not compared after"):
        schedule.next_steps(plan.Study(questions=[one]), OUT, lambda _: State(finished=True), ATTEMPTS)


def test_what_it_costs():
    assert schedule.work(question(1, 2, 3)) == pytest.approx(0.25 * 3 + 0.25 * 2 + 0.5 + 1)
    assert schedule.work(question(1, 2, 3, by="grid")) == 4
    assert schedule.work(question(1)) == 2
    assert schedule.count(question(1, 2, 3), OUT, Folders(), ATTEMPTS) == 4
    assert schedule.rounds(question(*range(9), eta=3)) == [(pytest.approx(1 / 9), 3), (pytest.approx(1 / 3), 1)]


def test_a_grid_trains_all_to_the_end_and_of_equal_scores_the_first_counts():
    done = answered(question(1, 2, by="grid"), Folders(), lambda *_: 0.5)
    assert done == [(1, 1.0, 1), (2, 1.0, 1), (1, None, 1), (1, None, 2)]


def test_a_lower_error_rate_is_better():
    done = answered(question(1, 2, by="grid", higher=False), Folders(), lambda rate, _: rate / 10)
    assert done[-1] == (1, None, 2)


def test_one_value_is_no_comparison():
    folders, one = Folders(), question(1)
    assert answered(one, folders, None) == [(1, None, 1), (1, None, 2)]
    assert schedule.compare(one, OUT, folders, ATTEMPTS).trace is None


def test_a_value_that_fails_is_tried_so_often_and_loses_and_the_trace_says_so():
    folders, one = Folders(), question(1, 2)
    done = answered(one, folders, lambda rate, _: rate, lambda rate, seed: "RuntimeError: no" if rate == 2 else None)
    assert done == [(1, 0.5, 1), (2, 0.5, 1), (2, 0.5, 1), (2, 0.5, 1), (1, None, 1), (1, None, 2)]
    trace = schedule.compare(one, OUT, folders, ATTEMPTS).trace
    assert [tried.validation for tried in trace.tried] == [1, None]
    assert trace.tried[1].failures == ["RuntimeError: no"] * 3


def test_where_every_value_fails_nothing_is_left_to_do():
    folders = Folders()
    done = answered(question(1, 2), folders, lambda *_: 0, lambda *_: "RuntimeError: no")
    assert len(done) == 2 * ATTEMPTS
    assert schedule.count(question(1, 2), OUT, folders, ATTEMPTS) == 2


def test_a_seed_that_fails_leaves_the_others():
    done = answered(question(1, seeds=(1, 2, 3)), Folders(), None, lambda _, seed: "no" if seed == 2 else None)
    assert [seed for _, _, seed in done] == [1, 2, 2, 2, 3]


def test_a_survivor_that_fails_later_leaves_the_next_best():
    folders, one, calls = Folders(), question(1, 2, 3), []

    def fails(rate, seed):
        calls.append(rate)
        return "no" if rate == 3 and len(calls) > 3 else None

    done = answered(one, folders, lambda rate, _: rate, fails)
    assert done[-2:] == [(2, None, 1), (2, None, 2)]


def test_what_does_not_apply_is_tried_anew_until_its_comparison_has_a_record():
    folders, one = Folders(), question(1, 2)
    study = plan.Study(questions=[one])
    first, second = schedule.next_steps(study, OUT, folders, ATTEMPTS)
    folders[first.cell.name] = State(attempts=[attempt("does not apply", "no", counts=True, final=True)])
    assert schedule.refused(one, OUT, folders, ATTEMPTS) == [first.cell]
    folders.do(second, score=0.5)
    assert schedule.refused(one, OUT, folders, ATTEMPTS) == [first.cell]
    _, other = schedule.next_steps(study, OUT, folders, ATTEMPTS)
    folders.do(schedule.next_steps(study, OUT, folders, ATTEMPTS)[0])
    folders[other.cell.name] = folders[first.cell.name]
    assert schedule.refused(one, OUT, folders, ATTEMPTS) == [other.cell]


def test_a_value_that_was_tested_stays_chosen_when_one_that_failed_is_tried_again():
    folders, one = Folders(), question(1, 2)
    study = plan.Study(questions=[one])
    failed = schedule.next_steps(study, OUT, folders, 1)[0]
    folders.do(failed, fails="a disk")
    while steps := schedule.next_steps(study, OUT, folders, 1):
        folders.do(steps[0], score=0.5)
    for attempts in (1, ATTEMPTS):
        assert schedule.next_steps(study, OUT, folders, attempts) == []
        comparison = schedule.compare(one, OUT, folders, attempts)
        assert comparison.chosen == {"learning_rate": 2}
        assert [tried.failures for tried in comparison.trace.tried] == [["a disk"], []]
        assert progress.ended(study, OUT, folders, attempts) == progress.total(study, OUT, folders, attempts) == 3
    # As if another process had tried it meanwhile.
    folders.do(failed, score=0.9)
    assert schedule.compare(one, OUT, folders, ATTEMPTS).chosen == {"learning_rate": 2}


@pytest.mark.parametrize("failing", [0, 2])
def test_a_search_that_went_on_without_a_value_that_failed_does_not_come_back_to_it(failing, monkeypatch):
    # What is suggested follows from what had a result.
    monkeypatch.setattr(
        schedule,
        "_suggested",
        lambda _, tried: {"learning_rate": 10 * len(tried) + sum(reached is None for _, reached in tried)},
    )
    folders, one = Folders(), question(by="optuna", ranges={"learning_rate": plan.Range(low=0, high=30)}, tries=3)
    study, seen, done = plan.Study(questions=[one]), [], 0
    while steps := schedule.next_steps(study, OUT, folders, 1):
        folders.do(steps[0], score=1.0, fails="a disk" if done == failing else None)
        done += 1
        if done > failing + 1:
            # More attempts change nothing of what is next.
            assert schedule.next_steps(study, OUT, folders, ATTEMPTS) == schedule.next_steps(study, OUT, folders, 1)
        seen.append(rate_and_until(steps[0])[0])
    assert seen == ([0, 11, 21, 11, 11] if failing == 0 else [0, 10, 20, 0, 0])
    before, after = (schedule.compare(one, OUT, folders, attempts) for attempts in (1, ATTEMPTS))
    assert before == after and [tried.failures for tried in after.trace.tried][failing] == ["a disk"]


def test_a_value_that_is_suggested_twice_is_one_cell(monkeypatch):
    suggested = iter([1, 2, 1, 2, 3])
    values = {}
    monkeypatch.setattr(
        schedule, "_suggested", lambda _, tried: {"learning_rate": values.setdefault(len(tried), next(suggested, None))}
    )
    folders, one = Folders(), question(by="optuna", ranges={"learning_rate": plan.Range(low=1, high=3)}, tries=5)
    answered(one, folders, lambda rate, _: rate)
    found = [cell.name for cell, _ in schedule.cells(one, OUT, folders, ATTEMPTS)]
    assert len(set(found)) == len(found) == 4
    assert schedule.count(one, OUT, folders, ATTEMPTS) == 4
    assert len(schedule.compare(one, OUT, folders, ATTEMPTS).trace.tried) == 3


def test_a_process_that_was_killed_with_progress_does_not_count():
    state = State(attempts=[attempt("killed", "SIGKILL", counts=False)] * 5)
    assert state.failed(3) is None
    assert State(attempts=[attempt("killed", "SIGKILL", counts=True)] * 3).failed(3) == "SIGKILL"
    assert State(attempts=[attempt("failed", "FloatingPointError: nan", counts=True, final=True)]).failed(3)


def test_a_cell_has_lost_once_its_round_is_over_and_never_while_another_is_at_it():
    folders, one = Folders(), question(1, 2, 3)

    def lost():
        found = schedule.cells(one, OUT, folders, ATTEMPTS)
        return [cell.name.removeprefix("q--learning_rate=") for cell, lost in found if lost]

    seen = []
    while steps := schedule.next_steps(plan.Study(questions=[one]), OUT, folders, ATTEMPTS):
        folders.do(steps[0], score=steps[0].cell.settings["learning_rate"])
        seen.append(lost())
    # Three in the first round, two in the second, of which the better one is tested with two seeds.
    first, both = ["1--seed=1"], ["1--seed=1", "2--seed=1"]
    assert seen == [[], [], first, first, both, both, both]
    assert len(list(schedule.cells(one, OUT, folders, ATTEMPTS))) == 4


def test_tries_out_of_a_range_follow_from_those_before():
    pytest.importorskip("optuna", reason='Optuna is not installed: pip install "sure-bench[tune]"')
    ranges = {"learning_rate": plan.Range(low=1e-4, high=1e-2, log=True)}
    one = question(by="optuna", ranges=ranges, tries=6)
    done = answered(one, Folders(), lambda rate, _: -abs(rate - 1e-3))
    assert done == answered(one, Folders(), lambda rate, _: -abs(rate - 1e-3))
    tried = [rate for rate, until, _ in done if until]
    assert len(set(tried)) == len(tried) == 6
    assert all(1e-4 <= rate <= 1e-2 for rate in tried)
    assert done[-1] == (min(tried, key=lambda rate: abs(rate - 1e-3)), None, 2)


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    one = question(by="optuna", ranges={"learning_rate": plan.Range(low=1, high=2)}, tries=2)
    with pytest.raises(SureError, match=r'pip install "sure-bench\[tune\]"'):
        schedule.next_steps(plan.Study(questions=[one]), OUT, Folders(), ATTEMPTS)


def test_cells_on_a_gpu_are_as_many_as_its_memory_is_estimated_to_hold(monkeypatch):
    gigabyte = 10**9
    assert cells_within(40 * gigabyte, 8 * gigabyte) == 4
    # Those that ended took half as much again.
    assert cells_within(40 * gigabyte, 8 * gigabyte, measured=1.5) == 2
    assert cells_within(2 * gigabyte, 8 * gigabyte) == 1
    assert cells_within(80 * gigabyte, 10**6) == 8
    assert cells_within(80 * gigabyte, None) == 1
    assert places(2, 2) == [Place(0), Place(1), Place(0), Place(1)]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert places(0, 1) == [Place()]
    assert len(places(0, 2)) == 2


def test_time_left_is_that_of_the_same_question_or_of_its_kind():
    def asked(name, method):
        return question(1).model_copy(update={"name": name, "settings": {"method": method}})

    def row(name, share, seconds, ended=False):
        return progress.Row(
            question=name, cell="", status="", ended=ended, running=False, share=share, epochs=1, validation=None,
            score=None, training_seconds=seconds,
        )  # fmt: skip

    questions = [asked("a", "linear_probe"), asked("b", "lora"), asked("c", "bitfit")]
    study, probe = plan.Study(questions=questions), [row("a", 1, 2.0, True), row("a", 1, 2.0, True)]
    # Of what trains the backbone a probe says nothing.
    assert progress.seconds_left(study, probe) is None
    assert progress.seconds_left(plan.Study(questions=questions[:1]), probe) == 0
    # Half a cell of two took 30 s; then two cells of the third.
    assert progress.seconds_left(study, [*probe, row("b", 0.5, 30.0)]) == (2 * 60 - 30) + 2 * 60
