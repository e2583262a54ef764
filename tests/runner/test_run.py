"""Runs from recordings to records: what is written, resuming, several processes, failures."""

import json
import time

import pytest
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK, TensorBoardCallback

from sure import cli, registry, synth
from sure.errors import SureError
from sure.predict import predict
from sure.record import Result, read_predictions
from sure.runner.run import main
from tests.factories import processes
from tests.factories.corpora import short_sentences
from tests.factories.encoders import save_backbone


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "esd"
    with short_sentences():
        synth.esd.make(folder, speakers=2, train=4, evaluation=1, test=2)
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return save_backbone(tmp_path_factory.mktemp("backbone"), "wav2vec2")


@pytest.fixture
def command(corpus, backbone):
    def words(output_dir, *more, method="conv_adapter", epochs=2):
        command = f"--task esd_emotion --data_dir {corpus} --backbone {backbone} --method {method} --use_cpu True"
        command += f" --output_dir {output_dir} --num_train_epochs {epochs} --per_device_train_batch_size 8"
        return [*f"{command} --report_to none --disable_tqdm True --seed 3".split(), *more]

    return words


def values(result, split="test"):
    return {name: score.value for name, score in result.scores[split].items()}


def predictions(folder, split="test"):
    return read_predictions(folder, Result.read(folder / "result.json").predictions[split])


def test_a_run_leaves_a_record_an_adapter_and_predictions_and_is_not_run_twice(command, corpus, tmp_path, capsys):
    result = main(command(tmp_path))
    assert Result.read(tmp_path / "result.json") == result
    assert result.status == "complete"
    assert result.run.data.synthetic
    assert {name: split.utterances for name, split in result.run.data.splits.items()} == {
        "train": 40,
        "validation": 10,
        "test": 20,
    }
    assert result.cost.steps == 10
    assert result.cost.adapter_bytes == (tmp_path / "adapter_model.safetensors").stat().st_size
    assert result.cost.training_seconds > 0 < result.cost.samples_per_second
    assert result.cost.memory.mean <= result.cost.memory.maximum
    assert result.run.method.config["kernel_sizes"] == [3, 5, 3]
    assert result.run.arguments["learning_rate"] == 2e-3
    rows = predictions(tmp_path)
    assert len(rows) == 20 == len({row["id"] for row in rows})
    assert registry.get("metric", "accuracy")().compute(
        predictions=[row["prediction"] for row in rows], references=[row["reference"] for row in rows]
    )["accuracy"] == pytest.approx(values(result)["accuracy"])

    written = (tmp_path / "result.json").stat().st_mtime_ns
    assert main(command(tmp_path)) == result
    assert (tmp_path / "result.json").stat().st_mtime_ns == written
    with pytest.raises(SureError, match=r"holds another run \(learning_rate: 0.002 there, 0.01 now\).*--restart True"):
        main(command(tmp_path, "--learning_rate", "0.01"))
    assert main(command(tmp_path, "--learning_rate", "0.01", "--restart", "True")) != result


@pytest.mark.parametrize(
    "method",
    [
        *("full_finetuning", "weighted_sum_probe", "bitfit", "lora", "prefix_tuning", "conv_adapter", "s2_lora"),
        "elp_adapters",
    ],
)
def test_a_method_trains_and_predicts_what_it_was_tested_with(method, command, corpus, tmp_path):
    main(command(tmp_path, method=method, epochs=1))
    expected = {row["id"]: row for row in predictions(tmp_path)}
    recordings = [corpus / f"{name.rsplit('/', 1)[0]}/test/{name.rsplit('/', 1)[1]}.wav" for name in expected]
    # Neither the order nor the size of batches matters.
    rows = list(predict(tmp_path, recordings[::-1], batch_size=3))
    assert [row["path"] for row in rows] == [str(path) for path in recordings[::-1]]
    for row, name in zip(rows, reversed(expected), strict=True):
        assert row["probabilities"] == pytest.approx(expected[name]["probabilities"], abs=1e-5)


def test_scores_do_not_depend_on_the_evaluation_batch_size(command, tmp_path):
    first = main(command(tmp_path / "a", "--per_device_eval_batch_size", "1", epochs=1))
    second = main(command(tmp_path / "b", "--per_device_eval_batch_size", "7", epochs=1))
    assert values(first) == values(second)
    for one, other in zip(predictions(tmp_path / "a"), predictions(tmp_path / "b"), strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


@pytest.mark.slow
def test_killed_and_run_again_it_ends_as_if_it_had_not_been(command, tmp_path, caplog):
    words = ["--learning_rate", "5e-3", "--early_stopping_patience", "0"]
    main(command(tmp_path / "whole", *words, epochs=6))
    killed = processes.start(main, command(tmp_path / "killed", *words, epochs=6))
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("checkpoint-*/trainer_state.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    killed.join()
    assert not (tmp_path / "killed" / "result.json").exists()
    # What a kill in the middle of writing a checkpoint leaves.
    (tmp_path / "killed" / "checkpoint-9999").mkdir()
    main(command(tmp_path / "killed", *words, epochs=6))
    assert "Resuming from" in caplog.text
    first, second = (Result.read(tmp_path / name / "result.json") for name in ("whole", "killed"))
    assert first.scores == second.scores
    assert first.learning_curve == second.learning_curve
    assert first.cost.steps == second.cost.steps == 30
    weights = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "killed")]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])


