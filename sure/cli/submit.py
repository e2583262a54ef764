"""`sure submit`: runs as submissions to a board, ready for a pull request."""

import argparse
from pathlib import Path

from sure.files import writing

# What nobody can compute (`sure.leaderboard.disclosure`).
_DISCLOSED = {
    "name": "of the system, as its authors call it",
    "contact": "who answers for it: an address or a handle",
    "training_data": "all that the adapter learnt from, and what chose its settings",
    "paper": "where it is described",
    "tuning": "how settings were chosen: by whom, of how many tries, on what",
    "run_by": "who ran it: the method's authors, or others",
}
_REQUIRED = ("name", "contact", "training_data")


def add_to(commands: argparse._SubParsersAction) -> None:
    """Its parser, as a subcommand of `sure`."""
    submit = commands.add_parser(
        "submit",
        help="make runs submissions to a board, ready for a pull request",
        description="Checks each run as `sure leaderboard validate` does and copies its record and predictions to "
        "leaderboard/submissions/, with what nobody can compute: what these flags say. Where a "
        "manifest of the board hides references, these and the scores on test stay behind.",
    )
    submit.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="output folders of `sure train`")
    submit.add_argument("--board", type=Path, default=Path("leaderboard"), help="folder (default: leaderboard)")
    submit.add_argument("--weights", action="store_true", help="the adapters come along; their tensors are checked")
    for name, text in _DISCLOSED.items():
        submit.add_argument(f"--{name}", required=name in _REQUIRED, help=text)
    heard = "whether the test corpus was in what the backbone was pretrained on"
    submit.add_argument("--backbone_heard_test", choices=["yes", "no", "unknown"], default="unknown", help=heard)
    submit.set_defaults(run=_submit)


def _submit(arguments: argparse.Namespace) -> None:
    from sure import leaderboard
    from sure.leaderboard.disclosure import disclosed, standing

    disclosure = disclosed(vars(arguments))
    runs = [run.parent if run.is_file() else run for run in arguments.runs]
    for run in runs:
        # What is no record makes no board.
        leaderboard.read(run / leaderboard.RESULT)
    for run in runs:
        with writing(f"--board {arguments.board}"):
            folder = leaderboard.add(run, arguments.board, disclosure, weights=arguments.weights)
        checks = leaderboard.Checks.of(folder)
        print(f"{folder}: {standing(checks.verified)}")
        for what in checks.unchecked:
            print(f"  not checked: {what}")
    print(f"Run `sure leaderboard build --board {arguments.board}`, commit what is new there and open a pull request.")
