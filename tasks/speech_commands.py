"""Keyword spotting on Speech Commands, single English words by thousands of volunteers (Warden 2018, arXiv 1804.03209).

64,721 recordings of 30 words (v0.01) or 105,829 of 35 (v0.02), a second each at 16 kHz, CC BY 4.0
(http://download.tensorflow.org/data/speech_commands_v0.01.tar.gz).

Split: the release's `validation_list.txt` and `testing_list.txt`; what is on neither trains. No speaker is in two
splits. What is told apart is an option:

- `words=sure`: the 11 words of SURE (Li et al. 2023), which takes them from v0.01.
- `words=superb`: the 12 classes of SUPERB (Yang et al. 2021; s3prl's `downstream/speech_commands`) on v0.01: ten words,
  `_unknown_` for any other, `_silence_` for background noise. The test split is the release's own test set,
  speech_commands_test_set_v0.01.tar.gz in a folder `speech_commands_test_set_v0.01` beside this one or in it, and what
  `testing_list.txt` names is left out. Silence: every whole second of the release's long noises is an utterance, those
  of `running_tap.wav` for validation, as in TensorFlow Datasets. s3prl takes a random second of a noise instead, each
  time one is drawn, and draws all classes equally often; `--class_weights balanced` has that effect on the loss.
- `words=all`: every word of the corpus.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sure import audio
from sure.corpus.folders import audio_files, listed, subfolders
from sure.errors import SureError
from sure.files import read_text
from sure.task import learned
from sure.task.classification import ClassificationTask

_LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
_NOISES = "_background_noise_"
_VALIDATION_NOISE = "running_tap"
_TEST_SET = "speech_commands_test_set_v0.01"
_SPEAKER = re.compile(r"([0-9a-z]+)_nohash_\d+")
_UNKNOWN, _SILENCE = "_unknown_", "_silence_"
_COMMANDS = ["down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"]
_LABELS = {"sure": sorted([*_COMMANDS, "four"]), "superb": [_SILENCE, _UNKNOWN, *_COMMANDS], "all": []}


@dataclass
class SpeechCommands(ClassificationTask):
    """`<word>/<speaker>_nohash_<take>.wav`, two lists of such names, and `_background_noise_/*.wav`."""

    metrics = ("accuracy", "macro_f1")

    labels: list[str] = field(default_factory=list, metadata=learned("Its words, sorted."))
    words: Literal["sure", "superb", "all"] = field(
        default="sure",
        metadata={"help": "sure: its 11 words; superb: ten words, unknown and silence; all: every word there is."},
    )

    def __post_init__(self) -> None:
        self.labels = self.labels or list(_LABELS[self.words])

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        words = self._words(data_dir)
        named = {split: _names(data_dir / name) for split, name in _LISTS.items()}
        for word, folder in words.items():
            for path in audio_files(folder):
                speaker = _SPEAKER.fullmatch(path.stem)
                if not speaker:
                    raise SureError(f"{path}: not a name of Speech Commands; expected <speaker>_nohash_<take>.wav.")
                name = f"{word}/{path.name}"
                split = next((split for split, names in named.items() if names.pop(name, None)), "train")
                if self.words != "superb":
                    yield _row(f"{word}/{path.stem}", path, word, split, speaker[1])
                elif split != "test":
                    label = word if word in self.labels else _UNKNOWN
                    yield _row(f"{word}/{path.stem}", path, label, split, speaker[1])
        for split, names in named.items():
            for name, line in names.items():
                if name.partition("/")[0] in words:
                    raise SureError(f"{data_dir / _LISTS[split]}, line {line}: no such file: {data_dir / name}.")
        if self.words == "superb":
            yield from _silence(data_dir / _NOISES)
            yield from self._test_set(data_dir)

    def _words(self, data_dir: Path) -> dict[str, Path]:
        """The folders that are read."""
        folders = {name: path for name, path in subfolders(data_dir).items() if name not in (_NOISES, _TEST_SET)}
        wanted = [label for label in _LABELS[self.words] if label not in (_UNKNOWN, _SILENCE)]
        missing = [word for word in wanted if word not in folders]
        if missing or not folders:
            raise SureError(
                f"{data_dir}: no folder {missing[0] if missing else 'of a word'!r} (found: {listed(folders)}); "
                "expected those of Speech Commands, <word>/<speaker>_nohash_<take>.wav."
            )
        return {word: folders[word] for word in wanted} if self.words == "sure" else folders

    def _test_set(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        places = [parent / _TEST_SET for parent in (data_dir.resolve().parent, data_dir)]
        folder = next((place for place in places if place.is_dir()), None)
        if folder is None:
            raise SureError(f"{places[0]}: no such folder, nor one in {data_dir}; words=superb is tested on it.")
        labels = subfolders(folder)
        if missing := [label for label in self.labels if label not in labels]:
            raise SureError(f"{folder}: no folder {missing[0]!r} (found: {listed(labels)}).")
        for label in self.labels:
            for path in audio_files(labels[label]):
                speaker = _SPEAKER.search(path.stem)
                yield _row(f"{_TEST_SET}/{label}/{path.stem}", path, label, "test", speaker and speaker[1])


def _names(path: Path) -> dict[str, int]:
    """The names of a list, each with its line."""
    return {name.strip(): line for line, name in enumerate(read_text(path).split("\n"), start=1) if name.strip()}


def _silence(folder: Path) -> Iterator[dict[str, Any]]:
    paths = audio_files(folder) if folder.is_dir() else []
    if not paths:
        raise SureError(f"{folder}: no audio files; words=superb takes its silence from there.")
    for path in paths:
        split = "validation" if path.stem == _VALIDATION_NOISE else "train"
        for second in range(int(audio.duration(path))):
            yield _row(f"{_NOISES}/{path.stem}/{second:03d}", path, _SILENCE, split, None, second)


def _row(
    name: str, path: Path, label: str, split: str, speaker: str | None, second: int | None = None
) -> dict[str, Any]:
    cut = {"start": None, "end": None} if second is None else {"start": float(second), "end": second + 1.0}
    return {"id": name, "path": str(path), "speaker": speaker, "label": label, "split": split} | cut
