"""Intents of spoken commands: Fluent Speech Commands (Lugosch et al. 2019, Interspeech, arXiv 1904.03670).

English, 97 speakers, 30,043 utterances of commands such as "turn the lights on in the kitchen", 16 kHz; for academic
research by a licence of its own (https://fluent.ai/fluent-speech-commands-a-dataset-for-spoken-language-understanding-research/).

Layout: `data/{train,valid,test}_data.csv` with the columns path, speakerId, transcription, action, object and location,
and `wavs/speakers/<speakerId>/*.wav`.

Split: the release's csv files, 23,132, 3,118 and 3,793 utterances; no speaker is in two of them. An utterance has an
action, an object and a location, each with a classifier of its own, and is right where all three are, as in SURE (Li et
al. 2023) and in SUPERB (Yang et al. 2021); or, with `intents=whole`, it has one of the 31 intents that occur, as in
Cappellazzo et al. (2024, arXiv 2312.03694).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sure.corpus import tables
from sure.corpus.folders import listed, subfolders
from sure.errors import SureError
from sure.task import learned
from sure.task.classification import ClassificationTask

_SPLITS = {"train": "train_data.csv", "validation": "valid_data.csv", "test": "test_data.csv"}
_SLOTS = ("action", "object", "location")


@dataclass
class FluentSpeechCommands(ClassificationTask):
    """The labels are those of the training split: 6 actions, 14 objects and 4 locations, or 31 intents."""

    metrics = ("accuracy",)
    label_columns = _SLOTS

    # As in SURE's release.
    patience = 3

    labels: list[str] | dict[str, list[str]] = field(
        default_factory=list, metadata=learned("By slot its values, or the intents; sorted.")
    )
    intents: Literal["slots", "whole"] = field(
        default="slots", metadata={"help": "slots: action, object and location, all to be right; whole: one label."}
    )

    def __post_init__(self) -> None:
        if self.intents == "whole":
            self.label_columns = ("intent",)

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        for split, name in _SPLITS.items():
            table = data_dir / "data" / name
            if not table.is_file():
                raise SureError(
                    f"{table}: no such file (found in {data_dir}: {listed(subfolders(data_dir))}); expected Fluent "
                    "Speech Commands' folders data and wavs."
                )
            for where, row in tables.rows(table, ("path", "speakerId", *_SLOTS)):
                path = data_dir / row["path"]
                if not path.is_file():
                    raise SureError(f"{where}: no such file: {path}.")
                slots = {slot: row[slot] for slot in _SLOTS}
                labels = slots if self.intents == "slots" else {"intent": ", ".join(slots.values())}
                identity = {"id": row["path"], "path": str(path), "speaker": row["speakerId"], "split": split}
                yield identity | labels
