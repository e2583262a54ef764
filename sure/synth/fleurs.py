"""Sentences in the layout of FLEURS' raw release."""

import random
from pathlib import Path

from tqdm import tqdm

from sure import audio
from sure.files import write_atomically
from sure.synth.espeak import Voice, forget, speak
from sure.synth.speakers import counted_sentence, random_speaker, unfinished, varied


def make(
    output_dir: Path, seed: int = 0, language: str = "en_us", train: int = 120, dev: int = 30, test: int = 30
) -> None:
    """A corpus in the layout of FLEURS' raw release: English sentences with numbers, so many in each split.

    The speakers of a split are in no other; as in the release they are not named.
    """
    counts = {"train": train, "dev": dev, "test": test}
    made = {"corpus": "fleurs", "synthesiser": "eSpeak NG", "seed": seed, "language": language, "utterances": counts}
    with unfinished(Path(output_dir), made) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        speakers = iter([random_speaker(index, generator) for index in range(16)])
        with tqdm(total=sum(counts.values()), unit="utterance", disable=None) as progress:
            for split, members in {"train": 8, "dev": 4, "test": 4}.items():
                people = [(index, next(speakers)) for index in range(members)]
                lines = []
                for number in range(counts[split]):
                    index, own = people[number % members]
                    sentence, _ = counted_sentence(generator)
                    gender = "FEMALE" if index % 2 == 0 else "MALE"
                    place = folder / language / "audio" / split
                    lines.append(utterance(place, number + 1, sentence, own, gender, generator))
                    progress.update()
                write_atomically(folder / language / f"{split}.tsv", "".join(lines))


def utterance(folder: Path, number: int, sentence: str, voice: Voice, gender: str, generator: random.Random) -> str:
    """Speak a sentence into a folder of FLEURS' audio; gives its line of the table beside."""
    text = sentence.lower().rstrip(".")
    characters = " | ".join(" ".join(word) for word in text.split()) + " |"
    name = f"{generator.randrange(10**19, 10**20)}.wav"
    waveform = speak(sentence, varied(voice, generator))
    audio.write(folder / name, waveform)
    return "\t".join(map(str, (number, name, sentence, text, characters, len(waveform), gender))) + "\n"
