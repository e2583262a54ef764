"""Phoneme recognition on LibriSpeech, as SURE and SUPERB (Yang et al. 2021) have it.

The corpus is that of `asr_librispeech`, CC BY 4.0 (https://www.openslr.org/12). `--task_options lexicon=FILE` makes
phonemes of its words, with their stress. SUPERB's are two files of https://huggingface.co/datasets/s3prl/g2p, put into
one: librispeech-lexicon-200k-g2p.txt, then librispeech-lexicon-allothers-g2p.txt with what the first lacks.

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
