"""Phoneme recognition on LibriSpeech, as SURE and SUPERB (Yang et al. 2021) have it.

The corpus is that of `asr_librispeech`. `--task_options lexicon=FILE` makes phonemes of its words, with their stress: in
SUPERB the two lexicons of s3prl's `downstream/ctc/lexicon`, one after the other in one file (`cat`), which lack no word;
`librispeech-lexicon.txt` of https://www.openslr.org/11 (public domain) lacks some, which is an error.

Split: train-clean-100, dev-clean and test-clean. No speaker is in two of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sure.task.speech_recognition.phonemes import PhonemeRecognitionTask
from sure.tasks.asr_librispeech import LibriSpeech


@dataclass
class LibriSpeechPhonemes(PhonemeRecognitionTask):
    """The vocabulary is that of the training split, where SUPERB's also has its lexicon's SIL and SPN, never learnt."""

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        yield from LibriSpeech().utterances(data_dir)
