"""The model card of a run: from its record, and never over somebody else's."""

import re

import pytest
import yaml
from huggingface_hub import ModelCard

from sure.record import Result
from sure.record.card import write_card
from tests.leaderboard.test_leaderboard import write_record


@pytest.fixture
def result(tmp_path):
    return Result.read(write_record(tmp_path / "run"))


def test_it_says_what_the_record_says(tmp_path, result):
    write_card(tmp_path, result, "audio-classification")
    card = (tmp_path / "README.md").read_text()
    metadata = yaml.safe_load(card.split("---")[1])
    assert metadata["library_name"] == "peft"
    assert {result.run.task, result.run.method.name} <= set(metadata["tags"])
    score = result.scores["test"][result.metric]
    (row,) = re.findall(r"\| test \| (.*) \|", card)
    assert row.startswith(f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]")
    assert f"{result.cost.trainable_parameters:,} (" in card
    assert result.run.data.fingerprint[:12] in card
    assert f"sure predict --adapter {tmp_path.name} recording.wav" in card
    # What the hub reads of it.
    results = {one.metric_name.partition(",")[0]: one for one in ModelCard(card).data.eval_results}
    one = results["unweighted average recall"]
    assert (one.metric_type, one.metric_value) == ("recall", score.value)
    assert (one.task_type, one.dataset_split) == ("audio-classification", "test")
    assert one.dataset_name == "three_emotions, synthetic speech"
    assert one.metric_name.endswith(f"95 % interval {score.low:.3f} to {score.high:.3f}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "The first metric selected the checkpoint, on validation."),
        ({"metric_for_best_model": "eval_accuracy"}, "`accuracy` selected the checkpoint, on validation."),
        ({"load_best_model_at_end": False}, "They are of the end of the training."),
        ({"eval_strategy": "no"}, "They are of the end of the training."),
    ],
)
def test_it_says_what_selected_the_weights(arguments, said, tmp_path, result):
    run = result.run.model_copy(update={"arguments": result.run.arguments | arguments})
    write_card(tmp_path, result.model_copy(update={"run": run}), "audio-classification")
    assert said in (tmp_path / "README.md").read_text()


def test_a_card_that_speaks_is_given_a_text(tmp_path, result):
    write_card(tmp_path, result, "text-to-speech", ["Ann Other", "Bo"])
    said = """--speaker 'Ann Other' --text "Something to say." --output said.wav"""
    assert said in (tmp_path / "README.md").read_text()


def test_another_run_writes_it_anew_but_leaves_a_users_own(tmp_path, result):
    card = tmp_path / "README.md"
    write_card(tmp_path, result, "audio-classification")
    card.write_text(card.read_text().replace("## Scores", "## Old scores"))
    write_card(tmp_path, result, "audio-classification")
    assert "## Old scores" not in card.read_text()
    card.write_text("Mine.")
    write_card(tmp_path, result, "audio-classification")
    assert card.read_text() == "Mine."
