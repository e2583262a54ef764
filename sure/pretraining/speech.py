"""Speech for pretraining: what eSpeak NG says in a hundred voices and languages, as rooms and microphones change it.

Nobody's recordings are needed, so that a backbone can be made from nothing. What such speech lacks, variety, chance
puts back in (domain randomisation, Tobin et al. 2017): words, voices, vocal tracts, rooms, channels, noises.
"""

import random
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from sure import synth
from sure.audio import SAMPLE_RATE

# Of one clip.
SECONDS = 4
SAMPLES = SECONDS * SAMPLE_RATE

# Clips that are spoken one after the other; what eSpeak NG says depends on what it said before.
BLOCK = 64

# The accents of English and German, the languages of most tests of speech encoders, are spoken more than the others.
_ENGLISH = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-029", "en-us-nyc")
_SHARE_OF_ENGLISH, _SHARE_OF_GERMAN, _SHARE_OF_OTHER_TEXTS = 0.4, 0.15, 0.3

# Listed by eSpeak NG, but without a dictionary or without numbers.
_MUTE = ("chr", "cv", "fo", "kaa", "sjn", "xex")


class SpokenBlocks(torch.utils.data.Dataset):
    """Clips in blocks: each of shape (BLOCK, SAMPLES), 16-bit integers at 16 kHz, a function of seed and index."""

    def __init__(self, seed: int, blocks: int) -> None:
        self.seed, self.blocks = seed, blocks

    def __len__(self) -> int:
        return self.blocks

    def __getitem__(self, block: int) -> NDArray[np.int16]:
        if not 0 <= block < self.blocks:
            raise IndexError(block)
        synth.forget()
        generator = random.Random(f"{self.seed} {block}")  # noqa: S311 not for secrets
        return np.stack([_clip(generator) for _ in range(BLOCK)])


def normalised(waveforms: NDArray) -> NDArray[np.float32]:
    """Mean 0 and variance 1 along the last axis, as `Wav2Vec2FeatureExtractor` does before the model."""
    waveforms = np.asarray(waveforms, dtype=np.float32)
    centred = waveforms - waveforms.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + 1e-7)


def recorded(clip: NDArray, other: NDArray, generator: np.random.Generator) -> NDArray[np.float32]:
    """A clip as a microphone might hear it, `normalised`; `clip` and `other` have shape (samples,).

    Sometimes `other` talks in between (WavLM's utterance mixing, Chen et al. 2022, section 4.1), then a room, a
    channel and noise, all of them in one pass through the frequency domain.
    """
    heard = normalised(clip)
    if generator.random() < 0.25:
        heard = _talked_over(heard, normalised(other), generator)
    spectrum = np.fft.rfft(heard)
    frequencies = np.fft.rfftfreq(len(heard), 1 / SAMPLE_RATE).astype(np.float32)
    if generator.random() < 0.5:
        spectrum *= np.fft.rfft(_room(generator), len(heard))
    # Half of the noises are there before the channel, half of them come from it.
    noise_first = generator.random() < 0.5
    if noise_first:
        spectrum += _noise(spectrum, frequencies, generator)
    if generator.random() < 0.8:
        spectrum *= _channel(frequencies, generator)
    if not noise_first:
        spectrum += _noise(spectrum, frequencies, generator)
    return normalised(np.fft.irfft(spectrum, len(heard)))


def _clip(generator: random.Random) -> NDArray[np.int16]:
    """Somebody's speech, with the pauses it has."""
    voice, language, size = _voice(generator)
    spoken: list[NDArray] = []
    while sum(map(len, spoken)) < SAMPLES:
        words = synth.speak(_text(language, generator), voice)
        # A shorter vocal tract: formants and pitch higher by this factor.
        spoken.append(soxr.resample(words, SAMPLE_RATE * size, SAMPLE_RATE, quality="LQ"))
    clip = np.concatenate(spoken)[:SAMPLES]
    return np.round(clip * (32_000 / max(np.abs(clip).max(), 1e-3))).astype(np.int16)


def _voice(generator: random.Random) -> tuple[synth.Voice, str, float]:
    texts, languages, variants = _texts(), *_voices()
    chance = generator.random() - _SHARE_OF_ENGLISH
    if chance < 0:
        name, language = generator.choice(_ENGLISH), "en"
    elif chance < _SHARE_OF_GERMAN:
        name = language = "de"
    else:
        others = [*texts][2:] if chance < _SHARE_OF_GERMAN + _SHARE_OF_OTHER_TEXTS else languages
        name = language = generator.choice(others)
    size = generator.uniform(0.8, 1.25)
    voice = synth.Voice(
        f"{name}+{generator.choice(variants)}",
        rate=round(generator.uniform(110, 260) / size),
        pitch=generator.randint(5, 95),
        range=generator.randint(0, 99),
    )
    return voice, language, size


