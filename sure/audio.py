"""The one place that opens a sound file: decode, cut, mix to mono, resample."""

import hashlib
import math
import os
import struct
from pathlib import Path
from typing import BinaryIO

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
    if max_seconds is not None and not SHORTEST_SAMPLES / SAMPLE_RATE <= max_seconds < math.inf:
        raise SureError(f"--max_seconds {max_seconds}: give a number of seconds, at least the 0.025 s of one frame.")
    if not path.is_file():
        raise SureError(f"{path}: {'is a folder, not an audio file' if path.is_dir() else 'no such audio file'}.")
    if path.stat().st_size == 0:
        raise SureError(f"{path}: the file is empty (0 bytes).")
    try:
        with path.open("rb") as raw:
            samples, rate = _read(path, raw, start, end, max_seconds, longest)
            if _misses_its_end(raw):
                raise SureError(f"{path}: truncated: the end of the file is missing. Copy it again.")
    except soundfile.LibsndfileError as error:
        raise SureError(f"{path}: not readable as audio, or truncated ({error.error_string.strip()}).") from None
    except OSError as error:
        raise SureError(f"{path}: cannot be opened ({error.strerror}).") from None
    if len(samples) == 0:
        raise SureError(f"{path}: holds no samples{'' if start is end is None else f' from {start} s to {end} s'}.")
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


def digest(path: str) -> str | None:
    """SHA-256 of a file's bytes; None where it cannot be read, of which `load` gives the reason."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _read(
    path: Path, raw: BinaryIO, start: float | None, end: float | None, max_seconds: float | None, longest: float
) -> tuple[NDArray[np.float32], int]:
    """What was asked for, shape (samples, channels) at the file's own rate, and that rate in Hz."""
    with soundfile.SoundFile(raw.fileno(), closefd=False) as file:
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
        if len(samples) < wanted:
            raise SureError(
                f"{path}: truncated: its header promises {wanted / rate:.2f} s and {len(samples) / rate:.2f} s are "
                "there. Copy it again."
            )
        # Without a Xing header an MP3's length is guessed from its first frame, and the rest silently left out. Tags
        # may follow the audio, hence the margin.
        size = os.fstat(raw.fileno()).st_size
        if (
            file.format == "MP3"
            and first + wanted == file.frames
            and os.lseek(raw.fileno(), 0, os.SEEK_CUR) < 0.95 * size
        ):
            raise SureError(
                f"{path}: an MP3 of variable bit rate whose header has no length. Convert it to FLAC or WAV."
            )
    return samples, rate


def _bounds(path: Path, file: soundfile.SoundFile, start: float | None, end: float | None) -> tuple[int, int]:
    length = file.frames / file.samplerate
    # Rounded times may lie one sample behind the end. NaN fails every comparison.
    if not 0 <= (start or 0) <= (length if end is None else end) <= length + 1 / file.samplerate:
        raise SureError(f"{path}: start {start} s and end {end} s do not lie, in this order, within its {length:g} s.")
    first = round((start or 0) * file.samplerate)
    last = file.frames if end is None else round(end * file.samplerate)
    return min(first, file.frames), min(last, file.frames)


def _misses_its_end(raw: BinaryIO) -> bool:
    """Whether a WAV or Ogg file was cut off; libsndfile reads such files as if they were whole."""
    raw.seek(0)
    start = raw.read(12)
    if start[:4] == b"RIFF" and start[8:] == b"WAVE":
        return _wav_misses_its_end(raw)
    return start[:4] == b"OggS" and _ogg_misses_its_end(raw)


def _wav_misses_its_end(raw: BinaryIO) -> bool:
    size = os.fstat(raw.fileno()).st_size
    while len(header := raw.read(8)) == 8:
        name, length = struct.unpack("<4sI", header)
        if name == b"data":
            # Who writes into a pipe cannot know the length: SoX then says this number or one above, FFmpeg 2^32 - 1.
            return length < 0x7FFFF000 and raw.tell() + length > size
        raw.seek(length + length % 2, os.SEEK_CUR)
    return False


def _ogg_misses_its_end(raw: BinaryIO) -> bool:
    """Whether the last page (RFC 3533, section 6) is not whole or not marked as the end of its stream."""
    longest_page = 27 + 255 + 255 * 255
    raw.seek(max(0, os.fstat(raw.fileno()).st_size - longest_page))
    tail = raw.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27:
        return True
    segments = page[26]
    return not page[5] & 4 or len(page) < 27 + segments + sum(page[27 : 27 + segments])
