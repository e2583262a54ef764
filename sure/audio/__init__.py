"""The one place that opens a sound file: decode, cut, mix to mono, resample."""

import hashlib
import io
import math
import os
import re
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from sure.errors import SureError
from sure.files import writing

SAMPLE_RATE = 16_000

# Of the files that are looked for in folders.
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")

# Attention's memory grows with the square of the length; a file this long among utterances is a mistake.
LONGEST_SECONDS = 60.0

# One frame of wav2vec 2.0's CNN.
SHORTEST_SAMPLES = 400

# What libsndfile gives for a FLAC that was written into a pipe; it cannot read such a file to its end.
_UNKNOWN_LENGTH = 2**63 - 1


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
    refuse_too_short(max_seconds)
    try:
        if not path.is_file():
            what = "is a folder, not an audio file" if path.is_dir() else "is no file that can be read to its end"
            raise SureError(f"{path}: {what if path.exists() else 'no such audio file'}.")
        if path.stat().st_size == 0:
            raise SureError(f"{path}: the file is empty (0 bytes).")
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


def at_least(waveform: NDArray, samples: int = SHORTEST_SAMPLES) -> NDArray:
    """A waveform of shape (samples,) with silence behind it where it has fewer."""
    missing = samples - len(waveform)
    return np.pad(waveform, (0, missing)) if missing > 0 else waveform


def refuse_too_short(max_seconds: float | None) -> None:
    """Raises `SureError` where so many seconds of an utterance would not be one frame, or are no number."""
    if max_seconds is not None and not SHORTEST_SAMPLES / SAMPLE_RATE <= max_seconds < math.inf:
        raise SureError(f"--max_seconds {max_seconds:g}: give a number of seconds, at least the 0.025 s of one frame.")


def load_row(row: dict[str, Any]) -> NDArray[np.float32]:
    """`load` for an utterance of a task: its `path`, from `start` to `end` where it has them."""
    return load(row["path"], start=row.get("start"), end=row.get("end"))


def load_or_error(job: tuple[str, float | None, float | None, float | None]) -> tuple[NDArray | None, str | None]:
    """`load` for (path, start, end, max_seconds), for many at once: the waveform, or what is wrong with the file."""
    path, start, end, max_seconds = job
    try:
        return load(path, start=start, end=end, max_seconds=max_seconds), None
    except SureError as error:
        return None, str(error)


def duration(path: str | Path) -> float:
    """Seconds of a file by its header, without decoding it. Raises `SureError` where it is missing or no audio."""
    return header(path)[0]


def header(path: str | Path) -> tuple[float, int, int]:
    """Seconds, sample rate in Hz and channels of a file. Raises `SureError` as `duration`."""
    try:
        # Whoever opens a pipe waits until something is written into it.
        if not Path(path).is_file():
            raise SureError(f"{path}: not readable as audio (no such file).")
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError as error:
        raise SureError(f"{path}: not readable as audio ({error.error_string.strip()}).") from None
    return info.duration, info.samplerate, info.channels


def write(path: Path, waveform: NDArray, rate: int = SAMPLE_RATE) -> None:
    """A waveform of shape (samples,), `rate` Hz, between -1 and 1, as a file of 16 bits; makes its folder.

    Raises `SureError` where it cannot be written.
    """
    # libsndfile would not say why a file cannot be written.
    encoded = io.BytesIO()
    soundfile.write(encoded, waveform, rate, subtype="PCM_16", format=path.suffix[1:])
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.getbuffer())


def digest(path: str) -> str | None:
    """SHA-256 of a file's bytes; None where it cannot be read, of which `load` gives the reason."""
    # A pipe would be waited for.
    if not Path(path).is_file():
        return None
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
        if file.frames == _UNKNOWN_LENGTH:
            raise SureError(f"{path}: its header has no length, as if written into a pipe. Convert it again.")
        first, last = _bounds(path, file, start, end)
        if max_seconds is not None:
            last = min(last, first + round(max_seconds * rate))
        wanted = min(last - first, math.floor(longest * rate) + 1)
        # In an MP3 of variable bit rate libsndfile's seeking ends anywhere near: it is read from its beginning.
        before = first if file.format == "MP3" else 0
        # Some formats, such as GSM in WAV, are read from their beginning alone.
        if first > before:
            file.seek(first - before)
        samples = file.read(before + wanted, dtype="float32", always_2d=True)[before:]
        length_is_a_guess = file.format == "MP3" and not _mp3_says_its_length(raw)
        if len(samples) < wanted and not length_is_a_guess:
            raise SureError(
                f"{path}: truncated: its header promises {(last - first) / rate:.2f} s and {len(samples) / rate:.2f} s "
                "are there. Copy it again."
            )
        if len(samples) > longest * rate:
            raise SureError(
                f"{path}: longer than {longest:g} s. Cut it, or train on the beginnings of files (`sure train "
                "--max_seconds 10`) where the task does not need whole utterances."
            )
        # Guessed too short, it leaves out the end in silence.
        if length_is_a_guess and last == file.frames and _mp3_goes_on(raw):
            raise SureError(
                f"{path}: an MP3 of variable bit rate whose header has no length. Convert it to FLAC or WAV."
            )
    return samples, rate


def _mp3_says_its_length(raw: BinaryIO) -> bool:
    """Whether it begins with a Xing or Info frame; else its length is guessed from its size and its first frame."""
    audio = 0
    while (tag := os.pread(raw.fileno(), 10, audio))[:3] == b"ID3":
        # The tag's length, seven bits to the byte, without these ten bytes.
        audio += 10 + sum(byte << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
    return re.search(rb"(Xing|Info)\0\0\0", os.pread(raw.fileno(), 4096, audio)) is not None


def _mp3_goes_on(raw: BinaryIO) -> bool:
    """Whether the decoder stopped before a further frame, and not before a tag or the end of the file."""
    following = os.pread(raw.fileno(), 2, os.lseek(raw.fileno(), 0, os.SEEK_CUR))
    return len(following) == 2 and following[0] == 0xFF and following[1] >= 0xE0


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
