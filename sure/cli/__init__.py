"""The `sure` command. What a subcommand needs is imported when it runs, so that `sure --help` answers at once."""

import argparse
import sys

from sure import __version__
from sure.cli import budget, compare, data, export, leaderboard, listing, predict, pretrain, submit
from sure.cli.shared import run_command, subcommands
from sure.cli.sweep import sweep
from sure.cli.train import train
from sure.files import refuse_urls

_EPILOG = """\
examples:
  sure data synth esd --output_dir data/esd
  sure train --task esd_emotion --data_dir data/esd --method conv_adapter --output_dir out/conv
  sure predict --adapter out/conv recording.wav more/*.flac
  sure leaderboard add out/*/result.json && sure leaderboard build && sure leaderboard show
"""


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script."""
    argv = sys.argv[1:] if argv is None else argv
    run_command(lambda: _dispatch(argv), resumes=argv[:1] in (["train"], ["pretrain"], ["sweep"]))


def _dispatch(argv: list[str]) -> None:
    # `train` has the trainer's flags, whose parser takes seconds to import.
    if argv[:1] == ["train"]:
        train(argv[1:], "sure train")
        return
    # And `sweep` takes them too.
    if argv[:1] == ["sweep"]:
        sweep(argv[1:])
        return
    arguments = _parser().parse_args(argv)
    refuse_urls(vars(arguments))
    arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sure",
        description="Parameter-efficient transfer learning for speech models: train, measure and compare.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sure {__version__}")
    commands = subcommands(parser)

    commands.add_parser("train", help="train a method on a task and write a result record", add_help=False)
    commands.add_parser("sweep", help="choose settings and compare methods, in many runs", add_help=False)

    for subcommand in (predict, export, budget, listing, data, pretrain, submit, leaderboard, compare):
        subcommand.add_to(commands)
    return parser
