"""`sure compare`."""

import argparse
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

from sure.cli.shared import positive
from sure.errors import SureError

# Of a column, in characters.
_WIDEST = 48


def add_to(commands: argparse._SubParsersAction) -> None:
    """Its parser, as a subcommand of `sure`."""
    command = commands.add_parser(
        "compare",
        help="say what two runs differ in: settings, cost, scores, predictions",
        usage="%(prog)s A B [options]\n       %(prog)s A1 A2 ... --with B1 B2 ... [options]",
        description="A and B are runs, or each several runs of one configuration that differ in their seeds: scores "
        "are means over seeds then, and intervals cover test sample and seed.",
    )
    command.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="output folder of `sure train`, its result.json, or a submission of the board: A and B, or seeds of A",
    )
    command.add_argument("--with", dest="others", nargs="+", metavar="RUN", default=[], help="seeds of B")
    command.add_argument(
        "--entries",
        action="store_true",
        help="a submission of the board stands for all seeds of its configuration there",
    )
    command.add_argument("--board", type=Path, default=Path("leaderboard"), help="folder (default: leaderboard)")
    command.add_argument(
        "--utterances", type=positive, default=10, metavar="NUMBER", help="that they differ on most (default: 10)"
    )
    command.set_defaults(run=_compare)


def _compare(arguments: argparse.Namespace) -> None:
    from tabulate import tabulate

    from sure.leaderboard.compare import Side, compare
    from sure.leaderboard.views import printable

    ours, theirs = arguments.runs, arguments.others
    if not theirs:
        if len(ours) != 2:
            raise SureError(f"{len(ours)} runs: give A and B, or the seeds of A, --with, and those of B.")
        ours, theirs = ours[:1], ours[1:]
    one, other = (Side.of(given, arguments.board, entry=arguments.entries) for given in (ours, theirs))
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
