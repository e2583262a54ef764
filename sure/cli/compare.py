"""`sure compare`."""

import argparse
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

from sure.cli.shared import positive

# Of a column, in characters.
_WIDEST = 48


def add_to(commands: argparse._SubParsersAction) -> None:
    """Its parser, as a subcommand of `sure`."""
    command = commands.add_parser("compare", help="say what two runs differ in: settings, cost, scores, predictions")
    for name in ("A", "B"):
        command.add_argument(name, help="output folder of `sure train`, its result.json, or a submission of the board")
    command.add_argument("--board", type=Path, default=Path("leaderboard"), help="folder (default: leaderboard)")
    command.add_argument(
        "--utterances", type=positive, default=10, metavar="NUMBER", help="that they differ on most (default: 10)"
    )
    command.set_defaults(run=_compare)


def _compare(arguments: argparse.Namespace) -> None:
    from tabulate import tabulate

    from sure.leaderboard.compare import Compared, compare
    from sure.leaderboard.views import printable

    one, other = (Compared.of(given, arguments.board) for given in (arguments.A, arguments.B))
    print(printable(f"A: {one}"))
    print(printable(f"B: {other}"))
    for table in compare(one, other, arguments.utterances):
        print(f"\n{printable(table.title)}")
        rows = [[textwrap.fill(printable(cell), _WIDEST) for cell in row] for row in table.rows]
        headers = [printable(header) for header in table.headers]
        if rows:
            sides = [_side(column) for column in zip(*rows, strict=True)]
            print(tabulate(rows, headers, disable_numparse=True, colalign=sides))
        if table.about:
            print(printable(table.about))


def _side(column: Iterable[str]) -> str:
    """Numbers stand under one another."""
    return "right" if all(re.fullmatch(r"[-+\d,.:/ %()]*", cell) for cell in column) else "left"
