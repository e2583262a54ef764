"""Steps of a sweep in this process: real runs, paused, gone on with, failed; and the records that come of them."""

import json

import pytest
import torch
from safetensors.torch import load_file

from sure.errors import SureError
from sure.files import locked
from sure.leaderboard import submission
from sure.record import RESULT, Result
from sure.runner.arguments import parse
from sure.runner.run import Shared, main
from sure.runner.trainer import BenchmarkTrainer
from sure.sweep import plan, progress, resolving, running, schedule
from sure.sweep.state import State, States
from tests.factories.corpora import noise_with_labels


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return noise_with_labels(tmp_path_factory.mktemp("sweep") / "corpus", "angry", "sad")


@pytest.fixture
def resolved(corpus):
    def resolve(**changes):
        study = {"task": "audio_classification", "data_dir": str(corpus), "backbone": "wav2vec2:tiny", "method": "lora"}
        study |= {"settings": {"num_train_epochs": 2, "per_device_train_batch_size": 2, "report_to": "none"}}
        study["settings"] |= {"early_stopping_patience": 0, "use_cpu": True}
        return resolving.resolve(study | changes, "study.yaml")

    return resolve


def swept(study, output_dir, shared=None, attempts=3):
    done, state_of = [], States()
    while steps := schedule.next_steps(study, output_dir, state_of, attempts):
        done.append((steps[0].cell.name.partition("lora--")[2], running.run(steps[0], attempts, shared)))
    return done


def test_a_sweep_chooses_trains_every_seed_and_scores_as_each_run_alone_does(resolved, tmp_path):
    study = resolved(learning_rate=[1e-2, 1e-6], seed=[3, 4])
    done = swept(study, tmp_path / "out", Shared())
    cells = tmp_path / "out" / "cells"
    assert [outcome for _, outcome in done] == ["paused", "paused", "finished", "finished"]
    assert swept(study, tmp_path / "out") == []
    records = {path.parent.name: Result.read(path) for path in cells.glob(f"*/{RESULT}")}
    assert len(records) == 2
    first, second = records.values()
    assert first.selection == second.selection
    assert (first.selection.by, first.selection.seed, first.selection.metric) == ("halving", 3, "weighted_f1")
    assert [tried.values for tried in first.selection.tried] == [{"learning_rate": 1e-2}, {"learning_rate": 1e-6}]
    assert [tried.epochs for tried in first.selection.tried] == [1.0, 1.0]
    assert sum(tried.chosen for tried in first.selection.tried) == 1
    for name, result in records.items():
        # A board accepts it.
        submission.rescore(cells / name / RESULT, submission.read(cells / name / RESULT))
        question = study.questions[0]
        rate, seed = result.run.arguments["learning_rate"], result.run.seed
        alone = main(question.cell(tmp_path / "alone", {"learning_rate": rate}, seed).command())
        assert alone.scores == result.scores
        weights = [load_file(tmp_path / at / "cells" / name / "adapter_model.safetensors") for at in ("out", "alone")]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    lost = next(cell for cell, lost in schedule.cells(study.questions[0], tmp_path / "out", States(), 3) if lost)
    assert not (lost.folder / RESULT).exists()
    now = (study, tmp_path / "out", States(), 3)
    assert sorted(row.status for row in progress.rows(*now)) == ["finished", "finished", "not chosen"]
    assert progress.ended(*now) == progress.total(*now) == 3


def test_out_of_memory_half_the_batch_is_tried_and_the_record_says_so(resolved, tmp_path, monkeypatch):
    step, sizes = BenchmarkTrainer.training_step, []

    def scarce(self, model, inputs, *more):
        sizes.append(len(inputs["labels"]))
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(self, model, inputs, *more)

    monkeypatch.setattr(BenchmarkTrainer, "training_step", scarce)
    study = resolved()
    assert [outcome for _, outcome in swept(study, tmp_path)] == ["failed", "finished"]
    (record,) = (Result.read(path) for path in tmp_path.glob(f"cells/*/{RESULT}"))
    arguments = record.run.arguments
    assert (arguments["per_device_train_batch_size"], arguments["gradient_accumulation_steps"]) == (1, 2)
    assert arguments["global_batch_size"] == 2
    _, args = parse([*study.questions[0].cell(tmp_path, {}, 1).command(), "--per_device_train_batch_size", "15"], "x")
    args.per_device_eval_batch_size = 3
    assert running.smaller_batch(args)[1::2] == ["5", "3", "1"]
    args.per_device_train_batch_size = 1
    assert running.smaller_batch(args) == ["--per_device_eval_batch_size", "1"]
    args.per_device_eval_batch_size = 1
    assert running.smaller_batch(args) == []
    args.max_batch_seconds = 3.0
    assert running.smaller_batch(args) == ["--max_batch_seconds", "1.5"]


