"""Sentences of several speakers in LibriSpeech's layout, and a lexicon of their words."""

import random
from pathlib import Path

from tqdm import tqdm

from sure import audio
from sure.files import write_atomically
from sure.synth.espeak import forget, phonemes, speak
from sure.synth.speakers import counted_sentence, random_speaker, unfinished, varied


def make(
    output_dir: Path, seed: int = 0, speakers: int = 8, chapters: int = 2, utterances: int = 8, test: int = 3
) -> None:
    """A corpus in LibriSpeech's layout: so many speakers in `train-clean-100`, their chapters, utterances in each.

    `dev-clean` and `test-clean` have `test` further speakers each. `lexicon.txt` has the words' phonemes as eSpeak NG
    says them.
    """
    sizes = {"speakers": speakers, "chapters": chapters, "utterances": utterances, "test": test}
    made = {"corpus": "librispeech", "synthesiser": "eSpeak NG", "seed": seed, **sizes}
    with unfinished(Path(output_dir), made) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        parts = ["train-clean-100"] * speakers + ["dev-clean"] * test + ["test-clean"] * test
        said = set()
        with tqdm(total=len(parts) * chapters * utterances, unit="utterance", disable=None) as progress:
            for index, part in enumerate(parts):
                speaker, own = 100 + index, random_speaker(index, generator)
                for chapter in range(1000 * index, 1000 * index + chapters):
                    place, lines = folder / "LibriSpeech" / part / str(speaker) / str(chapter), []
                    for number in range(utterances):
                        name, (sentence, _) = f"{speaker}-{chapter}-{number:04d}", counted_sentence(generator)
                        text = sentence.upper().rstrip(".")
                        audio.write(place / f"{name}.flac", speak(sentence, varied(own, generator)))
                        lines.append(f"{name} {text}\n")
                        said |= set(text.split())
                        progress.update()
                    write_atomically(place / f"{speaker}-{chapter}.trans.txt", "".join(lines))
        lexicon = (f"{word}\t{' '.join(phonemes(word.lower(), 'en-us'))}\n" for word in sorted(said))
        write_atomically(folder / "lexicon.txt", "".join(lexicon))
