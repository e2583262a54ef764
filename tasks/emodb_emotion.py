"""Emotion classification on EmoDB, the Berlin Database of Emotional Speech (Burkhardt et al. 2005).

German; 10 speakers, 535 utterances, 7 emotions, acted in a studio; free for research (http://emodb.bilderbar.info).
File names say all: `03a01Fa` is speaker 03, text a01, emotion F, take a.

Split: speakers are sorted; the last two are the test split, the two before them validation, the rest train. No speaker
is in two splits.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sure.corpus.folders import audio_files
from sure.errors import SureError
from sure.task import learned
from sure.task.classification import ClassificationTask

_EMOTIONS = {
    "A": "fear",
    "E": "disgust",
    "F": "happiness",
    "L": "boredom",
    "N": "neutral",
    "T": "sadness",
    "W": "anger",
}
_NAME = re.compile(r"(?P<speaker>\d\d)[ab]\d\d(?P<emotion>[A-Z])[a-z]")


@dataclass
class EmoDB(ClassificationTask):
    """Files lie in `data_dir/wav`, or in `data_dir` itself."""

    labels: list[str] = field(default_factory=lambda: sorted(_EMOTIONS.values()), metadata=learned("Its emotions."))

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        folder = data_dir / "wav" if (data_dir / "wav").is_dir() else data_dir
        paths = audio_files(folder)
        if not paths:
            raise SureError(f"{folder}: no audio files; expected EmoDB's, such as 03a01Fa.wav.")
        names = {path: _NAME.fullmatch(path.stem) for path in paths}
        for path, name in names.items():
            if name is None or name["emotion"] not in _EMOTIONS:
                raise SureError(
                    f"{path}: not an EmoDB name; expected speaker, text, one of {', '.join(_EMOTIONS)} and take, such "
                    "as 03a01Fa.wav."
                )
        speakers = sorted({name["speaker"] for name in names.values()})
        for path, name in names.items():
            from_the_end = len(speakers) - speakers.index(name["speaker"])
            yield {
                "id": path.stem,
                "path": str(path),
                "speaker": name["speaker"],
                "label": _EMOTIONS[name["emotion"]],
                "split": "test" if from_the_end <= 2 else "validation" if from_the_end <= 4 else "train",
            }