def test_an_evaluation_that_is_out_of_memory_is_tried_with_half_its_batch(resolved, tmp_path, monkeypatch):
    step = BenchmarkTrainer.prediction_step

    def scarce(self, model, inputs, *more, **others):
        if len(inputs["labels"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(self, model, inputs, *more, **others)

    monkeypatch.setattr(BenchmarkTrainer, "prediction_step", scarce)
    few = {"per_device_train_batch_size": 1, "per_device_eval_batch_size": 2, "num_train_epochs": 1, "use_cpu": True}
    assert [outcome for _, outcome in swept(resolved(settings=few), tmp_path)] == ["failed", "finished"]


def test_values_are_compared_where_they_are_evaluated_first_and_not_at_all_where_nothing_is(resolved, tmp_path):
    settings = {"num_train_epochs": 4, "report_to": "none", "early_stopping_patience": 0, "use_cpu": True}
    study = resolved(learning_rate=[1e-2, 1e-6], settings=settings | {"eval_delay": 3})
    first, _ = schedule.next_steps(study, tmp_path, States(), 3)
    assert first.until == 0.5 and running.run(first, 3) == "paused"
    (reached,) = State.read(first.cell.folder).reached
    assert reached.epochs == 3 and reached.validation is not None
    study = resolved(learning_rate=[1e-2, 1e-6], settings=settings | {"num_train_epochs": 1, "eval_delay": 2})
    first, _ = schedule.next_steps(study, tmp_path / "never", States(), 3)
    assert running.run(first, 3) == "does not apply"
    assert "lower --eval_delay" in State.read(first.cell.folder).attempts[0].error


def test_what_cannot_be_had_is_said_and_the_others_go_on(resolved, tmp_path):
    study = resolved(method=[{"method": "lora", "method_options": ["r=zero"]}, "linear_probe"], learning_rate=[1e30])
    state_of = States()
    outcomes = [outcome for _, outcome in swept(study, tmp_path)]
    assert outcomes[0] == "does not apply"
    rows = progress.rows(study, tmp_path, state_of, 3)
    assert rows[0].status.startswith("does not apply: ") and "r=zero" in rows[0].status
    assert len(outcomes) == 2 and all(row.ended for row in rows)


def test_what_did_not_apply_is_found_out_once_more_when_the_sweep_is_started_anew(resolved, tmp_path):
    (step,) = schedule.next_steps(resolved(data_dir="nowhere"), tmp_path, States(), 3)
    assert running.run(step, 3) == "does not apply"
    study = resolved()
    assert swept(study, tmp_path) == []
    for _ in range(4):
        (refused,) = schedule.refused(study.questions[0], tmp_path, States(), 3)
        running.try_again(refused)
        assert running.run(step, 3) == "does not apply"
    running.try_again(refused)
    assert [outcome for _, outcome in swept(study, tmp_path)] == ["finished"]
    assert schedule.refused(study.questions[0], tmp_path, States(), 3) == []


def test_a_loss_that_is_no_number_is_not_tried_again(resolved, tmp_path):
    study = resolved(settings={"num_train_epochs": 3, "report_to": "none", "logging_steps": 1, "max_grad_norm": 0})
    study = plan.Study(questions=[study.questions[0].model_copy(update={"candidates": [{"learning_rate": 1e30}]})])
    assert [outcome for _, outcome in swept(study, tmp_path)] == ["failed"]
    (folder,) = (tmp_path / "cells").iterdir()
    assert Result.read(folder / RESULT).status == "failed"
    (attempt,) = State.read(folder).attempts
    assert "lower --learning_rate" in attempt.error


def test_a_cell_that_somebody_runs_is_left_to_them(resolved, tmp_path):
    (step,) = schedule.next_steps(resolved(), tmp_path, States(), 3)
    with locked(step.cell.folder, "the other", wait=False):
        assert running.run(step, 3) == "in use"
    assert not (step.cell.folder / "cell.json").exists()


def test_a_process_that_died_counts_and_the_last_attempt_leaves_a_failed_record(resolved, tmp_path, monkeypatch):
    (step,) = schedule.next_steps(resolved(), tmp_path, States(), 3)
    folder = step.cell.folder

    class Died(BaseException):
        """What no `except Exception` sees, as a kill."""

    def die(*_):
        raise Died

    monkeypatch.setattr(BenchmarkTrainer, "training_step", die)
    for number in (1, 2):
        with pytest.raises(Died):
            running.run(step, 2)
        process = State.read(folder).open.process
        assert not running.died(step.cell, process + 1, "another", 2)
        assert running.died(step.cell, process, "its process ended by SIGKILL", 2)
        assert (folder / RESULT).exists() == (number == 2)
    assert Result.read(folder / RESULT).error == "its process ended by SIGKILL"
    assert running.run(step, 2) == "done already"


def test_an_attempt_that_nobody_saw_end_does_not_count(resolved, tmp_path, monkeypatch):
    (step,) = schedule.next_steps(resolved(), tmp_path, States(), 1)
    step.cell.folder.mkdir(parents=True)
    begun = {"started": "2026-01-01T00:00:00+00:00", "host": "elsewhere", "process": 1, "step": 0}
    (step.cell.folder / "cell.json").write_text(json.dumps({"attempts": [begun]}))
    assert progress.alive(State.read(step.cell.folder))
    monkeypatch.setattr(running, "train", lambda *_, **__: None)
    assert running.run(step, 1) == "finished"
    assert [attempt.outcome for attempt in State.read(step.cell.folder).attempts] == ["interrupted", "finished"]


def test_a_broken_cell_file_is_named(tmp_path):
    (tmp_path / "cell.json").write_text("{")
    with pytest.raises(SureError, match=r"cell\.json is not what `sure sweep` writes"):
        State.read(tmp_path)
