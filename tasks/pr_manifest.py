"""Phoneme recognition on your own recordings, listed in a CSV or JSONL manifest.

The manifest and its splits are those of `asr_manifest`: `path,text[,split,speaker,start,end]`. `--task_options
lexicon=FILE` makes phonemes of the words; the CMU Pronouncing Dictionary (https://github.com/cmusphinx/cmudict, BSD) is
one for English.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sure.task.speech_recognition.phonemes import PhonemeRecognitionTask
from sure.tasks.asr_manifest import ASRManifest


@dataclass
class PRManifest(PhonemeRecognitionTask):
    """In any language that has a lexicon."""

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        yield from ASRManifest().utterances(data_dir)
