"""Who speaks and what is said in synthetic corpora, and how their folders come to be."""

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sure.corpus.folders import SYNTHETIC_MARKER
from sure.errors import SureError
from sure.files import write_atomically
from sure.synth.espeak import Voice

_SUBJECTS = ("My sister", "The old man", "Your friend", "A small dog", "The teacher", "Nobody", "Every child")
_VERBS = ("found", "wanted", "forgot", "carried", "painted", "opened", "lost")
_OBJECTS = ("the blue letter", "a warm coat", "seven apples", "the garden door", "an empty box", "the morning paper")


_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")


def counted_sentence(generator: random.Random) -> tuple[str, int]:
    """A sentence that begins with a number word, and that number."""
    number, sentence = generator.randint(2, 9), random_sentence(generator)
    return f"{_NUMBERS[number - 2].capitalize()} times {sentence[0].lower()}{sentence[1:]}", number


def random_sentence(generator: random.Random) -> str:
    return f"{generator.choice(_SUBJECTS)} {generator.choice(_VERBS)} {generator.choice(_OBJECTS)}."


def random_speaker(index: int, generator: random.Random) -> Voice:
    """Women and men in turns; variants of the voice, and a rate and pitch of their own."""
    variant = f"{'fm'[index % 2]}{1 + index // 2 % 4}"
    pitch = generator.randint(48, 62) if index % 2 == 0 else generator.randint(28, 44)
    return Voice(f"en-us+{variant}", rate=generator.randint(165, 190), pitch=pitch, range=45, volume=60)


def varied(own: Voice, generator: random.Random, shift: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Voice:
    """A voice around a shift from the speaker's own, as no utterance is like another."""
    rate, pitch, spread, volume = shift

    def around(value: int, jitter: int, lowest: int, highest: int) -> int:
        return min(max(value + generator.randint(-jitter, jitter), lowest), highest)

    return Voice(
        own.name,
        rate=around(own.rate + rate, 12, 90, 300),
        pitch=around(own.pitch + pitch, 5, 0, 99),
        range=around(own.range + spread, 8, 0, 99),
        volume=around(own.volume + volume, 10, 20, 200),
    )


@contextmanager
def unfinished(output_dir: Path, made: dict) -> Iterator[Path | None]:
    """A folder to make a corpus in, which becomes `output_dir` when all is made; None where it is there already.

    Raises `SureError` where something else is there.
    """
    output_dir = output_dir.resolve()
    marker = output_dir / SYNTHETIC_MARKER
    if marker.exists():
        before = json.loads(marker.read_text(encoding="utf-8"))
        if before != made:
            raise SureError(f"{output_dir} holds another synthetic corpus ({before}). Choose another folder.")
        yield None
        return
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise SureError(f"{output_dir} is there already and holds no synthetic corpus. Choose a new folder.")
    partial = output_dir.with_name(f"{output_dir.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    write_atomically(partial / SYNTHETIC_MARKER, json.dumps(made, indent=2) + "\n")
    partial.replace(output_dir)
