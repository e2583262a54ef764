"""Emotion classification on CREMA-D, 12 English sentences acted by 91 actors (Cao et al. 2014).

7,442 utterances, 6 emotions, 16 kHz; Open Database License
(https://github.com/CheyneyComputerScience/CREMA-D). File names say all: `1001_DFA_ANG_XX` is actor 1001, sentence DFA,
the emotion that was to be acted, and how strongly (LO, MD, HI, XX where it is not said).

Layout: `AudioWAV/*.wav`, or that folder itself.

Split: the corpus has none. Actors are sorted; the last fifth (1074 to 1091) is the test split, the fifth before it
(1056 to 1073) validation, the rest train. No actor is in two splits.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sure.corpus.folders import audio_files
from sure.corpus.splits import by_last_speakers
from sure.errors import SureError
from sure.task import learned
from sure.task.classification import ClassificationTask

_EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
# One file of the release, 1040_ITH_SAD_X, has a single X.
_NAME = re.compile(rf"(?P<actor>\d{{4}})_[A-Z]{{3}}_(?P<emotion>{'|'.join(_EMOTIONS)})_(?:XX?|LO|MD|HI)")


@dataclass
class CREMAD(ClassificationTask):
    """`AudioWAV/<actor>_<sentence>_<emotion>_<intensity>.wav`."""

    labels: list[str] = field(default_factory=lambda: sorted(_EMOTIONS.values()), metadata=learned("Its emotions."))

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        folder = data_dir / "AudioWAV" if (data_dir / "AudioWAV").is_dir() else data_dir
        named = {path: _NAME.fullmatch(path.stem) for path in audio_files(folder)}
        if not named or None in named.values():
            path = next((path for path, name in named.items() if name is None), folder)
            wrong = "not a CREMA-D name" if named else "no audio files"
            raise SureError(f"{path}: {wrong}; expected CREMA-D's, such as AudioWAV/1001_DFA_ANG_XX.wav.")
        splits = by_last_speakers(name["actor"] for name in named.values())
        for path, name in named.items():
            row = {"id": path.stem, "path": str(path), "speaker": name["actor"]}
            yield row | {"label": _EMOTIONS[name["emotion"]], "split": splits[name["actor"]]}
