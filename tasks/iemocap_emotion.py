"""Emotion classification on IEMOCAP, 11 labels as SURE uses it, or four as most others do (Busso et al. 2008).

English, 10 actors in 5 dyadic sessions, about 12 hours; by licence (https://sail.usc.edu/iemocap/).

- `protocol=sure` (Li et al. 2023): all labels that annotators gave, xxx (no agreement) and oth (other) included;
  sessions 1 to 3 train, 4 validation, 5 test. No speaker is in two splits.
- `protocol=superb` (Yang et al. 2021; s3prl's `downstream/emotion`): 5,531 utterances of ang, hap, neu and sad, where
  hap has exc (excited) too; the session that `session` names is the test split, and what is published is the mean
  accuracy over the five. Of the other four sessions SUPERB draws a fifth at random for validation; here those are the
  utterances whose SHA-256 is divisible by 5. They share their speakers with the training split, the test split does
  not.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sure.corpus.folders import listed, subfolders
from sure.errors import SureError
from sure.task import learned
from sure.task.classification import ClassificationTask

_LABELS = ["ang", "dis", "exc", "fea", "fru", "hap", "neu", "oth", "sad", "sur", "xxx"]
_SPLITS = {1: "train", 2: "train", 3: "train", 4: "validation", 5: "test"}
# What most papers tell apart, under the label that they give it.
_FOUR = {"ang": "ang", "exc": "hap", "hap": "hap", "neu": "neu", "sad": "sad"}
# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
_LINE = re.compile(r"\[[\d.]+ - [\d.]+\]\t(?P<id>(?P<dialogue>Ses\d\d\w+)_(?P<sex>[FM])\d+)\t(?P<label>\w+)\t")


@dataclass
class IEMOCAP(ClassificationTask):
    """`Session{1..5}/dialog/EmoEvaluation/*.txt` and `Session{1..5}/sentences/wav/<dialogue>/<utterance>.wav`."""

    labels: list[str] = field(default_factory=list, metadata=learned("Its emotions."))
    protocol: Literal["sure", "superb"] = field(
        default="sure",
        metadata={"help": "sure: 11 labels, session 4 validates and 5 is tested; superb: four labels, any session is."},
    )
    session: int = field(default=5, metadata={"help": "The session that superb tests, 1 to 5."})

    def __post_init__(self) -> None:
        self.labels = self.labels or (sorted(set(_FOUR.values())) if self.protocol == "superb" else list(_LABELS))
        if self.session not in _SPLITS:
            raise SureError(f"--task_options session={self.session}: IEMOCAP's sessions are 1 to {max(_SPLITS)}.")
        if self.protocol == "sure" and _SPLITS[self.session] != "test":
            raise SureError(f"--task_options session={self.session}: protocol=sure tests 5; use protocol=superb.")

    @property
    def cross_validation(self) -> tuple[str, int] | None:
        """SUPERB's folds are the sessions."""
        return ("session", len(_SPLITS)) if self.protocol == "superb" else None

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        for session in _SPLITS:
            folder = data_dir / f"Session{session}"
            evaluations = folder / "dialog" / "EmoEvaluation"
            if not evaluations.is_dir():
                raise SureError(
                    f"{evaluations}: no such folder (found in {data_dir}: {listed(subfolders(data_dir))}); expected "
                    "IEMOCAP's Session1 to Session5 with dialog/EmoEvaluation and sentences/wav."
                )
            for file in sorted(evaluations.glob("Ses*.txt")):
                for match in _LINE.finditer(file.read_text(encoding="utf-8", errors="replace")):
                    label = self._label(match["label"])
                    if label is None:
                        continue
                    path = folder / "sentences" / "wav" / match["dialogue"] / f"{match['id']}.wav"
                    if not path.is_file():
                        raise SureError(f"{path}: no such file, although {file} labels it.")
                    # The letter after Ses01 says who wears the markers, the last one who speaks.
                    row = {"id": match["id"], "path": str(path), "speaker": f"Ses{session:02d}{match['sex']}"}
                    yield row | {"label": label, "split": self._split(session, match["id"])}

    def _label(self, given: str) -> str | None:
        """None for what the protocol leaves out."""
        return given if self.protocol == "sure" else _FOUR.get(given)

    def _split(self, session: int, name: str) -> str:
        if self.protocol == "sure":
            return _SPLITS[session]
        if session == self.session:
            return "test"
        return "train" if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 5 else "validation"