def test_early_stopping_is_remembered_and_the_best_checkpoint_is_tested(command, tmp_path):
    result = main(command(tmp_path, "--learning_rate", "0", "--early_stopping_patience", "2", epochs=20))
    # Nothing learns: the first evaluation stays the best, and two more end it.
    assert result.cost.epochs == 3
    # Validation is not predicted again where the best checkpoint has what it predicted, and where not, to the same.
    rows = predictions(tmp_path, "validation")
    kept = tmp_path / "checkpoint-5" / "validation.json"
    assert json.loads(kept.read_text()) == rows
    kept.unlink()
    (tmp_path / "result.json").unlink()
    words = ("--learning_rate", "0", "--early_stopping_patience", "2", "--report_to", "tensorboard")
    again = main(command(tmp_path, *words, epochs=20))
    assert again.cost.epochs == 3
    # Of a run that had nothing left to train too.
    (events,) = (tmp_path / "runs").rglob("events.out.tfevents*")
    assert EventAccumulator(str(events)).Reload().Scalars("test/weighted_f1")
    assert again.scores == result.scores
    assert again.learning_curve == result.learning_curve
    assert [(point.step, point.epoch) for point in result.learning_curve] == [(5, 1), (10, 2), (15, 3)]
    # Nothing learns.
    assert {point.validation for point in result.learning_curve} == {result.scores["validation"][result.metric].value}
    assert all(point.training_loss == pytest.approx(1.6, abs=0.1) for point in result.learning_curve)
    assert predictions(tmp_path, "validation") == rows


@pytest.mark.parametrize("steps", ["1", "1000"], ids=["logged", "never logged"])
def test_a_loss_that_is_no_number_fails_with_a_record_of_it(steps, command, tmp_path):
    with pytest.raises(SureError, match=r"the loss is .* lower --learning_rate"):
        main(command(tmp_path, "--learning_rate", "1e30", "--logging_steps", steps, "--max_grad_norm", "0"))
    result = Result.read(tmp_path / "result.json")
    assert result.status == "failed"
    assert "lower --learning_rate" in result.error
    assert result.cost is None


def test_class_weights_make_rare_labels_count():
    from sure.task.classification import class_weights

    assert class_weights([0, 0, 0, 1], 2).tolist() == pytest.approx([4 / 6, 4 / 2])


def test_whoever_logs_is_told_scores_and_cost_before_it_closes(command, tmp_path, monkeypatch):
    """TensorBoard; Trackio, MLflow and others, too, end what they write with training."""
    told = []

    class Overheard(TensorBoardCallback):
        def on_train_begin(self, *args, **more):
            told.append("begin")
            super().on_train_begin(*args, **more)

        def on_log(self, *args, logs, **more):
            told.append(dict(logs))
            super().on_log(*args, logs=logs, **more)

        def on_train_end(self, *args, **more):
            told.append("end")
            super().on_train_end(*args, **more)

    monkeypatch.setitem(INTEGRATION_TO_CALLBACK, "tensorboard", Overheard)
    result = main(command(tmp_path, "--report_to", "tensorboard", epochs=1))
    score = result.scores["test"]["weighted_f1"]
    assert [told[0], told[-1], told.count("begin"), told.count("end")] == ["begin", "end", 1, 1]
    assert told[-2]["test_weighted_f1"] == score.value
    assert told[-2]["test_weighted_f1_low"] == score.low
    assert told[-2]["trainable_parameters"] == result.cost.trainable_parameters
    # One file: none was begun anew when the first was closed.
    (events,) = (tmp_path / "runs").rglob("events.out.tfevents*")
    written = EventAccumulator(str(events)).Reload()
    assert written.Scalars("test/weighted_f1")[-1].value == pytest.approx(score.value)
    assert written.Scalars("train/training_seconds")[-1].value == pytest.approx(result.cost.training_seconds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--task", "esd_emotions"], "Unknown task 'esd_emotions'. Did you mean 'esd_emotion'"),
        (["--method", "lora2"], "Unknown method 'lora2'. Did you mean 'lora'"),
        (["--backbone", "nowhere/at-all"], "--backbone nowhere/at-all: neither built in"),
        (["--data_dir", "nowhere"], "--data_dir nowhere: no such folder"),
        (["--task_options", "langauge=english"], "Unknown option of esd_emotion: 'langauge'. Did you mean 'language'"),
        (["--task_options", "language"], "--task_options language: expected name=value"),
        (["--metric_for_best_model", "f2"], "Unknown metric of esd_emotion for --metric_for_best_model 'f2'"),
        (["--eval_strategy", "sometimes"], "sometimes"),
    ],
)
def test_mistakes_are_named(change, message, command, tmp_path):
    with pytest.raises(SureError, match=message):
        main(command(tmp_path, *change))


def test_the_command_line_shows_no_traceback(tmp_path, capsys):
    for words in (
        ["train", "--task", "esd_emotion", "--data_dir", "nowhere", "--output_dir", str(tmp_path)],
        ["train", "--dataset", "esd", "--data_dir", "x", "--fine_tune", "True", "--lora_adapter", "True"],
        ["predict", "--adapter", str(tmp_path), "x.wav"],
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert said.count("sure: error: ") == 1
        assert "Traceback" not in said
