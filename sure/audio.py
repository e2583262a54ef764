"""The one place that opens a sound file: decode, cut, mix to mono, resample."""

import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from sure.errors import SureError

SAMPLE_RATE = 16_000

# Attention's memory grows with the square of the length; a file this long among utterances is a mistake.
LONGEST_SECONDS = 60.0

# One frame of wav2vec 2.0's CNN.
SHORTEST_SAMPLES = 400


def load(
    path: str | Path,
    *,
    start: float | None = None,
    end: float | None = None,
    max_seconds: float | None = None,
    longest: float = LONGEST_SECONDS,
) -> NDArray[np.float32]:
    """One utterance, shape (samples,), mono at 16 kHz, from wav, flac, ogg or mp3 of any rate and channel count.

    `start` and `end` (seconds) cut it out of its file, `max_seconds` keeps its beginning; what is not asked for is not
    decoded. Raises `SureError`, naming the file, where it is missing, no audio, truncated, empty, not finite, shorter
    than 25 ms, or longer than `longest` seconds.
    """
    path = Path(path)
    if not path.is_file():
        raise SureError(f"{path}: {'is a folder, not an audio file' if path.is_dir() else 'no such audio file'}.")
    if path.stat().st_size == 0:
        raise SureError(f"{path}: the file is empty (0 bytes).")
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            first, last = _bounds(path, file, start, end)
            wanted = last - first
            if max_seconds is not None:
                wanted = min(wanted, round(max_seconds * rate))
            if wanted > longest * rate:
                raise SureError(
                    f"{path}: {wanted / rate:.1f} s, longer than {longest:g} s. Give --max_seconds to use the "
                    "beginning of long files, or cut them."
                )
            file.seek(first)
            samples = file.read(wanted, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise SureError(f"{path}: not readable as audio, or truncated ({error.error_string.strip()}).") from None
    if len(samples) < wanted or _missing_bytes(path):
        raise SureError(f"{path}: truncated: the header promises more audio than the file holds. Copy it again.")
    if len(samples) == 0:
        raise SureError(f"{path}: holds no samples.")
    if not np.isfinite(samples).all():
        raise SureError(f"{path}: holds samples that are no numbers (NaN or infinite).")
    mono = np.ascontiguousarray(samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0])
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    if len(mono) < SHORTEST_SAMPLES:
        raise SureError(f"{path}: {1000 * len(mono) / SAMPLE_RATE:.1f} ms, shorter than the 25 ms of one frame.")
    return mono.astype(np.float32, copy=False)


def load_or_error(job: tuple[str, float | None, float | None, float | None]) -> tuple[NDArray | None, str | None]:
    """`load` for (path, start, end, max_seconds), for many at once: the waveform, or what is wrong with the file."""
    path, start, end, max_seconds = job
    try:
        return load(path, start=start, end=end, max_seconds=max_seconds), None
    except SureError as error:
        return None, str(error)


def digest(path: str) -> str:
    """SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bounds(path: Path, file: soundfile.SoundFile, start: float | None, end: float | None) -> tuple[int, int]:
    first = 0 if start is None else round(start * file.samplerate)
    last = file.frames if end is None else round(end * file.samplerate)
    # Rounded times may lie one sample behind the end.
    if not 0 <= first <= last <= file.frames + 1:
        raise SureError(
            f"{path}: start {start} s and end {end} s do not lie within its {file.frames / file.samplerate} s."
        )
    return first, min(last, file.frames)


def _missing_bytes(path: Path) -> bool:
    """Whether a RIFF file is shorter than its data chunk says; libsndfile reads such a file as if it were whole."""
    with path.open("rb") as file:
        if file.read(4) != b"RIFF" or len(file.read(4)) < 4 or file.read(4) != b"WAVE":
            return False
        size = os.fstat(file.fileno()).st_size
        while len(header := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", header)
            if name == b"data":
                # Streamed files say 0 or the largest number, which means "to the end".
                return length not in (0, 0xFFFFFFFF) and file.tell() + length > size
            file.seek(length + length % 2, os.SEEK_CUR)
    return False
