"""Single words in Speech Commands' layout."""

import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sure import audio
from sure.audio import SAMPLE_RATE
from sure.files import write_atomically
from sure.synth.espeak import forget, speak
from sure.synth.speakers import random_speaker, unfinished, varied

_COMMANDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
_WORDS = (*_COMMANDS, "cat", "four", "happy")
_TEST_SET = "speech_commands_test_set_v0.01"
# What each sample keeps of the sum of those before: the larger, the deeper the noise.
_NOISES = {"white_noise": 0.0, "pink_noise": 0.9, "running_tap": 0.5}


def make(
    output_dir: Path, seed: int = 0, train: int = 8, validation: int = 2, test: int = 2, takes: int = 2, noise: int = 8
) -> None:
    """A corpus in Speech Commands' layout: 13 words, so many speakers in each split, takes of each word by each.

    With `noise` seconds of each of three noises, and in `speech_commands_test_set_v0.01` what `test` further speakers
    say once, with as much noise for silence.
    """
    sizes = {"train": train, "validation": validation, "test": test, "takes": takes, "noise": noise}
    made = {"corpus": "speech_commands", "synthesiser": "eSpeak NG", "seed": seed, **sizes}
    with unfinished(Path(output_dir), made) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        splits = ["train"] * train + ["validation"] * validation + ["test"] * test + [_TEST_SET] * test
        lists: dict[str, list[str]] = {"validation": [], "test": []}
        with tqdm(total=len(splits) * len(_WORDS), unit="word", disable=None) as progress:
            for index, split in enumerate(splits):
                name, own = f"{generator.randrange(16**8):08x}", random_speaker(index, generator)
                for word in _WORDS:
                    label = word if word in _COMMANDS else "_unknown_"
                    for take in range(1 if split == _TEST_SET else takes):
                        place = f"{word}/{name}_nohash_{take}.wav"
                        if split == _TEST_SET:
                            place = f"{_TEST_SET}/{label}/{word}_{name}_nohash_{take}.wav"
                        audio.write(folder / place, _second(speak(word, varied(own, generator)), generator))
                        if split in lists:
                            lists[split].append(f"{place}\n")
                    progress.update()
        for name, names in (("validation_list.txt", lists["validation"]), ("testing_list.txt", lists["test"])):
            write_atomically(folder / name, "".join(sorted(names)))
        for number, (name, depth) in enumerate(_NOISES.items()):
            audio.write(folder / "_background_noise_" / f"{name}.wav", _noise(noise, depth, seed, number))
        for number in range(test * len(_WORDS) // 10):
            place = folder / _TEST_SET / "_silence_" / f"noise_{number}.wav"
            audio.write(place, _noise(1, 0.5 + number % 2 / 5, seed, len(_NOISES) + number))


def _second(spoken: NDArray[np.float32], generator: random.Random) -> NDArray[np.float32]:
    """A word somewhere in a second, as it was recorded."""
    before = generator.randrange(max(1, SAMPLE_RATE - len(spoken)))
    return np.pad(spoken, (before, SAMPLE_RATE))[:SAMPLE_RATE]


def _noise(seconds: int, depth: float, *seed: int) -> NDArray[np.float32]:
    white = np.random.default_rng(seed).normal(0, 0.05, size=seconds * SAMPLE_RATE)
    weights = depth ** np.arange(64)
    return np.convolve(white, weights / np.linalg.norm(weights))[: len(white)].astype(np.float32)
