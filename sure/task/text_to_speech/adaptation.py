"""Text-to-speech of several speakers: of each, sentences to learn from and sentences to be tested on."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sure.errors import SureError
from sure.registry import unknown
from sure.task.text_to_speech import TextToSpeechTask

# Sentences of a speaker: one for each split.
_FEWEST = 3


@dataclass
class SpeakerAdaptationTask(TextToSpeechTask):
    """On a corpus of several speakers: of each, sentences to learn from and sentences to be tested on.

    A subclass says where its speakers are and what they say. Of each speaker's sentences, sorted by id, the last tenth
    is the test split, the tenth before it validation, the rest train.
    """

    speakers: list[str] = field(
        default_factory=list, metadata={"help": "Whose voices to learn, such as [p225,p226]; all by default."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.speakers if isinstance(self.speakers, list) else str(self.speakers).split(",")
        self.speakers = sorted({str(speaker).strip() for speaker in given})

    @abstractmethod
    def speaker_folders(self, data_dir: Path) -> dict[str, Path]:
        """Every speaker of the corpus that has texts, with a folder. Raises `SureError` where there are none."""

    @abstractmethod
    def sentences(self, speaker: str, folder: Path) -> Iterator[tuple[str, Path, str]]:
        """Id, recording and text of each sentence of a speaker; an id is unique in the corpus."""

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        folders = self.speaker_folders(data_dir)
        for speaker in self.speakers or folders:
            if speaker not in folders:
                raise unknown(f"speaker of {data_dir}", speaker, list(folders))
            sentences = sorted(self.sentences(speaker, folders[speaker]))
            if len(sentences) < _FEWEST:
                raise SureError(
                    f"{folders[speaker]}: {len(sentences)} sentences with a text and a recording; {_FEWEST} are "
                    "needed: to learn from, to choose by and to be tested on."
                )
            for (name, path, text), split in zip(sentences, splits_in_order(len(sentences)), strict=True):
                yield {"id": name, "path": str(path), "speaker": speaker, "text": text, "split": split}


def splits_in_order(count: int, most: int | None = None) -> list[str]:
    """The splits of so many sorted sentences: train, then a tenth of validation and one of test, of at most `most`."""
    tenth = min(max(1, count // 10), most or count)
    return ["train"] * (count - 2 * tenth) + ["validation"] * tenth + ["test"] * tenth
