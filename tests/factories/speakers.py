"""A task of speaker verification without a corpus, for tests."""

import math
from dataclasses import dataclass, field

from sure.task.speaker_verification import SpeakerVerificationTask


@dataclass
class FourSpeakers(SpeakerVerificationTask):
    """A real task with no corpus."""

    training_speakers: int = 4
    rows: list = field(default_factory=list)

    def utterances(self, data_dir):
        yield from self.rows


def rows_of(speakers, utterances, split=None, first=0):
    return [
        {"id": f"s{speaker}/{number:02d}", "path": "-", "speaker": f"s{speaker}", "split": split}
        for speaker in range(first, first + speakers)
        for number in range(utterances)
    ]


def loaded(tmp_path, **options):
    """Four training speakers, three of validation and three of test, with two utterances each."""
    rows = rows_of(4, 2, "train") + rows_of(3, 2, "validation", 4) + rows_of(3, 2, "test", 7)
    task = FourSpeakers(rows=rows, **options)
    task.load(tmp_path)
    return task


def cosine(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)
