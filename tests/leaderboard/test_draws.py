"""What a board keeps of its submissions from build to build changes no number."""

from pathlib import Path

import pytest

from sure import leaderboard
from sure.leaderboard import draws
from tests.leaderboard.test_leaderboard import register, write_predictions, write_record


@pytest.fixture(autouse=True)
def known_task(monkeypatch):
    register(monkeypatch)


def test_draws_are_made_once_and_made_anew_where_they_are_not_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("SURE_CACHE", str(tmp_path / "cache"))
    board = tmp_path / "board"
    for seed, right in enumerate((0.8, 0.7)):
        leaderboard.add(write_record(tmp_path / f"lora {seed}", seed=seed, right=right), board)
    leaderboard.add(write_record(tmp_path / "bitfit", method="bitfit", right=0.5), board)

    def built():
        return leaderboard.leaderboard_json(leaderboard.read_entries(board))

    cold = built()
    kept = [path for path in Path(tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(kept) == 3
    with monkeypatch.context() as patch:
        patch.delattr(draws, "paired_draws")
        assert built() == cold
    kept[0].write_bytes(kept[0].read_bytes()[:-9])
    kept[1].write_bytes(b"")
    assert built() == cold
    monkeypatch.setenv("SURE_CACHE", "/proc/nothing")
    assert built() == cold


def test_predictions_that_were_changed_are_refused_whatever_is_kept(tmp_path, caplog):
    folder = leaderboard.add(write_record(tmp_path / "run"), tmp_path / "board")
    leaderboard.read_entries(tmp_path / "board")
    write_predictions(folder / "test.jsonl", [])
    assert leaderboard.read_entries(tmp_path / "board") == []
    assert "its SHA-256 is not the one in the record" in caplog.text
