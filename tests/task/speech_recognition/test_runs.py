"""Speech recognition from recordings to record, prediction and leaderboard, on noise that stands for words."""

import json

import numpy as np
import pytest

from sure import cli, leaderboard
from sure.errors import SureError
from sure.predict import predict
from sure.record import Result, read_predictions
from sure.runner.checkpoints import newest_checkpoint
from sure.runner.run import main
from sure.task import speech_recognition
from tests.factories.corpora import WORDS, noise_in_fleurs_layout, write
from tests.factories.encoders import save_backbone, without_chance


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return noise_in_fleurs_layout(tmp_path_factory.mktemp("corpus") / "en_us", train=12)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return without_chance(save_backbone(tmp_path_factory.mktemp("backbone"), "wav2vec2"))


@pytest.fixture
def command(corpus, backbone):
    def words(output_dir, *more, epochs=2):
        command = f"--task asr_fleurs --data_dir {corpus} --backbone {backbone} --method lora --use_cpu True"
        command += f" --output_dir {output_dir} --num_train_epochs {epochs} --per_device_train_batch_size 4"
        return [*f"{command} --report_to none --disable_tqdm True --seed 3".split(), *more]

    return words


def predictions(folder, split="test"):
    return read_predictions(folder, Result.read(folder / "result.json").predictions[split])


def values(result, split="test"):
    return {name: score.value for name, score in result.scores[split].items()}


def test_a_run_is_recorded_predicts_and_is_scored_again_by_the_leaderboard(command, corpus, tmp_path):
    result = main(command(tmp_path / "run"))
    assert result.status == "complete"
    assert result.metric == "word_error_rate"
    assert result.interval.resampled["test"] == "utterance"
    assert not result.scores["test"]["word_error_rate"].higher_is_better
    characters = sorted({character for word in WORDS for character in word} | {" "})
    assert result.run.task_options["vocabulary"] == ["<blank>", *characters]
    rows = predictions(tmp_path / "run")
    assert [row["id"] for row in rows] == [f"test/{number}.wav" for number in range(7)]
    assert all(row["reference"] and set(row) == {"id", "reference", "prediction"} for row in rows)

    recordings = [corpus / "audio" / row["id"] for row in rows]
    # Neither the order nor the size of batches matters.
    predicted = list(predict(tmp_path / "run", recordings[::-1], batch_size=3))
    assert predicted == [
        {"path": str(path), "prediction": row["prediction"]}
        for path, row in zip(recordings[::-1], rows[::-1], strict=True)
    ]

    leaderboard.add(tmp_path / "run" / "result.json", tmp_path / "board")
    leaderboard.build(tmp_path / "board")
    leaderboard.validate(tmp_path / "board")
    assert f"{values(result)['word_error_rate']:.3f}"[:4] in leaderboard.show(
        tmp_path / "board", leaderboard.Filters(task=["asr_fleurs"])
    )


def test_a_model_learns_what_it_trains_on_and_the_best_checkpoint_has_the_lowest_error(command, tmp_path):
    words = ["--method", "full_finetuning", "--learning_rate", "3e-3", "--save_total_limit", "20"]
    result = main(command(tmp_path, *words, "--logging_steps", "1", epochs=12))
    # It goes on although no word is right for many an evaluation.
    assert result.cost.epochs == 12
    assert result.run.arguments["early_stopping_patience"] == 0
    history = json.loads((newest_checkpoint(tmp_path) / "trainer_state.json").read_text())["log_history"]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])
    rates = [entry["eval_word_error_rate"] for entry in history if "eval_word_error_rate" in entry]
    assert values(result, "validation")["word_error_rate"] <= min(rates) + 1e-9


def test_scores_do_not_depend_on_the_batches_of_evaluation(command, tmp_path):
    first = main(command(tmp_path / "a", "--per_device_eval_batch_size", "1", epochs=1))
    second = main(command(tmp_path / "b", "--per_device_eval_batch_size", "5", epochs=1))
    assert values(first) == values(second)
    assert predictions(tmp_path / "a") == predictions(tmp_path / "b")


def test_a_beam_search_with_a_language_model_says_only_its_words(command, corpus, tmp_path):
    pytest.importorskip("flashlight.lib.text", reason="flashlight-text (the extra `beam`) is not installed")
    unigrams = [f"-1.0\t{word}\t-0.3" for word in ("<s>", "</s>", "<unk>", "one", "two")]
    lines = ["\\data\\", "ngram 1=5", "ngram 2=1", "", "\\1-grams:", *unigrams, "", "\\2-grams:", "-0.5\tone two", ""]
    arpa = write(tmp_path / "lm.arpa", *lines, "\\end\\")
    result = main(command(tmp_path / "run", "--task_options", "decoder=beam", f"language_model={arpa}", epochs=1))
    assert len(result.run.task_options["language_model_sha256"]) == 64
    assert {word for row in predictions(tmp_path / "run") for word in row["prediction"].split()} <= {"one", "two"}
    with arpa.open("a") as file:
        file.write("\n")
    speech_recognition._beam_search.cache_clear()
    with pytest.raises(SureError, match="has changed since this adapter was trained"):
        list(predict(tmp_path / "run", [corpus / "audio/test/0.wav"]))


def test_the_schedule_of_the_paper_is_one_of_the_trainer(command, tmp_path):
    schedule = ["--lr_scheduler_type", "warmup_stable_decay", "--warmup_steps", "2"]
    schedule += ["--lr_scheduler_kwargs", '{"num_decay_steps": 3, "decay_type": "linear"}']
    schedule += ["--save_total_limit", "20", "--logging_steps", "1", "--learning_rate", "1e-3"]
    main(command(tmp_path, *schedule, epochs=3))
    history = json.loads((newest_checkpoint(tmp_path) / "trainer_state.json").read_text())["log_history"]
    rates = [entry["learning_rate"] for entry in history if "learning_rate" in entry]
    # Nine steps: two up, four at the top, three down to zero, which would be the tenth's.
    assert rates == pytest.approx([0, 5e-4, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 2e-3 / 3, 1e-3 / 3])


def test_the_command_line_prints_a_path_and_a_text(command, corpus, tmp_path, capsys):
    main(command(tmp_path, epochs=1))
    capsys.readouterr()
    cli.main(["predict", "--adapter", str(tmp_path), str(corpus / "audio/test/0.wav")])
    assert list(json.loads(capsys.readouterr().out)) == ["path", "prediction"]


def test_audio_is_not_cut_off_from_its_text(command, tmp_path):
    with pytest.raises(SureError, match=r"--max_seconds 1: asr_fleurs needs whole utterances"):
        main(command(tmp_path, "--max_seconds", "1"))
