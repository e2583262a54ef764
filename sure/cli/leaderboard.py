"""`sure leaderboard`."""

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sure.cli.shared import positive, subcommands
from sure.errors import SureError
from sure.files import locked, writing

_FORMATS = ("table", "csv", "json", "markdown", "latex")


def add_to(commands: argparse._SubParsersAction) -> None:
    """Its parser, as a subcommand of `sure`."""
    board = subcommands(commands.add_parser("leaderboard", help="collect, check, rank and show result records"))
    for name, text, run in (
        ("show", "print a ranked table per task", _show),
        ("add", "check records, score their predictions again and add them", _add),
        ("build", "write leaderboard.json, index.html and plots from the submissions", _build),
        ("validate", "check every submission and all that was built from them", _validate),
        ("manifest", "pin a corpus' test rows and references, by which submissions are held", _manifest),
        ("serve", "show the board, and runs as they go, in a browser on this machine", _serve),
    ):
        command = board.add_parser(name, help=text)
        command.add_argument("--board", type=Path, default=Path("leaderboard"), help="folder (default: leaderboard)")
        command.set_defaults(run=run)
        if name == "add":
            command.add_argument("records", type=Path, nargs="+", metavar="RECORD", help="result.json files")
        if name in ("build", "validate"):
            command.add_argument(
                "--references",
                type=Path,
                nargs="+",
                default=[],
                metavar="FILE",
                help="where test references are hidden, the files that `manifest --hide_references` has written; "
                "without them, scores on test stay those of the last build that had them",
            )
        if name == "manifest":
            command.add_argument("--task", required=True, help="the task, as for `sure train`")
            command.add_argument("--task_options", nargs="*", default=[], metavar="NAME=VALUE", help="its options")
            command.add_argument("--data_dir", type=Path, required=True, help="folder of the corpus, in its own layout")
            command.add_argument(
                "--hide_references",
                type=Path,
                metavar="FILE",
                help="the test references go to this file, for the board's keeper alone, and submissions come without: "
                "they have predictions only, which `build --references FILE` scores",
            )
        if name == "show":
            _add_filters(command)
        if name == "serve":
            command.add_argument("--runs", type=Path, default=Path("out"), help="folder of runs (default: out)")
            command.add_argument("--port", type=positive, default=8000, help="on 127.0.0.1 (default: 8000)")


def _add_filters(command: argparse.ArgumentParser) -> None:
    for name, plural in (
        *(("task", "tasks"), ("backbone", "backbones")),
        *(("family", "families of backbones"), ("method", "methods")),
    ):
        command.add_argument(f"--{name}", nargs="+", default=[], metavar="NAME", help=f"only entries of these {plural}")
    command.add_argument(
        "--budget",
        nargs="+",
        metavar="SIZE",
        help="only entries whose trainable parameters, without head, are at most this share of all (1%%) or this "
        "number (0.9M); of two, from the first to the second",
    )
    command.add_argument(
        "--shots", nargs="+", default=[], metavar="NUMBER", help="only entries that learnt from so many shots, or all"
    )
    command.add_argument("--seeds", type=positive, metavar="NUMBER", help="only entries of at least so many seeds")
    command.add_argument("--format", choices=_FORMATS, default="table", help="what is printed (default: table)")


def _show(arguments: argparse.Namespace) -> None:
    from sure import leaderboard

    least_and_most = arguments.budget
    if least_and_most and len(least_and_most) > 2:
        raise SureError(f"--budget {' '.join(least_and_most)}: give the most, or the least and the most.")
    filters = leaderboard.Filters(
        task=arguments.task,
        backbone=arguments.backbone,
        family=arguments.family,
        method=arguments.method,
        budget=(None, *least_and_most)[-2:] if least_and_most else None,
        shots=arguments.shots,
        seeds=arguments.seeds,
    )
    print(leaderboard.show(arguments.board, filters, arguments.format))


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
        leaderboard.build(arguments.board, arguments.references)
    print(f"Wrote {arguments.board / 'leaderboard.json'} and {arguments.board / 'index.html'}.")


def _manifest(arguments: argparse.Namespace) -> None:
    from sure import leaderboard
    from sure.leaderboard import hidden
    from sure.leaderboard.manifest import Manifest
    from sure.runner.arguments import parse_options
    from sure.task import task_with_options

    task = task_with_options(arguments.task, parse_options(arguments.task_options, "--task_options"))
    file = arguments.hide_references

    def hide(fingerprint: str, references: list[dict[str, Any]]) -> str:
        with writing(f"--hide_references {file}"):
            return hidden.write(file, task.name, fingerprint, references)

    if file:
        _refuse_public(file, arguments.board)
    manifest = Manifest.of(task, arguments.data_dir, hide=hide if file else None)
    path = manifest.path(arguments.board)
    if not file and path.exists() and Manifest.read(path).references:
        # Hashes of references are as good as references.
        raise SureError(
            f"{path} hides references, and another would publish them: give --hide_references, or remove it."
        )
    if file:
        print(f"Wrote {file}: keep it to yourself. Without it nobody can score, and another one has another hash.")
    with changing(arguments.board):
        print(f"Wrote {manifest.write(arguments.board)}.")
        checked = leaderboard.check_again(arguments.board, task.name)
    if checked:
        print(f"Checked {len(checked)} submissions again: run `sure leaderboard build --board {arguments.board}`.")


def _refuse_public(file: Path, board: Path) -> None:
    """Raises `SureError` for a file of references that everybody would see, or that there is already."""
    if file.resolve().is_relative_to(board.resolve()):
        raise SureError(f"--hide_references {file}: everybody sees what is in {board}; give a file outside.")
    if file.exists():
        raise SureError(f"--hide_references {file}: it is there already; another would not be that of its manifest.")


@contextmanager
def changing(board: Path) -> Iterator[None]:
    """One command at a time changes a board; others wait."""
    what = f"--board {board}"
    with locked(board, what, wait=True), writing(what):
        yield


def _validate(arguments: argparse.Namespace) -> None:
    from sure import leaderboard

    leaderboard.validate(arguments.board, arguments.references)
    print(f"{arguments.board}: every submission is valid.")
    checks = [leaderboard.Checks.of(folder) for folder in leaderboard.folders(arguments.board)]
    if not checks:
        return
    verified = sum(one.verified for one in checks)
    print(f"{verified} verified, {len(checks) - verified} self-reported.")
    for what, times in Counter(what for one in checks for what in one.unchecked).most_common():
        print(f"  not checked, of {times}: {what}")


def _serve(arguments: argparse.Namespace) -> None:
    from sure.leaderboard.server import ADDRESS, server
    from sure.runner.watching import watch

    with (
        server(arguments.board, lambda: [run.as_json() for run in watch(arguments.runs)], arguments.port) as serving,
        suppress(KeyboardInterrupt),
    ):
        address = f"http://{ADDRESS}:{serving.server_port}"
        print(f"{address}/ has {arguments.board}, {address}/runs has {arguments.runs}. Stop with Ctrl-C.", flush=True)
        serving.serve_forever()
