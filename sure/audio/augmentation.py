"""Noise and reverberation for training utterances, from MUSAN and simulated room impulse responses.

One of them or none, as wespeaker does it (Wang et al. 2023, and its dataset/processor.py): with a given probability
either noise is added at a random signal-to-noise ratio, or the utterance is heard in a random room. Recordings are
read from disk when they are drawn, and no more of them than is needed: MUSAN is 109 hours long.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import fftconvolve

from sure import audio
from sure.audio import SAMPLE_RATE
from sure.errors import SureError

# Signal-to-noise ratios in dB by MUSAN's folders (Snyder et al. 2015), as in wespeaker.
SIGNAL_TO_NOISE = {"noise": (0.0, 15.0), "music": (5.0, 15.0), "speech": (10.0, 30.0)}

# Of a mean square; digital silence has no level.
_SMALL = 1e-10


class Surroundings:
    """The noises and rooms to draw from.

    `noise_dir` holds MUSAN's `noise`, `music` and `speech` with wav files at any depth, `reverberation_dir` the
    release "RIRs and simulated RIRs" (OpenSLR 28), or its `simulated_rirs`. Raises `SureError` where one has none.
    """

    def __init__(self, noise_dir: Path | None, reverberation_dir: Path | None, probability: float) -> None:
        self.probability = probability
        self.noises: list[tuple[str, Path]] = []
        self.rooms: list[Path] = []
        if noise_dir is not None:
            self.noises = [(kind, path) for kind in SIGNAL_TO_NOISE for path in _wav_files(noise_dir / kind)]
            if not self.noises:
                raise SureError(
                    f"noise_dir={noise_dir}: no wav files in {', '.join(SIGNAL_TO_NOISE)}, MUSAN's folders."
                )
        if reverberation_dir is not None:
            inner = reverberation_dir / "simulated_rirs"
            self.rooms = _wav_files(inner if inner.is_dir() else reverberation_dir)
            if not self.rooms:
                raise SureError(f"reverberation_dir={reverberation_dir}: no wav files in simulated_rirs.")

    def change(self, waveform: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """The utterance, shape (samples,), with noise, in a room, or as it is."""
        kinds = [kind for kind in (self.noises, self.rooms) if kind]
        if not kinds or generator.random() >= self.probability:
            return waveform
        if _one_of(kinds, generator) is self.rooms:
            return reverberate(waveform, audio.load(_one_of(self.rooms, generator)))
        kind, path = _one_of(self.noises, generator)
        low, high = SIGNAL_TO_NOISE[kind]
        return add_noise(waveform, _excerpt(path, len(waveform), generator), generator.uniform(low, high))


def add_noise(waveform: np.ndarray, noise: np.ndarray, decibels: float) -> np.ndarray:
    """`waveform` plus `noise`, both of shape (samples,), the first so many dB above the second in mean square."""
    ratio = (np.mean(waveform**2) + _SMALL) / (np.mean(noise**2) + _SMALL)
    return waveform + noise * np.float32(np.sqrt(ratio * 10 ** (-decibels / 10)))


def reverberate(waveform: np.ndarray, response: np.ndarray) -> np.ndarray:
    """`waveform` (samples,) convolved with a room's impulse response of energy one, cut to its length."""
    response = response / np.sqrt(np.sum(response**2) + _SMALL)
    return fftconvolve(waveform, response)[: len(waveform)].astype(np.float32)


def crop(waveform: np.ndarray, samples: int, generator: np.random.Generator) -> np.ndarray:
    """A random part of so many samples; a shorter utterance is repeated until it is as long."""
    if len(waveform) < samples:
        return np.resize(waveform, samples)
    start = generator.integers(len(waveform) - samples, endpoint=True)
    return waveform[start : start + samples]


def _excerpt(path: Path, samples: int, generator: np.random.Generator) -> np.ndarray:
    """A random part of a recording, shape (samples,), or the whole of a shorter one again and again."""
    seconds = samples / SAMPLE_RATE
    spare = _duration(path) - seconds
    if spare <= 0:
        return np.resize(audio.load(path), samples)
    start = generator.uniform(0, spare)
    # Rounding to the file's own rate may cost a sample, which resizing gives back.
    return np.resize(audio.load(path, start=start, end=start + seconds), samples)


def _wav_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.wav") if not path.name.startswith("."))


def _one_of(things: Sequence, generator: np.random.Generator) -> Any:
    return things[generator.integers(len(things))]


_duration = cache(audio.duration)
