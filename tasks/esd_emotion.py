"""Emotion classification on ESD, the Emotional Speech Database (Zhou et al. 2021, ICASSP; 2022, Speech Communication).

English (speakers 0011 to 0020) and Mandarin (0001 to 0010), 350 sentences per speaker in each of 5 emotions, 16 kHz;
for research by licence (https://hltsingapore.github.io/ESD/).

Split: the release's own folders `train`, `evaluation` (here: validation) and `test`. Newer releases come without
them: there the files of each speaker and emotion are sorted, the first 20 of 350 are validation, the next 30 test, the
rest train, in proportion where a folder has fewer. That this order is the one of the original release (evaluation has
the lowest numbers, then test) is unconfirmed. Every speaker, and every sentence, is in all splits: scores do not tell
how a method does on new speakers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sure.corpus.folders import audio_files, listed, subfolders
from sure.errors import SureError
from sure.task import learned
from sure.task.classification import ClassificationTask

_SPLITS = {"train": "train", "evaluation": "validation", "test": "test"}
_SPEAKERS = {"mandarin": range(1, 11), "english": range(11, 21), "all": range(1, 21)}
_LABELS = ["Angry", "Happy", "Neutral", "Sad", "Surprise"]
# Of the 350 utterances of a speaker in one emotion.
_VALIDATION, _TEST, _ALL = 20, 30, 350


@dataclass
class ESD(ClassificationTask):
    """`<speaker>/<Emotion>/<train|evaluation|test>/*.wav`, or `<speaker>/<Emotion>/*.wav`."""

    labels: list[str] = field(default_factory=lambda: list(_LABELS), metadata=learned("Its emotions."))
    language: str = field(
        default="english", metadata={"help": "english (speakers 0011 to 0020), mandarin (0001 to 0010) or all."}
    )

    def __post_init__(self) -> None:
        if self.language not in list(_SPEAKERS):
            raise SureError(f"--task_options language={self.language}: choose one of {', '.join(_SPEAKERS)}.")

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        for speaker, folder in self._speakers(data_dir).items():
            emotions = subfolders(folder)
            missing = [emotion for emotion in self.labels if emotion not in emotions]
            if missing:
                raise SureError(
                    f"ESD speaker folder {folder} has no {missing[0]!r} (found: {listed(emotions)}); expected "
                    f"{', '.join(self.labels)}."
                )
            for emotion in self.labels:
                for split, path in _split_files(emotions[emotion]):
                    row = {"id": f"{speaker}/{emotion}/{path.stem}", "path": str(path), "speaker": speaker}
                    yield row | {"label": emotion, "split": split}

    def _speakers(self, data_dir: Path) -> dict[str, Path]:
        folders = subfolders(data_dir)
        # The archive unpacks into a folder of its own.
        if not any(_is_speaker(name) for name in folders) and len(folders) == 1:
            folders = subfolders(next(iter(folders.values())))
        speakers = {name: folder for name, folder in folders.items() if _is_speaker(name)}
        if not speakers:
            raise SureError(
                f"{data_dir}: no ESD speaker folders (0001 to 0020) here, found {listed(folders)}. Expected "
                "<speaker>/<Emotion>/<train|evaluation|test>/*.wav or <speaker>/<Emotion>/*.wav."
            )
        chosen = {name: folder for name, folder in speakers.items() if int(name) in _SPEAKERS[self.language]}
        if not chosen:
            raise SureError(
                f"{data_dir}: no {self.language} speakers of ESD (found {listed(speakers)}); the others are chosen by "
                "--task_options language=english, mandarin or all."
            )
        return chosen


def _is_speaker(name: str) -> bool:
    return len(name) == 4 and name.isdigit() and int(name) in _SPEAKERS["all"]


def _split_files(folder: Path) -> Iterator[tuple[str, Path]]:
    folders = subfolders(folder)
    present = [name for name in _SPLITS if name in folders]
    if present and len(present) < len(_SPLITS):
        absent = next(name for name in _SPLITS if name not in folders)
        raise SureError(f"{folder} has no {absent!r} (found: {listed(folders)}); expected {', '.join(_SPLITS)}.")
    for name in present:
        yield from ((_SPLITS[name], path) for path in audio_files(folders[name]))
    if not present:
        files = audio_files(folder)
        validation = len(files) * _VALIDATION // _ALL
        test = validation + len(files) * _TEST // _ALL
        for index, path in enumerate(files):
            yield "validation" if index < validation else "test" if index < test else "train", path
