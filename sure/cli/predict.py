"""`sure predict`."""

import argparse
import json
import os
import sys
from pathlib import Path

from sure.cli.shared import positive
from sure.errors import SureError
from sure.files import read_text, writing


def add_to(commands: argparse._SubParsersAction) -> None:
    """Its parser, as a subcommand of `sure`."""
    predict = commands.add_parser("predict", help="apply a trained adapter to recordings, or let it say texts")
    predict.add_argument("--adapter", type=Path, required=True, help="output folder of `sure train`")
    predict.add_argument("--batch_size", type=positive, default=16, help="recordings at a time (default: 16)")
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
        help="audio files, or folders of them; speaker tasks compare each with the first; one that cannot be used has "
        "an error in its row, and the status is 2 in the end",
    )
    predict.set_defaults(run=_predict)


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
    from sure.files import write_atomically
    from sure.predict import predict

    lines, unusable = [], 0
    for row in predict(arguments.adapter, arguments.recordings, arguments.batch_size):
        # Names of files need not be UTF-8; in JSON their other bytes are escaped, and read again they are the same.
        lines.append(json.dumps(row, ensure_ascii=False).encode(errors="backslashreplace").decode() + "\n")
        if not arguments.output:
            print(lines[-1], end="", flush=True)
        if "error" in row:
            unusable += 1
            print(f"sure: error: {row['error']}", file=sys.stderr)
    if arguments.output:
        write_atomically(arguments.output, "".join(lines))
    if unusable:
        raise SureError(f'{unusable} of {len(lines)} recordings cannot be used: their rows have an "error".')


def _speak(arguments: argparse.Namespace) -> None:
    from sure import audio
    from sure.predict import speak

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
    with writing(f"--output {file}"):
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        if not os.access(file.parent, os.W_OK):
            raise PermissionError(None, "permission denied")


def _lines(path: Path) -> list[str]:
    lines = read_text(path).splitlines()
    if not lines:
        raise SureError(f"--text_file {path}: no lines.")
    return lines
