"""Commands that change a board do it one after another, and say where they cannot."""

from threading import Thread

import pytest

from sure.cli import main
from sure.files import locked
from tests.factories.disks import small_disk
from tests.leaderboard.test_leaderboard import write_record


def test_what_is_added_waits_for_who_is_changing_the_board(tmp_path):
    words = ["leaderboard", "add", str(write_record(tmp_path / "run", failed=True)), "--board", str(tmp_path / "board")]
    adding = Thread(target=main, args=(words,))
    with locked(tmp_path / "board", "board", wait=False):
        adding.start()
        adding.join(timeout=0.5)
        assert adding.is_alive()
        assert not (tmp_path / "board" / "submissions").exists()
    adding.join()
    assert len(list((tmp_path / "board" / "submissions").iterdir())) == 1


def test_a_board_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    # The page is larger.
    with small_disk(10_000):
        for board in (tmp_path / "file", tmp_path / "full"):
            with pytest.raises(SystemExit) as ended:
                main(["leaderboard", "build", "--board", str(board)])
            assert ended.value.code == 2
            assert f"sure: error: --board {board}: cannot be written (" in capsys.readouterr().err
