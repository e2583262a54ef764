"""Emotion classification on IEMOCAP as SURE uses it: 11 labels, split by session (Busso et al. 2008).

English, 10 actors in 5 dyadic sessions, about 12 hours; by licence (https://sail.usc.edu/iemocap/).

Labels: all that annotators gave, xxx (no agreement) and oth (other) included, not the four of most papers.
Split: sessions 1 to 3 train, 4 validation, 5 test. No speaker is in two splits.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sure.corpus.folders import listed, subfolders
from sure.errors import SureError
from sure.task import learned
from sure.task.classification import ClassificationTask

_LABELS = ["ang", "dis", "exc", "fea", "fru", "hap", "neu", "oth", "sad", "sur", "xxx"]
_SPLITS = {1: "train", 2: "train", 3: "train", 4: "validation", 5: "test"}
# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
_LINE = re.compile(r"\[[\d.]+ - [\d.]+\]\t(?P<id>(?P<dialogue>Ses\d\d\w+)_(?P<sex>[FM])\d+)\t(?P<label>\w+)\t")


@dataclass
class IEMOCAP(ClassificationTask):
    """`Session{1..5}/dialog/EmoEvaluation/*.txt` and `Session{1..5}/sentences/wav/<dialogue>/<utterance>.wav`."""

    labels: list[str] = field(default_factory=lambda: list(_LABELS), metadata=learned("Its emotions."))

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        for session, split in _SPLITS.items():
            folder = data_dir / f"Session{session}"
            evaluations = folder / "dialog" / "EmoEvaluation"
            if not evaluations.is_dir():
                raise SureError(
                    f"{evaluations}: no such folder (found in {data_dir}: {listed(subfolders(data_dir))}); expected "
                    "IEMOCAP's Session1 to Session5 with dialog/EmoEvaluation and sentences/wav."
                )
            for file in sorted(evaluations.glob("Ses*.txt")):
                for match in _LINE.finditer(file.read_text(encoding="utf-8", errors="replace")):
                    path = folder / "sentences" / "wav" / match["dialogue"] / f"{match['id']}.wav"
                    if not path.is_file():
                        raise SureError(f"{path}: no such file, although {file} labels it.")
                    # The letter after Ses01 says who wears the markers, the last one who speaks.
                    row = {"id": match["id"], "path": str(path), "speaker": f"Ses{session:02d}{match['sex']}"}
                    yield row | {"label": match["label"], "split": split}
