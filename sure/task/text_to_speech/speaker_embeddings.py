"""What tells speakers apart to a text-to-speech model: vectors from a file, by a model of speakers, or codes."""

import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from sure import audio
from sure.errors import SureError

if TYPE_CHECKING:
    from datasets import Dataset
from sure.files import is_number

CODES = "codes"

# Recordings in memory.
_AT_A_TIME = 64


def code(speaker: str, width: int) -> np.ndarray:
    """A random direction that is always the same for a name: float32, shape (width,)."""
    seed = int.from_bytes(hashlib.sha256(speaker.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).normal(size=width).astype(np.float32)


def by_speaker(source: str, speakers: list[str], training: "Dataset") -> dict[str, list[float]]:
    """A vector for each of the speakers.

    `source` is a .json or .safetensors file, or the output folder of `sure train --task sv_...`, whose mean over a
    speaker's training utterances it is then. Raises `SureError` for anything else, and where a speaker is missing.
    """
    path = Path(source)
    if path.is_dir():
        vectors = _mean_embeddings(source, training)
    elif path.is_file():
        vectors = _read_vectors(path)
    else:
        raise SureError(
            f"--task_options speaker_embeddings={source}: no such file or folder; expected {CODES}, a .json or "
            ".safetensors file, or the output folder of `sure train --task sv_...`."
        )
    if missing := [speaker for speaker in speakers if speaker not in vectors]:
        raise SureError(f"--task_options speaker_embeddings={source}: no embedding for {missing[0]}.")
    return {speaker: [round(float(value), 6) for value in vectors[speaker]] for speaker in speakers}


def _mean_embeddings(folder: str, training: "Dataset") -> dict[str, np.ndarray]:
    from sure.task.text_to_speech import judges

    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(1))
    for start in tqdm(range(0, len(training), _AT_A_TIME), "Embedding speakers", disable=None):
        rows = [training[place] for place in range(start, min(start + _AT_A_TIME, len(training)))]
        vectors = judges.embeddings(folder, [audio.load_row(row) for row in rows], "speaker_embeddings")
        for row, vector in zip(rows, vectors, strict=True):
            sums[row["speaker"]] = sums[row["speaker"]] + vector
    counts = Counter(training["speaker"])
    return {speaker: total / counts[speaker] for speaker, total in sums.items()}


def _read_vectors(path: Path) -> dict[str, Any]:
    expected = f"--task_options speaker_embeddings={path}: expected a vector of numbers by speaker"
    try:
        if path.suffix == ".safetensors":
            from safetensors import SafetensorError
            from safetensors.numpy import load_file

            try:
                vectors = {name: array.ravel().tolist() for name, array in load_file(path).items()}
            except SafetensorError as error:
                raise SureError(f"{expected}, as safetensors ({error}).") from None
        else:
            vectors = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SureError(f"{expected}, as JSON ({error}).") from None
    if not isinstance(vectors, dict):
        raise SureError(f"{expected}, found a {type(vectors).__name__}.")
    for name, vector in vectors.items():
        if not isinstance(vector, list) or not vector or not all(map(is_number, vector)):
            raise SureError(f"{expected}; that of {name} is none.")
    return vectors
