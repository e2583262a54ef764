"""Results in print: every file of the board's can be used here, and what is wrong in one is named."""

import json
import re

import pytest
import yaml

from sure import leaderboard, registry
from sure.errors import SureError
from sure.leaderboard import page
from sure.leaderboard.published import beside, published, published_table
from sure.leaderboard.views import Filters
from sure.task import make_task
from tests.factories import REPOSITORY
from tests.leaderboard import boards

BOARD = REPOSITORY / "leaderboard"
TABLE = {
    "table": "Table 1",
    "backbone": "hubert",
    "columns": [{"task": "esc50", "metric": "accuracy", "unit": "percent", "differs": "the split"}],
    "rows": [{"method": "LoRA", "ours": "lora", "parameters": 1000, "values": [87.5]}],
}
PAPER = {
    "paper": "Somebody 2024, A title",
    "arxiv": "2401.00001",
    "read_in": "the abstract",
    "tables": [TABLE],
}


def test_tasks_options_metrics_and_methods_in_print_are_those_here():
    rows = published(board=BOARD)
    assert len(rows) > 100
    for row in rows:
        given = {name: yaml.safe_load(value) for name, _, value in (option.partition("=") for option in row.options)}
        if "trial_list" in given:
            given["voxceleb2_dir"] = "FOLDER"
        task = make_task(row.task, given)
        metric = task.metric_named(row.metric)
        assert metric.unit != "share" or 0 < row.value < 1, row
        assert row.metric in task.metrics
        if row.ours:
            name, _, preset = row.ours.partition(" preset=")
            chosen = registry.get("method", name)
            assert not preset or preset in chosen.presets, row.ours


def test_shares_are_those_in_print_with_their_paper():
    """Cappellazzo et al. 2023, tables 1 and 2."""
    (one,) = [row for row in beside(published(BOARD), "esc50", "") if row.ours == "conformer_adapter preset=ast"]
    assert (one.value, one.trainable_parameters, one.table) == (0.883, 271_000, "Table 1")
    assert one.model_dump(mode="json")["link"] == "https://arxiv.org/abs/2312.03694"
    assert {row.value for row in beside(published(BOARD), "esc50", "shots=8")} == {0.719, 0.707, 0.728, 0.711}
    # Whoever says another list of trials is shown no other's.
    assert all(
        "O-cleaned" in row.options[0] for row in beside(published(BOARD), "sv_voxceleb1", "trial_list=O-cleaned")
    )


def test_the_table_says_what_differs_and_ranks_nothing():
    text = published_table(published(BOARD, "fluent_speech_commands"))
    assert "0.9967 ± 0.00041" in text
    assert "what ± covers is not said" in text
    # Of a linear probe nothing but the head trains, which this paper counts of no other.
    assert "24,000+" in text
    assert "272,000 " in text
    assert "rank" not in text.splitlines()[1]
    assert published_table(published(BOARD, "asr_fleurs")) == ""


def test_a_board_shows_them_beside_its_runs(tmp_path, monkeypatch):
    emotion = boards.board(("esd_emotion", "asr_fleurs"))
    intents = {"task": "fluent_speech_commands"}
    entries = [one.model_copy(update=intents if one.task == "esd_emotion" else {}) for one in emotion]
    monkeypatch.setattr(leaderboard, "folders", lambda board: [board])
    monkeypatch.setattr(leaderboard, "_built_entries", lambda board: entries)
    assert leaderboard.show(BOARD).count("in print: not ranked") == 1
    # Where entries are chosen, what is chosen is shown.
    assert "in print" not in leaderboard.show(BOARD, Filters(method=["lora"]))
    assert "in print" not in leaderboard.show(tmp_path)
    text = page.page(entries, published(BOARD))
    data = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)[1])
    shown = {table["task"]: [row["cells"][0] for row in table["published"]] for table in data["tables"]}
    assert len(shown["fluent_speech_commands"]) > 10
    assert shown["asr_fleurs"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arxiv": 2401.1}, "arxiv: Input should be a valid string"),
        ({"note": "none"}, "note: Extra inputs"),
        (
            {"tables": [PAPER["tables"][0] | {"rows": [PAPER["tables"][0]["rows"][0] | {"values": []}]}]},
            "0 values, of 1",
        ),
        ({"tables": [TABLE | {"columns": [TABLE["columns"][0] | {"task": "esc"}]}]}, "esc50"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path, change, message):
    path = tmp_path / "published" / "paper.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(PAPER))
    assert published(board=tmp_path)[0].value == 0.875
    path.write_text(yaml.safe_dump(PAPER | change))
    with pytest.raises(SureError, match=message) as error:
        published(board=tmp_path)
    assert str(path) in str(error.value)
