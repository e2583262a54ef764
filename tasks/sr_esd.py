"""Speaker recognition on ESD, the Emotional Speech Database (Zhou et al. 2021, ICASSP), as SURE has it.

The corpus, its layouts and its splits are those of `esd_emotion`; the label is who speaks, whatever the emotion. Every
speaker, and every sentence, is in all splits: scores are of known speakers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sure.task.classification import ClassificationTask
from sure.tasks.esd_emotion import ESD


@dataclass
class ESDSpeakers(ClassificationTask):
    """The labels are the corpus' speakers, ten of each language."""

    metrics = ("accuracy", "macro_f1")
    for_new_speakers = False

    language: str = field(
        default="english", metadata={"help": "english (speakers 0011 to 0020), mandarin (0001 to 0010) or all."}
    )

    def __post_init__(self) -> None:
        self._emotional = ESD(language=self.language)

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        for row in self._emotional.utterances(data_dir):
            yield row | {"label": row["speaker"]}
