"""`sure leaderboard`."""

import argparse
from collections import Counter
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
        ("validate", "check every submission and all that was built from them", _validate),
        ("manifest", "pin a corpus' test rows and references, by which submissions are held", _manifest),
    ):
        command = board.add_parser(name, help=text)
        command.add_argument("--board", type=Path, default=Path("leaderboard"), help="folder (default: leaderboard)")
        command.set_defaults(run=run)
        if name == "add":
            command.add_argument("records", type=Path, nargs="+", metavar="RECORD", help="result.json files")
        if name == "manifest":
            command.add_argument("--task", required=True, help="the task, as for `sure train`")
            command.add_argument("--task_options", nargs="*", default=[], metavar="NAME=VALUE", help="its options")
            command.add_argument("--data_dir", type=Path, required=True, help="folder of the corpus, in its own layout")
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
    for record in records:
        # Each locks the board for as long as it is copied.
        with writing(f"--board {arguments.board}"):
            print(leaderboard.add(record, arguments.board))


def _build(arguments: argparse.Namespace) -> None:
    from sure import leaderboard

    with changing(arguments.board):
        leaderboard.build(arguments.board)
    print(f"Wrote {arguments.board / 'leaderboard.json'} and {arguments.board / 'index.html'}.")


def _manifest(arguments: argparse.Namespace) -> None:
    from sure import leaderboard
    from sure.leaderboard.manifest import Manifest
    from sure.runner.arguments import parse_options
    from sure.task import task_with_options

    task = task_with_options(arguments.task, parse_options(arguments.task_options, "--task_options"))
    manifest = Manifest.of(task, arguments.data_dir)
    with changing(arguments.board):
        print(f"Wrote {manifest.write(arguments.board)}.")
        checked = leaderboard.check_again(arguments.board, task.name)
    if checked:
        print(f"Checked {len(checked)} submissions again: run `sure leaderboard build --board {arguments.board}`.")


@contextmanager
def changing(board: Path) -> Iterator[None]:
    """One command at a time changes a board; others wait."""
    what = f"--board {board}"
    with locked(board, what, wait=True), writing(what):
        yield


def _validate(arguments: argparse.Namespace) -> None:
    from sure import leaderboard

    leaderboard.validate(arguments.board)
    print(f"{arguments.board}: every submission is valid.")
    checks = [leaderboard.Checks.of(folder) for folder in leaderboard.folders(arguments.board)]
    verified = sum(one.verified for one in checks)
    print(f"{verified} verified, {len(checks) - verified} self-reported.")
    for what, times in Counter(what for one in checks for what in one.unchecked).most_common():
        print(f"  not checked, of {times}: {what}")
