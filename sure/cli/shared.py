"""What the subcommands share."""

import argparse
import logging
import math
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress

from sure.errors import SureError


def run_command(command: Callable[[], object], *, resumes: bool = False) -> None:
    """Run a command; a user's mistake ends with its message and status 2, not with a traceback.

    `resumes`: where it is interrupted, the same command goes on from its last checkpoint.
    """
    logging.basicConfig(format="%(message)s")
    # PEFT asks transformers in a way that the next version will no longer answer.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    try:
        command()
    except SureError as error:
        print(f"sure: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit("Interrupted." + " The same command resumes from the last checkpoint." * resumes)
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def subcommands(parser: argparse.ArgumentParser) -> argparse._SubParsersAction:
    """Where a command's subcommands go; without one, it says which there are."""

    def ask(_: argparse.Namespace) -> None:
        parser.print_help(sys.stderr)
        parser.exit(2, f"\n{parser.prog}: error: the following arguments are required: COMMAND\n")

    parser.set_defaults(run=ask)
    return parser.add_subparsers(metavar="COMMAND")


def positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def not_negative(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def positive_number(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")


def seed(text: str) -> int:
    """In the range that `sure train` has, and scikit-learn."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return int(text)
