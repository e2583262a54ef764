"""Corpora of empty files, which is what a task reads before audio is decoded, and of noise or speech to train on."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile

from sure.synth import esd, speakers, voxceleb

WORDS = ("one", "two", "three", "don't")


def touch(folder: Path, *names: str) -> Path:
    """Make empty files, and the folders they lie in."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def write(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    """A text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding=encoding)
    return path


def noise_in_fleurs_layout(folder: Path, train: int = 10, dev: int = 5, test: int = 7) -> Path:
    """So many utterances of one to three words; each word is a noise of its own length, up to 0.5 s."""
    generator = np.random.default_rng(0)
    for split, count in (("train", train), ("dev", dev), ("test", test)):
        lines = []
        (folder / "audio" / split).mkdir(parents=True)
        for number in range(count):
            words = generator.choice(WORDS, size=1 + number % 3)
            waveform = np.concatenate(
                [generator.normal(0, 0.1, size=3000 + 1500 * WORDS.index(word)) for word in words]
            )
            soundfile.write(folder / "audio" / split / f"{number}.wav", waveform, 16_000)
            text = " ".join(words)
            lines.append("\t".join([str(number), f"{number}.wav", text.upper(), text, "", str(len(waveform)), "MALE"]))
        write(folder / f"{split}.tsv", *lines)
    return folder


def noise_with_labels(folder: Path, *labels: str) -> Path:
    """For `audio_classification`: for each label two utterances of noise to train on, and one in each other split."""
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["path,label,split"]
    for number, split in enumerate(("train", "train", "validation", "test")):
        for label in labels:
            soundfile.write(folder / f"{label}-{number}.wav", generator.normal(0, 0.1, size=8000), 16_000)
            lines.append(f"{label}-{number}.wav,{label},{split}")
    write(folder / "manifest.csv", *lines)
    return folder


@contextmanager
def short_sentences() -> Iterator[None]:
    """Corpora of `sure.synth` take as long to learn from as their sentences are."""
    said = ("Stop.", "Go on.", "Say this.", "Wait here.")
    with ExitStack() as patched:
        for module in (esd, speakers, voxceleb):
            patched.enter_context(
                mock.patch.object(module, "random_sentence", lambda generator: generator.choice(said))
            )
        yield
