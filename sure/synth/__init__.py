"""Small corpora in the real corpora's layouts, spoken by eSpeak NG: voices are speakers, prosody is emotion.

Nothing here is human speech, and every corpus says so in its `SYNTHETIC.json`. The same seed gives the same bytes; what
is complete is not made again, and a folder that holds anything else is refused with a `SureError`.
"""

import json
import random
import shutil
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from sure.audio import SAMPLE_RATE
from sure.errors import SureError
from sure.results import write_atomically
from sure.synth.espeak import Voice, Word, data_folder, forget, speak, speak_words
from sure.task import SYNTHETIC_MARKER

__all__ = [
    "CORPORA",
    "Voice",
    "Word",
    "data_folder",
    "esd",
    "fleurs",
    "forget",
    "libritts",
    "speak",
    "speak_words",
    "voxceleb",
]


def esd(
    output_dir: Path, seed: int = 0, speakers: int = 10, train: int = 12, evaluation: int = 3, test: int = 3
) -> None:
    """A corpus in ESD's layout: English speakers from 0011 on, five emotions, so many sentences in each split.

    As in ESD, every speaker says the same sentences in every emotion. An emotion shifts rate, pitch, range and volume
    from the speaker's own, and every utterance varies around that. Does nothing where this very corpus is complete;
    raises `SureError` where the folder holds another.
    """
    counts = {"evaluation": evaluation, "test": test, "train": train}
    made = {"corpus": "esd", "synthesiser": "eSpeak NG", "seed": seed, "speakers": speakers, "utterances": counts}
    with _unfinished(Path(output_dir), made) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        sentences = [_sentence(generator) for _ in range(sum(counts.values()))]
        splits = [split for split, count in counts.items() for _ in range(count)]
        with tqdm(total=speakers * len(_EMOTIONS) * len(sentences), unit="utterance", disable=None) as progress:
            for index in range(speakers):
                name, own = f"{11 + index:04d}", _speaker(index, generator)
                transcript = []
                for emotion, shift in _EMOTIONS.items():
                    for sentence, split in zip(sentences, splits, strict=True):
                        path = folder / name / emotion / split / f"{name}_{len(transcript) + 1:06d}.wav"
                        _write(path, speak(sentence, _varied(own, generator, shift)))
                        transcript.append(f"{path.stem}\t{sentence}\t{emotion}\n")
                        progress.update()
                write_atomically(folder / name / f"{name}.txt", "".join(transcript))


def fleurs(
    output_dir: Path, seed: int = 0, language: str = "en_us", train: int = 120, dev: int = 30, test: int = 30
) -> None:
    """A corpus in the layout of FLEURS' raw release: English sentences with numbers, so many in each split.

    The speakers of a split are in no other; as in the release they are not named.
    """
    counts = {"train": train, "dev": dev, "test": test}
    made = {"corpus": "fleurs", "synthesiser": "eSpeak NG", "seed": seed, "language": language, "utterances": counts}
    with _unfinished(Path(output_dir), made) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        speakers = iter([_speaker(index, generator) for index in range(16)])
        with tqdm(total=sum(counts.values()), unit="utterance", disable=None) as progress:
            for split, members in {"train": 8, "dev": 4, "test": 4}.items():
                people = [(index, next(speakers)) for index in range(members)]
                lines = []
                for number in range(counts[split]):
                    index, own = people[number % members]
                    sentence, _ = _counted(generator)
                    text = sentence.lower().rstrip(".")
                    characters = " | ".join(" ".join(word) for word in text.split()) + " |"
                    name = f"{generator.randrange(10**19, 10**20)}.wav"
                    waveform = speak(sentence, _varied(own, generator))
                    _write(folder / language / "audio" / split / name, waveform)
                    gender = "FEMALE" if index % 2 == 0 else "MALE"
                    cells = (number + 1, name, sentence, text, characters, len(waveform), gender)
                    lines.append("\t".join(map(str, cells)) + "\n")
                    progress.update()
                write_atomically(folder / language / f"{split}.tsv", "".join(lines))


def voxceleb(
    output_dir: Path,
    seed: int = 0,
    speakers: int = 40,
    test_speakers: int = 8,
    sessions: int = 3,
    utterances: int = 2,
) -> None:
    """A corpus in VoxCeleb1's layout: so many speakers in `dev` and in `test`, their sessions, utterances in each.

    `veri_test.txt` has every target trial between two sessions of a test speaker, each followed by one between two
    speakers.
    """
    sizes = {"speakers": speakers, "test_speakers": test_speakers, "sessions": sessions, "utterances": utterances}
    with _unfinished(
        Path(output_dir), {"corpus": "voxceleb", "synthesiser": "eSpeak NG", "seed": seed, **sizes}
    ) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        tested: dict[str, list[str]] = {}
        with tqdm(total=(speakers + test_speakers) * sessions * utterances, unit="utterance", disable=None) as progress:
            for index in range(speakers + test_speakers):
                name, own = f"id{10001 + index}", _speaker(index, generator)
                own = replace(own, name=own.name.replace("en-us", generator.choice(_ACCENTS)))
                for _ in range(sessions):
                    video = "".join(generator.choices(_VIDEO, k=11))
                    # Another day: the voice is a little different.
                    that_day = _varied(own, generator)
                    for utterance in range(utterances):
                        text = f"{_sentence(generator)} {_sentence(generator)}"
                        path = f"{name}/{video}/{utterance + 1:05d}.wav"
                        part = "dev" if index < speakers else "test"
                        _write(folder / part / "wav" / path, speak(text, _varied(that_day, generator)))
                        if part == "test":
                            tested.setdefault(name, []).append(path)
                        progress.update()
        targets = [
            (one, other)
            for paths in tested.values()
            for one, other in combinations(paths, 2)
            if one.split("/")[1] != other.split("/")[1]
        ]
        lines = []
        for one, other in targets:
            stranger = generator.choice([name for name in tested if name != one.split("/")[0]])
            lines += [f"1 {one} {other}\n", f"0 {one} {generator.choice(tested[stranger])}\n"]
        write_atomically(folder / "veri_test.txt", "".join(lines))


