"""The `sure` command. What a subcommand needs is imported when it runs, so that `sure --help` answers at once."""

import argparse
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from sure import __version__, registry
from sure.errors import SureError
from sure.files import read_text

# A table of more labels, such as a corpus' speakers, is not read.
_MOST_LABELS = 30

_EPILOG = """\
examples:
  sure data synth esd --output_dir data/esd
  sure train --task esd_emotion --data_dir data/esd --method conv_adapter --output_dir out/conv
  sure predict --adapter out/conv recording.wav more/*.flac
  sure leaderboard add out/*/result.json && sure leaderboard build && sure leaderboard show
"""

_PRETRAIN = """\
A small model on speech that eSpeak NG makes up, with no download. The same command goes on where it was interrupted.

encoder          a HuBERT that predicts clusters of masked frames, of speech in many voices and languages, disturbed as
                 recordings are
text_to_speech   a FastSpeech 2 that reads characters, on English in a hundred voices

  sure pretrain --output_dir out/mini --bf16                                    an hour or more on two CPU cores
  sure pretrain --model text_to_speech --output_dir out/mini-tts --steps 6000 --hours 6 --bf16
  sure pretrain --output_dir out/mini --steps 20000 --hours 40 --batch_size 256 --bf16 --workers 15    a GPU
  tensorboard --logdir out/mini/runs
  sure train --backbone out/mini --task emodb_emotion --data_dir DATA/emodb --output_dir out/emotion
"""


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script."""
    argv = sys.argv[1:] if argv is None else argv
    run_command(lambda: _dispatch(argv))


def run_command(command: Callable[[], object]) -> None:
    """Run a command; a user's mistake ends with its message and status 2, not with a traceback."""
    logging.basicConfig(format="%(message)s")
    # PEFT asks transformers in a way that the next version will no longer answer.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    try:
        command()
    except SureError as error:
        print(f"sure: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit("Interrupted. The same command resumes from the last checkpoint.")
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(argv: list[str]) -> None:
    # `train` has the trainer's flags, whose parser takes seconds to import.
    if argv[:1] == ["train"]:
        train(argv[1:], "sure train")
        return
    arguments = _parser().parse_args(argv)
    arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sure",
        description="Parameter-efficient transfer learning for speech models: train, measure and compare.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sure {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    commands.add_parser("train", help="train a method on a task and write a result record", add_help=False)

    predict = commands.add_parser("predict", help="apply a trained adapter to recordings, or let it say texts")
    predict.add_argument("--adapter", type=Path, required=True, help="output folder of `sure train`")
    predict.add_argument("--batch_size", type=_positive, default=16, help="recordings at a time (default: 16)")
    predict.add_argument(
        "--output",
        type=Path,
        help="JSON lines go to this file instead of standard output; speech into this .wav file or folder",
    )
    texts = predict.add_mutually_exclusive_group()
    texts.add_argument("--text", help="what a text-to-speech adapter is to say, into the .wav file --output")
    texts.add_argument("--text_file", type=Path, help="a text in each line, said into 0001.wav and so on in --output")
    predict.add_argument("--speaker", help="in whose voice, where the adapter learnt several")
    predict.add_argument(
        "recordings",
        type=Path,
        nargs="*",
        metavar="RECORDING",
        help="audio files, or folders of them; speaker tasks compare each with the first",
    )
    predict.set_defaults(run=_predict)

    budget = commands.add_parser("budget", help="compare what methods cost on a backbone, without training or weights")
    budget.add_argument(
        "--backbone",
        default="wav2vec2-large-untrained",
        help="hub id, folder with a config.json, or built-in name (default: the sizes of SURE's wav2vec 2.0 large)",
    )
    budget.add_argument("--methods", nargs="+", metavar="METHOD", help="default: every method of SURE")
    budget.add_argument(
        "--labels", type=_positive, default=11, help="labels of the head (default: 11, as in SURE's table)"
    )
    budget.add_argument("--json", action="store_true", help="print JSON instead of a table")
    budget.set_defaults(run=_budget)

    for kind, text in (("task", "tasks"), ("method", "methods"), ("backbone", "backbone families")):
        listing = commands.add_parser(f"{kind}s", help=f"list the {text}, or say more about one")
        listing.add_argument("name", nargs="?", help=f"a {kind}")
        listing.set_defaults(run=_list, kind=kind)

    data = commands.add_parser("data", help="inspect a corpus, or make a small synthetic one").add_subparsers(
        required=True, metavar="COMMAND"
    )
    check = data.add_parser("check", help="look at a corpus before training: splits, labels, broken files, overlaps")
    check.add_argument("--task", required=True, help="name of the task; `sure tasks` lists them")
    check.add_argument("--data_dir", type=Path, required=True, help="folder of the corpus")
    check.add_argument("--task_options", nargs="*", default=[], metavar="NAME=VALUE", help="as for `sure train`")
    check.add_argument("--max_seconds", type=float, help="as for `sure train`, whose cache then is that of this check")
    check.add_argument("--json", action="store_true", help="print JSON instead of tables")
    check.set_defaults(run=_check)
    synth = data.add_parser("synth", help="speak a small corpus in a real corpus' layout with eSpeak NG")
    synth.add_argument("corpus", help="esd, fleurs, libritts or voxceleb")
    synth.add_argument("--output_dir", type=Path, required=True, help="folder to make")
    synth.add_argument("--seed", type=int, default=0, help="the same seed gives the same corpus (default: 0)")
    synth.set_defaults(run=_synth)

    pretraining = commands.add_parser(
        "pretrain",
        help="make a small backbone from nothing, on synthetic speech",
        description=_PRETRAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pretraining.add_argument(
        "--model", choices=("encoder", "text_to_speech"), default="encoder", help="what to make (default: encoder)"
    )
    pretraining.add_argument("--output_dir", type=Path, required=True, help="folder of the model to be")
    pretraining.add_argument("--steps", type=int, default=8000, help="0 leaves random weights (default: 8000)")
    pretraining.add_argument("--hours", type=float, default=8.0, help="of speech, 0.12 GB of disk each (default: 8)")
    pretraining.add_argument("--batch_size", type=int, default=16, help="utterances in a step (default: 16)")
    pretraining.add_argument("--seed", type=int, default=0, help="of speech, weights and batches (default: 0)")
    pretraining.add_argument("--bf16", action="store_true", help="faster on GPUs, and on CPUs with AMX or AVX512-BF16")
    pretraining.add_argument("--save_steps", type=int, default=200, help="steps between checkpoints (default: 200)")
    pretraining.add_argument("--workers", type=int, default=1, help="processes that prepare speech (default: 1)")
    pretraining.set_defaults(run=_pretrain)

    board = commands.add_parser("leaderboard", help="collect, check, rank and show result records")
    board = board.add_subparsers(required=True, metavar="COMMAND")
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
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def train(argv: list[str], prog: str) -> None:
    """What `sure train` and `python -m sure.train` do: train, then print the scores (the main process does)."""
    from sure.train import main as train_main

    result = train_main(argv, prog)
    if result is not None:
        _print_result(result)


def _print_result(result) -> None:
    from tabulate import tabulate

    rows = [
        [split, name, f"{score.value:.4f}", f"{score.low:.4f} to {score.high:.4f}"]
        for split, scores in result.scores.items()
        for name, score in scores.items()
    ]
    print(tabulate(rows, headers=["split", "metric", "score", "95 % interval"]))
    cost = result.cost
    print(
        f"{cost.trainable_parameters:,} trainable parameters ({cost.trainable_share:.2%} of all), of them "
        f"{cost.head_parameters:,} in the head; {cost.training_seconds:.0f} s of training."
    )
    if result.run.data.synthetic or not result.run.backbone.pretrained:
        print("Note: " + _caveat(result.run.data.synthetic, result.run.backbone.pretrained))


def _caveat(synthetic: bool, pretrained: bool) -> str:
    parts = ["the speech is synthetic"] * synthetic + ["the backbone has random weights"] * (not pretrained)
    return f"{' and '.join(parts)}; these scores say nothing about methods on human speech or pretrained models."


def _predict(arguments: argparse.Namespace) -> None:
    if arguments.text is not None or arguments.text_file is not None:
        _speak(arguments)
        return
    if not arguments.recordings:
        raise SureError("the following arguments are required: RECORDING, or --text or --text_file (see --help).")
    if arguments.speaker is not None:
        raise SureError(f"--speaker {arguments.speaker}: in whose voice a text is to be said; give --text.")
    if arguments.output:
        _refuse_unwritable(arguments.output)
    from sure.predict import predict
    from sure.results import write_atomically

    rows = predict(arguments.adapter, arguments.recordings, arguments.batch_size)
    if arguments.output:
        write_atomically(arguments.output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    for row in rows:
        print(json.dumps(row, ensure_ascii=False), flush=True)


def _speak(arguments: argparse.Namespace) -> None:
    from sure import audio
    from sure.speak import speak

    if arguments.output is None or arguments.recordings:
        raise SureError("sure predict: with --text or --text_file, give --output, and no RECORDING.")
    if arguments.text is not None:
        if arguments.output.suffix.lower() != ".wav":
            raise SureError(f"--output {arguments.output}: with --text, the name of a .wav file.")
        texts, paths = [arguments.text], [arguments.output]
    else:
        texts = _lines(arguments.text_file)
        paths = [arguments.output / f"{number:04d}.wav" for number in range(1, len(texts) + 1)]
    _refuse_unwritable(paths[0])
    waveforms = speak(arguments.adapter, texts, arguments.speaker, arguments.batch_size)
    for path, text, waveform in zip(paths, texts, waveforms, strict=True):
        audio.write(path, waveform)
        print(json.dumps({"path": str(path), "text": text}, ensure_ascii=False), flush=True)


def _refuse_unwritable(file: Path) -> None:
    """Now, not when everything is computed. Makes the folder."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        if not os.access(file.parent, os.W_OK):
            raise PermissionError(None, "permission denied")
    except OSError as error:
        raise SureError(f"--output {file}: cannot be written ({error.strerror}).") from None


def _lines(path: Path) -> list[str]:
    lines = read_text(path).splitlines()
    if not lines:
        raise SureError(f"--text_file {path}: no lines.")
    return lines


def _budget(arguments: argparse.Namespace) -> None:
    import dataclasses

    from tabulate import tabulate

    from sure import methods
    from sure.budget import budget
    from sure.heads import ClassificationHead

    rows = []
    for name in arguments.methods or registry.names("method"):
        config = methods.config_class(name)
        measured = budget(name, arguments.backbone, lambda width: ClassificationHead(width, arguments.labels))
        published = getattr(config, "published_parameters", None)
        rows.append({"method": name, "published": published, **dataclasses.asdict(measured)})
        rows[-1] |= {"share": measured.trainable_share, "without_head": measured.method_parameters}
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    table = [
        [
            row["method"],
            f"{row['trainable_parameters']:,}",
            f"{row['published']:,}" if row["published"] else "",
            f"{row['share']:.2%}",
            f"{row['without_head']:,}",
            f"{row['adapter_bytes'] / 1e6:,.1f}",
            f"{row['macs_per_second'] / 1e9:.2f}",
        ]
        for row in sorted(rows, key=lambda row: row["trainable_parameters"])
    ]
    headers = ["method", "trainable", "SURE's table", "share", "without head", "adapter MB", "GMAC per s of audio"]
    print(f"{arguments.backbone}, head of {arguments.labels} labels")
    print(tabulate(table, headers=headers, colalign=("left", *["right"] * 6), disable_numparse=True))


def _list(arguments: argparse.Namespace) -> None:
    from tabulate import tabulate

    kind, name = arguments.kind, arguments.name
    if name is None:
        print(tabulate([[name, registry.summary(kind, name)] for name in registry.names(kind)], tablefmt="plain"))
        if kind == "method":
            print("\nAlso, from PEFT: boft, fourierft, hra, ia3, loha, lokr, oft, randlora, vera.")
        if kind == "backbone":
            print(
                "\nAny model of these families: a hub id or a folder. Shipped, small, pretrained on synthetic speech:\n"
                "sure-mini, and sure-mini-tts, which speaks. Built in, with random weights: tiny."
            )
        return
    _describe(kind, name)


def _describe(kind: str, name: str) -> None:
    import dataclasses
    import sys as modules

    if kind == "method":
        from sure import methods

        described = methods.config_class(name)
    else:
        described = registry.get(kind, name)
    print((modules.modules[described.__module__].__doc__ or "").strip())
    if kind == "backbone":
        return
    print(f"\nOptions (--{kind}_options name=value ...):")
    inherited = {"task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"}
    for field in dataclasses.fields(described):
        if field.name not in inherited and field.init:
            default = field.default if field.default is not dataclasses.MISSING else field.default_factory()
            help_text = " ".join(str(field.metadata.get("help", "")).split())
            print(f"  {field.name}={json.dumps(default, default=str)}  {help_text}")
    if kind == "method":
        print("  roles=...  The parts of the backbone to adapt, such as query,value (see `sure backbones NAME`).")


def _check(arguments: argparse.Namespace) -> None:
    import dataclasses

    from tabulate import tabulate

    from sure.arguments import parse_options
    from sure.check import check
    from sure.task import make_task

    task = make_task(arguments.task, parse_options(arguments.task_options, "--task_options"))
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
    labels = sorted({label for split in report.splits.values() for label in split.labels})
    if 0 < len(labels) <= _MOST_LABELS:
        rows = [[label, *(split.labels.get(label, 0) for split in report.splits.values())] for label in labels]
        print("\n" + tabulate(rows, headers=["label", *report.splits]))
    for warning in report.warnings:
        print(f"\nwarning: {warning}")
    for error in report.errors:
        print(f"\nerror: {error}")
    found = f"{len(report.errors)} errors would stop training." if report.errors else "Training can start."
    print(f"\n{found}")
    sys.exit(bool(report.errors))


def _synth(arguments: argparse.Namespace) -> None:
    from sure import synth

    if arguments.corpus not in synth.CORPORA:
        raise registry.unknown("corpus", arguments.corpus, sorted(synth.CORPORA))
    synth.CORPORA[arguments.corpus](arguments.output_dir, seed=arguments.seed)


def _pretrain(arguments: argparse.Namespace) -> None:
    from sure.pretraining import Settings

    if arguments.model == "encoder":
        from sure.pretraining.encoder import pretrain
    else:
        from sure.pretraining.text_to_speech import pretrain
    settings = Settings(
        steps=arguments.steps,
        hours=arguments.hours,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        bf16=arguments.bf16,
    )
    pretrain(arguments.output_dir, settings, arguments.save_steps, arguments.workers)
    print(f"{arguments.output_dir} is ready: sure train --backbone {arguments.output_dir} ...")


def _show(arguments: argparse.Namespace) -> None:
    from sure import leaderboard

    print(leaderboard.show(arguments.board, arguments.task))


def _add(arguments: argparse.Namespace) -> None:
    from sure import leaderboard

    for record in arguments.records:
        print(leaderboard.add(record, arguments.board))


def _build(arguments: argparse.Namespace) -> None:
    from sure import leaderboard

    leaderboard.build(arguments.board)
    print(f"Wrote {arguments.board / 'leaderboard.json'} and {arguments.board / 'index.html'}.")


def _validate(arguments: argparse.Namespace) -> None:
    from sure import leaderboard

    leaderboard.validate(arguments.board)
    print(f"{arguments.board}: every submission is valid.")