def _text(language: str, generator: random.Random) -> str:
    """Some words, half of which nobody has ever heard, and numbers, which eSpeak NG can say in every language."""
    vocabulary, said = _texts().get(language), []
    for _ in range(generator.randint(3, 12)):
        kind = generator.random()
        if vocabulary is None or kind < 0.3:
            said.append(_number(generator))
        elif kind < 0.65:
            said.append(generator.choice(vocabulary))
        else:
            first, second = generator.choice(vocabulary), generator.choice(vocabulary)
            said.append(first[: (len(first) + 1) // 2] + second[len(second) // 2 :])
        said[-1] += generator.choices(("", ",", ".", "?", "!"), (12, 2, 1, 1, 1))[0]
    return " ".join(said)


def _number(generator: random.Random) -> str:
    digits = str(generator.randrange(10 ** generator.randint(1, 4)))
    return digits if generator.random() < 0.5 else " ".join(digits)


@cache
def _texts() -> dict[str, list[str]]:
    """By language the words of article 1 of the Universal Declaration of Human Rights; in the first two also those of
    The North Wind and the Sun, the passage with which the International Phonetic Association illustrates languages."""
    words: dict[str, list[str]] = {}
    for line in resources.files("sure.pretraining").joinpath("texts.tsv").read_text(encoding="utf-8").splitlines():
        language, _, text = line.partition("\t")
        words.setdefault(language, []).extend(text.translate(str.maketrans("", "", ".,;")).split())
    return words


@cache
def _voices() -> tuple[list[str], list[str]]:
    """The languages and the variants of voices that eSpeak NG has."""
    folder = synth.data_folder()
    languages = {path.name.lower() for path in Path(folder, "lang").rglob("*") if path.is_file()}
    return sorted(languages - set(_MUTE)), sorted(path.name for path in Path(folder, "voices", "!v").iterdir())


def _talked_over(speech: NDArray, other: NDArray, generator: np.random.Generator) -> NDArray:
    """At most half of the clip, at 10 dB below to 5 dB above the speech."""
    length = int(len(speech) * generator.uniform(0.1, 0.5))
    to, start = generator.integers(len(speech) - length, size=2)
    mixed = speech.copy()
    mixed[to : to + length] += np.float32(10 ** (generator.uniform(-10, 5) / 20)) * other[start : start + length]
    return mixed


def _room(generator: np.random.Generator) -> NDArray[np.float32]:
    """An impulse response: the direct sound, then noise that falls by 60 dB within 0.1 to 0.9 seconds."""
    seconds = generator.uniform(0.1, 0.9)
    time = np.arange(int(seconds * SAMPLE_RATE / 2), dtype=np.float32) / SAMPLE_RATE
    tail = generator.standard_normal(len(time), dtype=np.float32) * np.exp(-6.9 / seconds * time)
    tail *= np.float32(10 ** (generator.uniform(-15, 0) / 20) / np.sqrt(np.square(tail).sum()))
    tail[0] = 1
    return tail


def _channel(frequencies: NDArray, generator: np.random.Generator) -> NDArray[np.float32]:
    """A gain per frequency: a curve within 12 dB up and down, and for some the edges of a narrow band."""
    octaves = np.log2(np.maximum(frequencies, 50) / 50)
    # Eight points from 50 Hz to 8 kHz.
    decibels = np.interp(octaves, np.linspace(0, 7.33, 8), generator.uniform(-12, 12, size=8))
    if generator.random() < 0.3:
        # 48 dB per octave, as a telephone cuts.
        decibels -= 48 * np.maximum(octaves - np.log2(generator.uniform(3000, 7500) / 50), 0)
    if generator.random() < 0.3:
        decibels -= 24 * np.maximum(np.log2(generator.uniform(80, 400) / 50) - octaves, 0)
    return (10 ** (decibels / 20)).astype(np.float32)


def _noise(spectrum: NDArray, frequencies: NDArray, generator: np.random.Generator) -> NDArray[np.complex64]:
    """The spectrum of stationary noise between white and brown, 5 to 50 dB below the speech."""
    parts = generator.standard_normal((2, len(spectrum)), dtype=np.float32)
    noise = (parts[0] + 1j * parts[1]) * np.maximum(frequencies, 50) ** -np.float32(generator.uniform(0, 1))
    ratio = 10 ** (-generator.uniform(5, 50) / 20)
    noise *= np.float32(ratio * np.linalg.norm(spectrum) / np.linalg.norm(noise))
    return noise.astype(np.complex64)
