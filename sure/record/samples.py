"""Samples of what a run says: its first test utterances as small FLAC files beside its record, for a board to play."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sure import audio
from sure.errors import SureError
from sure.record import Sample

# Of each run; those of all runs of a task are of the same sentences.
_SAMPLES = 4
_SECONDS = 12.0

# What so many seconds take at most: FLAC leaves what it cannot compress as it is, 32,000 bytes a second.
MOST_BYTES = 500_000


def write_samples(folder: Path, rows: Iterable[Mapping[str, Any]]) -> list[Sample]:
    """The beginnings of the first test utterances by id, out of `audio/` where a run keeps what it said.

    What is too short to be heard is passed over.
    """
    samples = []
    for name in sorted(row["id"] for row in rows):
        try:
            waveform = audio.load(folder / "audio" / f"{name}.wav", max_seconds=_SECONDS)
        except SureError:
            continue
        path = folder / f"sample_{len(samples) + 1}.flac"
        audio.write(path, waveform)
        samples.append(Sample(id=name, path=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
        if len(samples) == _SAMPLES:
            break
    return samples


def read_sample(folder: Path, sample: Sample) -> NDArray:
    """Its waveform, shape (samples,), 16 kHz.

    Raises `SureError` where the file is not beside the record, missing, changed, too large, too long or no FLAC.
    """
    path = Path(folder) / sample.path
    if path.name != sample.path or path.suffix != ".flac":
        raise SureError(f"{folder}: a sample must be a .flac file beside its record, not {sample.path!r}.")
    if path.is_symlink() or not path.is_file():
        raise SureError(f"{path}: no such sample.")
    if path.stat().st_size > MOST_BYTES:
        raise SureError(f"{path}: {path.stat().st_size:,} bytes; a sample has at most {MOST_BYTES:,}.")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sample.sha256:
        raise SureError(f"{path}: its SHA-256 is not the one in the record; it was changed after the run.")
    if not content.startswith(b"fLaC"):
        raise SureError(f"{path}: not a FLAC file.")
    return audio.load(path, longest=_SECONDS)
