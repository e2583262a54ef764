"""How many frames each token of a text takes: from a file, or by forced alignment."""

import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from sure import audio
from sure.audio import SAMPLE_RATE
from sure.errors import SureError
from sure.files import read_text

if TYPE_CHECKING:
    from datasets import Dataset

    from sure.backbone import Backbone


# Counted up when the alignment changes, so that older ones are not read.
_ALIGNMENT = 1

# Utterances that take as long to align as a process takes to start.
_WORTH_A_PROCESS = 64


def aligned(backbone: "Backbone", training: "Dataset") -> dict[str, list[int]]:
    """Frames of each token by utterance id, by forced alignment."""
    from sure.corpus import cache
    from sure.task.text_to_speech.alignment import VOICE

    # Whoever needs a file is told before the corpus is aligned.
    backbone.durations("", np.zeros(1), 0.0)
    key = [_ALIGNMENT, asdict(VOICE), *([row["text"], *_content(row)] for row in training)]
    aligned = cache.remembered("alignments", key, lambda: _all_times(training))
    return {
        row["id"]: backbone.durations(row["text"], np.array(times), seconds)
        for row, (times, seconds) in zip(training, aligned, strict=True)
    }


def _all_times(training: "Dataset") -> list[tuple[list[float], float]]:
    processes = min(os.cpu_count() or 1, len(training) // _WORTH_A_PROCESS)
    with ExitStack() as stack:
        aligned = map(_times, training)
        if processes > 1:
            # A process forked from one with threads may wait for them for ever.
            pool = stack.enter_context(ProcessPoolExecutor(processes, mp_context=get_context("spawn")))
            aligned = pool.map(_times, training, chunksize=16)
        return list(tqdm(aligned, "Aligning", len(training), unit="utterance", disable=None))


def _content(row: dict[str, Any]) -> list:
    """What decides what is heard in an utterance, wherever it lies."""
    return [audio.digest(row["path"]), row.get("start"), row.get("end")]


def _times(row: dict[str, Any]) -> tuple[list[float], float]:
    """When each character of an utterance begins and the last one ends, and how long all is, in seconds."""
    from sure.task.text_to_speech.alignment import align

    waveform = audio.load_row(row)
    try:
        return align(row["text"], waveform).round(4).tolist(), len(waveform) / SAMPLE_RATE
    except SureError as error:
        raise SureError(f"{row['path']}: {error}") from None


def read_durations(path: Path, training: "Dataset") -> dict[str, list[int]]:
    """Frames of each token by utterance id. Raises `SureError` for a wrong line, and where one is missing."""
    if not path.is_file():
        raise SureError(f"--task_options durations={path}: no such file.")
    durations = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name, *frames = line.split()
        if not frames or not all(count.isdecimal() for count in frames) or not any(map(int, frames)):
            raise SureError(f"{path}, line {number}: expected an id and whole numbers of frames, not all 0.")
        durations[name] = [int(count) for count in frames]
    if missing := [name for name in training["id"] if name not in durations]:
        raise SureError(f"{path}: no durations of {len(missing)} training utterances, such as {missing[0]}.")
    return durations