def libritts(
    output_dir: Path, seed: int = 0, speakers: int = 8, chapters: int = 2, utterances: int = 10, test: int = 3
) -> None:
    """A corpus in LibriTTS' layout, 24 kHz: so many speakers in `train-clean-100`, their chapters, utterances in each.

    `dev-clean` and `test-clean` have `test` further speakers each. Beside each recording lie its text as said and,
    with numbers as digits, as written; `speakers.tsv` names every speaker's gender and part.
    """
    sizes = {"speakers": speakers, "chapters": chapters, "utterances": utterances, "test": test}
    with _unfinished(
        Path(output_dir), {"corpus": "libritts", "synthesiser": "eSpeak NG", "seed": seed, **sizes}
    ) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        parts = ["train-clean-100"] * speakers + ["dev-clean"] * test + ["test-clean"] * test
        listed = ["READER\tGENDER\tSUBSET\tNAME\n"]
        with tqdm(total=len(parts) * chapters * utterances, unit="utterance", disable=None) as progress:
            for index, part in enumerate(parts):
                speaker, own = 100 + index, _speaker(index, generator)
                listed.append(f"{speaker}\t{'FM'[index % 2]}\t{part}\t{own.name}\n")
                for chapter in range(1000 * index, 1000 * index + chapters):
                    for utterance in range(utterances):
                        name = f"{speaker}_{chapter}_{utterance:06d}_000000"
                        said, number = _counted(generator)
                        path = folder / part / str(speaker) / str(chapter) / f"{name}.wav"
                        waveform = speak(said, _varied(own, generator))
                        _write(path, soxr.resample(waveform, SAMPLE_RATE, 24_000), 24_000)
                        write_atomically(path.with_suffix(".normalized.txt"), said)
                        write_atomically(path.with_suffix(".original.txt"), f"{number} {said.partition(' ')[2]}")
                        progress.update()
        write_atomically(folder / "speakers.tsv", "".join(listed))


CORPORA: dict[str, Callable] = {"esd": esd, "fleurs": fleurs, "libritts": libritts, "voxceleb": voxceleb}

# Change of rate (words per minute), pitch, range and volume.
_EMOTIONS = {
    "Angry": (35, 12, 20, 60),
    "Happy": (20, 22, 35, 20),
    "Neutral": (0, 0, -15, 0),
    "Sad": (-40, -14, -35, -35),
    "Surprise": (5, 32, 55, 30),
}
_SUBJECTS = ("My sister", "The old man", "Your friend", "A small dog", "The teacher", "Nobody", "Every child")
_VERBS = ("found", "wanted", "forgot", "carried", "painted", "opened", "lost")
_OBJECTS = ("the blue letter", "a warm coat", "seven apples", "the garden door", "an empty box", "the morning paper")


_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
_ACCENTS = ("en-us", "en", "en-gb-scotland", "en-029", "en-us-nyc")
# Of a video's id on YouTube.
_VIDEO = string.ascii_letters + string.digits + "-_"


def _counted(generator: random.Random) -> tuple[str, int]:
    """A sentence that begins with a number word, and that number."""
    number, sentence = generator.randint(2, 9), _sentence(generator)
    return f"{_NUMBERS[number - 2].capitalize()} times {sentence[0].lower()}{sentence[1:]}", number


def _sentence(generator: random.Random) -> str:
    return f"{generator.choice(_SUBJECTS)} {generator.choice(_VERBS)} {generator.choice(_OBJECTS)}."


def _speaker(index: int, generator: random.Random) -> Voice:
    """Women and men in turns; variants of the voice, and a rate and pitch of their own."""
    variant = f"{'fm'[index % 2]}{1 + index // 2 % 4}"
    pitch = generator.randint(48, 62) if index % 2 == 0 else generator.randint(28, 44)
    return Voice(f"en-us+{variant}", rate=generator.randint(165, 190), pitch=pitch, range=45, volume=60)


def _varied(own: Voice, generator: random.Random, shift: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Voice:
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


def _write(path: Path, waveform: NDArray[np.float32], rate: int = SAMPLE_RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate, subtype="PCM_16")


@contextmanager
def _unfinished(output_dir: Path, made: dict) -> Iterator[Path | None]:
    """A folder to make a corpus in, which becomes `output_dir` when all is made; None where it is there already."""
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
