"""`sure data`."""

import argparse
import json
import sys
from pathlib import Path

from sure import registry
from sure.cli.shared import seed, subcommands
from sure.files import writing

# A table of more labels, such as a corpus' speakers, is not read.
_MOST_LABELS = 30


def add_to(commands: argparse._SubParsersAction) -> None:
    """Its parser, as a subcommand of `sure`."""
    data = subcommands(commands.add_parser("data", help="inspect a corpus, or make a small synthetic one"))
    check = data.add_parser("check", help="look at a corpus before training: splits, labels, broken files, overlaps")
    check.add_argument("--task", required=True, help="name of the task; `sure tasks` lists them")
    check.add_argument("--data_dir", type=Path, required=True, help="folder of the corpus")
    check.add_argument("--task_options", nargs="*", default=[], metavar="NAME=VALUE", help="as for `sure train`")
    check.add_argument("--max_seconds", type=float, help="as for `sure train`, whose cache then is that of this check")
    check.add_argument("--json", action="store_true", help="print JSON instead of tables")
    check.set_defaults(run=_check)
    synth = data.add_parser("synth", help="make a small corpus in a real corpus' layout, speech with eSpeak NG")
    synth.add_argument(
        "corpus",
        # Importing `sure.synth` for its names would double the time that `sure --help` takes.
        help="asvspoof, cnceleb, cremad, esc50, esd, fleurs, fleurs_languages, fluent_speech_commands, librispeech, "
        "libritts, msp_improv, ravdess, snips, speech_commands, urbansound8k, vctk or voxceleb",
    )
    synth.add_argument("--output_dir", type=Path, required=True, help="folder to make")
    synth.add_argument("--seed", type=seed, default=0, help="the same seed gives the same corpus (default: 0)")
    synth.set_defaults(run=_synth)


def _check(arguments: argparse.Namespace) -> None:
    import dataclasses

    from tabulate import tabulate

    from sure.check import check
    from sure.runner.arguments import parse_options
    from sure.task import task_with_options

    task = task_with_options(arguments.task, parse_options(arguments.task_options, "--task_options"))
    report = check(task, arguments.data_dir, max_seconds=arguments.max_seconds)
    if arguments.json:
        print(json.dumps(dataclasses.asdict(report), indent=2, ensure_ascii=False))
        sys.exit(bool(report.errors))
    rows = [
        [
            name,
            f"{split.utterances:,}",
            "unknown" if split.speakers is None else f"{split.speakers:,}",
            f"{split.hours:.2f}",
            f"{split.shortest:.1f} / {split.median:.1f} / {split.longest:.1f}",
            ", ".join(f"{rate} Hz" for rate in split.sample_rates),
            ", ".join(map(str, split.channels)),
        ]
        for name, split in report.splits.items()
    ]
    if rows:
        headers = ["split", "utterances", "speakers", "hours", "shortest / median / longest s", "sample rates"]
        print(tabulate(rows, headers=[*headers, "channels"], disable_numparse=True))
    for column in task.label_columns:
        counts = [split.labels[column] for split in report.splits.values()]
        labels = sorted(set().union(*counts))
        if 0 < len(labels) <= _MOST_LABELS:
            rows = [[label, *(count.get(label, 0) for count in counts)] for label in labels]
            print("\n" + tabulate(rows, headers=[column, *report.splits]))
    for warning in report.warnings:
        print(f"\nwarning: {warning}")
    for error in report.errors:
        print(f"\nerror: {error}")
    found = (
        f"{len(report.errors)} error{'s' * (len(report.errors) > 1)} would stop training."
        if report.errors
        else "Training can start."
    )
    print(f"\n{found}")
    sys.exit(bool(report.errors))


def _synth(arguments: argparse.Namespace) -> None:
    from sure import synth

    if arguments.corpus not in synth.CORPORA:
        raise registry.unknown("corpus", arguments.corpus, sorted(synth.CORPORA))
    with writing(f"--output_dir {arguments.output_dir}"):
        synth.CORPORA[arguments.corpus](arguments.output_dir, seed=arguments.seed)
