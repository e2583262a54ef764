"""Several that write to one board at once, and those that are killed at it."""

import signal
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import pytest

from sure import leaderboard
from sure.errors import SureError
from sure.leaderboard.submission import folders
from sure.record import RESULT
from tests.factories import processes
from tests.leaderboard.test_leaderboard import edit, register, write_record

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def known_task(monkeypatch):
    register(monkeypatch)


def start(target, *arguments):
    """Forked from here: it knows the task, and imports nothing."""
    writer = get_context("fork").Process(target=target, args=arguments)
    writer.start()
    return writer


def add(records, board):
    """Each of them, unless the board has that run."""
    for record in records:
        try:
            leaderboard.add(record, board)
        except SureError as error:
            if "holds this run already" not in str(error):
                raise


def on(board):
    """The number of submissions, which are sound, whether or not the board is built."""
    with pytest.raises(SureError) as problems:
        leaderboard.validate(board)
    assert [line for line in str(problems.value).splitlines() if "run `sure leaderboard build" not in line] == []
    return len(folders(board))


def add_until(times, record, board):
    """As above, killed where it makes or renames a folder after so many times."""
    left = iter(range(times))

    def counted(call, *arguments, **options):
        if next(left, None) is None:
            processes.kill_this()
        return call(*arguments, **options)

    with patch.multiple(
        Path,
        mkdir=lambda *a, call=Path.mkdir, **o: counted(call, *a, **o),
        rename=lambda *a, call=Path.rename, **o: counted(call, *a, **o),
    ):
        add([record], board)


def test_adding_at_once_loses_none_and_takes_none_twice(tmp_path):
    board = tmp_path / "board"
    own = [[write_record(tmp_path / f"{one} {seed}", seed=10 * one + seed) for seed in range(3)] for one in range(4)]
    # And one run of which each has another result.
    for one, records in enumerate(own):
        records.insert(one % 2, write_record(tmp_path / f"same {one}", seed=99))
        edit(records[one % 2], lambda r, one=one: r["cost"].update(training_seconds=1.0 + one))
    writers = [start(add, records, board) for records in own]
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    seeds = sorted(leaderboard.read(folder / RESULT).run.seed for folder in folders(board))
    assert seeds == sorted([10 * one + seed for one in range(4) for seed in range(3)] + [99])
    assert on(board) == 13


def test_a_board_is_valid_wherever_a_writer_is_killed(tmp_path):
    """It replaces a failed run: at no time is there half a submission, or are there both."""
    completed, failed = write_record(tmp_path / "completed"), write_record(tmp_path / "failed", failed=True)
    other = write_record(tmp_path / "other", seed=1)
    there, times, exitcode = set(), 0, None
    while exitcode != 0:
        board = tmp_path / f"board {times}"
        add([other, failed], board)
        writer = start(add_until, times, completed, board)
        writer.join()
        exitcode = writer.exitcode
        assert exitcode in (0, -signal.SIGKILL)
        there.add(on(board))
        # Who comes next finds no lock, and nothing in the way.
        leaderboard.add(completed, board)
        assert on(board) == 2
        times += 1
    assert times > 4
    assert there == {1, 2}
