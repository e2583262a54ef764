"""The model card of a run: from its record, and never over somebody else's."""

import re

import pytest
import yaml

from sure.record import Result
from sure.record.card import write_card
from tests.leaderboard.test_leaderboard import write_record


@pytest.fixture
def result(tmp_path):
    return Result.read(write_record(tmp_path / "run"))


def test_it_says_what_the_record_says(tmp_path, result):
    write_card(tmp_path, result, speaks=False)
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


def test_a_card_that_speaks_is_given_a_text(tmp_path, result):
    write_card(tmp_path, result, speaks=True)
    assert '--text "Something to say." --output said.wav' in (tmp_path / "README.md").read_text()


def test_another_run_writes_it_anew_but_leaves_a_users_own(tmp_path, result):
    card = tmp_path / "README.md"
    write_card(tmp_path, result, speaks=False)
    card.write_text(card.read_text().replace("## Scores", "## Old scores"))
    write_card(tmp_path, result, speaks=False)
    assert "## Old scores" not in card.read_text()
    card.write_text("Mine.")
    write_card(tmp_path, result, speaks=False)
    assert card.read_text() == "Mine."
