"""Sentences of several speakers in LibriTTS' layout."""

import random
from pathlib import Path

import soxr
from tqdm import tqdm

from sure import audio
from sure.audio import SAMPLE_RATE
from sure.files import write_atomically
from sure.synth.espeak import forget, speak
from sure.synth.speakers import counted_sentence, random_speaker, unfinished, varied


def make(
    output_dir: Path, seed: int = 0, speakers: int = 8, chapters: int = 2, utterances: int = 10, test: int = 3
) -> None:
    """A corpus in LibriTTS' layout, 24 kHz: so many speakers in `train-clean-100`, their chapters, utterances in each.

    `dev-clean` and `test-clean` have `test` further speakers each. Beside each recording lie its text as said and,
    with numbers as digits, as written; `speakers.tsv` names every speaker's gender and part.
    """
    sizes = {"speakers": speakers, "chapters": chapters, "utterances": utterances, "test": test}
    with unfinished(
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
                speaker, own = 100 + index, random_speaker(index, generator)
                listed.append(f"{speaker}\t{'FM'[index % 2]}\t{part}\t{own.name}\n")
                for chapter in range(1000 * index, 1000 * index + chapters):
                    for utterance in range(utterances):
                        name = f"{speaker}_{chapter}_{utterance:06d}_000000"
                        said, number = counted_sentence(generator)
                        path = folder / part / str(speaker) / str(chapter) / f"{name}.wav"
                        waveform = speak(said, varied(own, generator))
                        audio.write(path, soxr.resample(waveform, SAMPLE_RATE, 24_000), 24_000)
                        write_atomically(path.with_suffix(".normalized.txt"), said)
                        write_atomically(path.with_suffix(".original.txt"), f"{number} {said.partition(' ')[2]}")
                        progress.update()
        write_atomically(folder / "speakers.tsv", "".join(listed))
