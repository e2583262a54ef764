"""Phoneme recognition: a lexicon makes phonemes of texts, and CTC learns them (SUPERB, Yang et al. 2021).

SURE trains it on LibriSpeech's train-clean-100 with a batch of 64 for 30 epochs, the bottleneck adapter for 100.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from sure.corpus.folders import listed
from sure.errors import SureError
from sure.files import read_text
from sure.task.speech_recognition.normalisation import SEPARATOR, words
from sure.task.speech_recognition.tokens import WORDS, Units
from sure.task.speech_recognition.transcription import TranscriptionTask


@dataclass
class PhonemeRecognitionTask(TranscriptionTask):
    """The phonemes of what was said. The rows of `utterances` have a `text` of words.

    A word has the first pronunciation that the lexicon gives it, as in SUPERB, and one that it lacks is an error. Words
    are looked up in lower case, without punctuation, parted at hyphens; first with an apostrophe that one begins or
    ends with, as 'tis, then without. A corpus' fingerprint is that of its phonemes.
    """

    metrics: ClassVar[tuple[str, ...]] = ("phoneme_error_rate",)
    # As in SURE's release.
    patience: ClassVar[int] = 5
    units: ClassVar[Units] = WORDS

    lexicon: str | None = field(
        default=None,
        metadata={
            "help": "Needed to train: a text file of lines such as HELLO HH AH0 L OW1, a word and its phonemes, as "
            "LibriSpeech's lexicon and the CMU Pronouncing Dictionary are; the first line of a word counts."
        },
    )

    def transcripts(self, texts: Sequence[str]) -> list[str]:
        """Raises `SureError` where there is no lexicon, and for words that it lacks, naming them."""
        if self.lexicon is None:
            raise SureError(
                f"--task_options lexicon=FILE is missing: {self.name} needs the phonemes of words, a line for each, "
                "such as HELLO HH AH0 L OW1."
            )
        pronunciations, unknown = read_lexicon(Path(self.lexicon)), set()

        def phonemes(word: str) -> str:
            bare = word.strip("'")
            found = pronunciations.get(word) or pronunciations.get(bare)
            if not found and bare:
                unknown.add(bare)
            return found or ""

        spoken = [[phonemes(word) for word in words(text.replace("-", " "))] for text in texts]
        if unknown:
            raise SureError(
                f"{self.lexicon}: {len(unknown)} of the corpus' words are not in it: {listed(sorted(unknown))}. Add a "
                "line for each, the word and then its phonemes."
            )
        return [SEPARATOR.join(filter(None, of_words)) for of_words in spoken]


def read_lexicon(path: Path) -> dict[str, str]:
    """By word, in lower case, its first pronunciation: phonemes with a space in between.

    What follows ` #`, and a line that begins with `;;;`, is a comment. Raises `SureError` for a file that cannot be
    read, and for a word without phonemes, naming the line.
    """
    pronunciations: dict[str, str] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        word, *phonemes = line.partition(" #")[0].split() or [""]
        if not word or word.startswith(";;;"):
            continue
        if not phonemes:
            raise SureError(f"{path}, line {number}: {word!r} has no phonemes; expected a word, then its phonemes.")
        pronunciations.setdefault(word.lower(), SEPARATOR.join(phonemes))
    return pronunciations
