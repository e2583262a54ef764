"""Emotion in ESD's layout: prosody is emotion."""

import random
from pathlib import Path

from tqdm import tqdm

from sure import audio
from sure.files import write_atomically
from sure.synth.espeak import forget, speak
from sure.synth.speakers import random_sentence, random_speaker, unfinished, varied


def make(
    output_dir: Path, seed: int = 0, speakers: int = 10, train: int = 12, evaluation: int = 3, test: int = 3
) -> None:
    """A corpus in ESD's layout: English speakers from 0011 on, five emotions, so many sentences in each split.

    As in ESD, every speaker says the same sentences in every emotion. An emotion shifts rate, pitch, range and volume
    from the speaker's own, and every utterance varies around that. Does nothing where this very corpus is complete;
    raises `SureError` where the folder holds another.
    """
    counts = {"evaluation": evaluation, "test": test, "train": train}
    made = {"corpus": "esd", "synthesiser": "eSpeak NG", "seed": seed, "speakers": speakers, "utterances": counts}
    with unfinished(Path(output_dir), made) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        sentences = [random_sentence(generator) for _ in range(sum(counts.values()))]
        splits = [split for split, count in counts.items() for _ in range(count)]
        with tqdm(total=speakers * len(_EMOTIONS) * len(sentences), unit="utterance", disable=None) as progress:
            for index in range(speakers):
                name, own = f"{11 + index:04d}", random_speaker(index, generator)
                transcript = []
                for emotion, shift in _EMOTIONS.items():
                    for sentence, split in zip(sentences, splits, strict=True):
                        path = folder / name / emotion / split / f"{name}_{len(transcript) + 1:06d}.wav"
                        audio.write(path, speak(sentence, varied(own, generator, shift)))
                        transcript.append(f"{path.stem}\t{sentence}\t{emotion}\n")
                        progress.update()
                write_atomically(folder / name / f"{name}.txt", "".join(transcript))


# Change of rate (words per minute), pitch, range and volume.
_EMOTIONS = {
    "Angry": (35, 12, 20, 60),
    "Happy": (20, 22, 35, 20),
    "Neutral": (0, 0, -15, 0),
    "Sad": (-40, -14, -35, -35),
    "Surprise": (5, 32, 55, 30),
}
