"""Speakers in VoxCeleb1's layout, with trials."""

import random
import string
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from tqdm import tqdm

from sure import audio
from sure.files import write_atomically
from sure.synth.espeak import forget, speak
from sure.synth.speakers import random_sentence, random_speaker, unfinished, varied


def make(
    output_dir: Path,
    seed: int = 0,
    speakers: int = 40,
    test_speakers: int = 8,
    sessions: int = 3,
    utterances: int = 2,
) -> None:
    """A corpus in VoxCeleb1's layout: so many speakers in `dev` and in `test`, their sessions, utterances in each.

    `veri_test.txt` has every target trial between two sessions of a test speaker, each followed by one between two
    speakers. `iden_split.txt` has of each speaker the last utterance for test, the one before for validation.
    """
    sizes = {"speakers": speakers, "test_speakers": test_speakers, "sessions": sessions, "utterances": utterances}
    with unfinished(
        Path(output_dir), {"corpus": "voxceleb", "synthesiser": "eSpeak NG", "seed": seed, **sizes}
    ) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        tested: dict[str, list[str]] = {}
        identified = []
        with tqdm(total=(speakers + test_speakers) * sessions * utterances, unit="utterance", disable=None) as progress:
            for index in range(speakers + test_speakers):
                name, own = f"id{10001 + index}", random_speaker(index, generator)
                own = replace(own, name=own.name.replace("en-us", generator.choice(_ACCENTS)))
                paths = []
                for _ in range(sessions):
                    video = "".join(generator.choices(_VIDEO, k=11))
                    # Another day: the voice is a little different.
                    that_day = varied(own, generator)
                    for utterance in range(utterances):
                        text = f"{random_sentence(generator)} {random_sentence(generator)}"
                        path = f"{name}/{video}/{utterance + 1:05d}.wav"
                        part = "dev" if index < speakers else "test"
                        audio.write(folder / part / "wav" / path, speak(text, varied(that_day, generator)))
                        paths.append(path)
                        progress.update()
                if index >= speakers:
                    tested[name] = paths
                splits = [1] * (len(paths) - 2) + [2, 3]
                identified += [f"{split} {path}\n" for split, path in zip(splits, paths, strict=True)]
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
        write_atomically(folder / "iden_split.txt", "".join(identified))


_ACCENTS = ("en-us", "en", "en-gb-scotland", "en-029", "en-us-nyc")
# Of a video's id on YouTube.
_VIDEO = string.ascii_letters + string.digits + "-_"
