"""Speech recognition on LibriSpeech, read audiobooks in English (Panayotov et al. 2015).

16 kHz FLAC; train-clean-100 has 100 hours by 251 speakers, each evaluation set about 5 hours; CC BY 4.0
(https://www.openslr.org/12).

Split: the release's own subsets; train-clean-100, dev-clean and test-clean unless the options say otherwise. No speaker
is in two of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sure.corpus.folders import listed, subfolders
from sure.errors import SureError
from sure.files import read_text
from sure.task.speech_recognition import SpeechRecognitionTask

_CHOICES = {
    "train": ("train-clean-100", "train-clean-360", "train-other-500"),
    "validation": ("dev-clean", "dev-other"),
    "test": ("test-clean", "test-other"),
}


@dataclass
class LibriSpeech(SpeechRecognitionTask):
    """`<subset>/<speaker>/<chapter>/*.flac` with `<speaker>-<chapter>.trans.txt`."""

    spoken_language: ClassVar[str | None] = "en"

    train: str = field(default="train-clean-100", metadata={"help": f"One of {', '.join(_CHOICES['train'])}."})
    validation: str = field(default="dev-clean", metadata={"help": f"One of {', '.join(_CHOICES['validation'])}."})
    test: str = field(default="test-clean", metadata={"help": f"One of {', '.join(_CHOICES['test'])}."})

    def __post_init__(self) -> None:
        super().__post_init__()
        for split, choices in _CHOICES.items():
            if getattr(self, split) not in choices:
                raise SureError(f"--task_options {split}={getattr(self, split)}: choose one of {', '.join(choices)}.")

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        # The archives unpack into a folder of this name.
        root = data_dir / "LibriSpeech" if (data_dir / "LibriSpeech").is_dir() else data_dir
        for split in _CHOICES:
            subset = root / getattr(self, split)
            if not subset.is_dir():
                raise SureError(
                    f"{subset}: no such folder (found: {listed(subfolders(root))}); expected the {split} subset of "
                    "LibriSpeech."
                )
            for speaker, speaker_folder in subfolders(subset).items():
                for chapter_folder in subfolders(speaker_folder).values():
                    for name, text in _transcripts(chapter_folder):
                        path = chapter_folder / f"{name}.flac"
                        if not path.is_file():
                            raise SureError(f"{path}: no such file, although its chapter has a transcript of it.")
                        row = {"id": name, "path": str(path), "speaker": speaker}
                        yield row | {"split": split, "text": text}


def _transcripts(chapter: Path) -> Iterator[tuple[str, str]]:
    """Names and texts of a chapter's utterances, from lines such as `84-121123-0000 GO DO YOU HEAR`."""
    table = chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt"
    if not table.is_file():
        raise SureError(f"{table}: no such file; every chapter of LibriSpeech has one.")
    for line in read_text(table).splitlines():
        name, _, text = line.partition(" ")
        if name:
            yield name, text
