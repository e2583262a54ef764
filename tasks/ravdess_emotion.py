"""Emotion classification on RAVDESS, two English sentences spoken by 24 actors (Livingstone and Russo 2018).

1,440 utterances, 8 emotions, 48 kHz; CC BY-NC-SA 4.0 (https://zenodo.org/records/1188976,
Audio_Speech_Actors_01-24.zip). File names say all: in `03-01-06-01-02-01-12` 03 is audio alone, 01 speech (02 is song,
which is left out), 06 fear, then intensity, sentence and repetition, and 12 the actor; odd ones are men, even ones
women.

Layout: `Actor_01/` to `Actor_24/`, or these in `Audio_Speech_Actors_01-24/`.

Split: the corpus has none. Actors are sorted; the last fifth (21 to 24) is the test split, the fifth before it (17 to
20) validation, the rest train. No actor is in two splits.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sure.corpus.folders import audio_files, listed, subfolders
from sure.corpus.splits import by_last_speakers
from sure.errors import SureError
from sure.task import learned
from sure.task.classification import ClassificationTask

_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
_NAME = re.compile(r"03-(?P<channel>0[12])-0(?P<emotion>[1-8])-0[12]-0[12]-0[12]-(?P<actor>\d\d)")
_SPEECH = "01"


@dataclass
class RAVDESS(ClassificationTask):
    """`Actor_<actor>/03-01-<emotion>-<intensity>-<sentence>-<repetition>-<actor>.wav`."""

    labels: list[str] = field(default_factory=lambda: sorted(_EMOTIONS), metadata=learned("Its emotions."))

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        inside = data_dir / "Audio_Speech_Actors_01-24"
        folder = inside if inside.is_dir() else data_dir
        folders = {name: path for name, path in subfolders(folder).items() if name.startswith("Actor_")}
        if not folders:
            raise SureError(
                f"{folder}: no Actor_01 (found: {listed(subfolders(folder))}); expected RAVDESS' folders, with files "
                "such as 03-01-06-01-02-01-12.wav."
            )
        named = {path: _NAME.fullmatch(path.stem) for of_actor in folders.values() for path in audio_files(of_actor)}
        for path, name in named.items():
            if name is None:
                raise SureError(f"{path}: not a RAVDESS name of audio alone, such as 03-01-06-01-02-01-12.wav.")
        splits = by_last_speakers(name["actor"] for name in named.values())
        for path, name in named.items():
            if name["channel"] == _SPEECH:
                row = {"id": path.stem, "path": str(path), "speaker": name["actor"]}
                yield row | {"label": _EMOTIONS[int(name["emotion"]) - 1], "split": splits[name["actor"]]}
