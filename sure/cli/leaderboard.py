"""`sure leaderboard`."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sure.cli.shared import subcommands
from sure.files import locked, writing


def add_to(commands: argparse._SubParsersAction) -> None:
    """Its parser, as a subcommand of `sure`."""
    board = subcommands(commands.add_parser("leaderboard", help="collect, check, rank and show result records"))
    for name, text, run in (
        ("show", "print a ranked table per task", _show),
        ("add", "check records, score their predictions again and add them", _add),
        ("build", "write leaderboard.json, index.html and plots from the submissions", _build),
        ("validate", "check every submission and leaderboard.json", _validate),
    ):
        command = board.add_parser(name, help=text)
        command.add_argument("--board", type=Path, default=Path("leaderboard"), help="folder (default: leaderboard)")
        command.set_defaults(run=run)
        if name == "add":
            command.add_argument("records", type=Path, nargs="+", metavar="RECORD", help="result.json files")
        if name == "show":
            command.add_argument("--task", help="only this task")


def _show(arguments: argparse.Namespace) -> None:
    from sure import leaderboard

    print(leaderboard.show(arguments.board, arguments.task))


def _add(arguments: argparse.Namespace) -> None:
    from sure import leaderboard
    from sure.record import RESULT

    records = [record / RESULT if record.is_dir() else record for record in arguments.records]
    for record in records:
        # What is no record makes no board.
        leaderboard.read(record)
    with _writing(arguments.board):
        for record in records:
            print(leaderboard.add(record, arguments.board))


def _build(arguments: argparse.Namespace) -> None:
    from sure import leaderboard

    with _writing(arguments.board):
        leaderboard.build(arguments.board)
    print(f"Wrote {arguments.board / 'leaderboard.json'} and {arguments.board / 'index.html'}.")


@contextmanager
def _writing(board: Path) -> Iterator[None]:
    """One command at a time changes a board; others wait."""
    what = f"--board {board}"
    from sure.leaderboard import remove_unfinished

    with locked(board, what, wait=True), writing(what):
        # Nobody else is adding now.
        remove_unfinished(board)
        yield


def _validate(arguments: argparse.Namespace) -> None:
    from sure import leaderboard

    leaderboard.validate(arguments.board)
    print(f"{arguments.board}: every submission is valid.")
