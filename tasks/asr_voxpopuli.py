"""Speech recognition on VoxPopuli, speeches in the European Parliament (Wang et al. 2021, arXiv 2101.00390).

16 languages, English 543 hours; CC0 (https://github.com/facebookresearch/voxpopuli), as its `get_asr_data` leaves it.
The text is the column `normalized_text`.

Split: the release's own; `dev` is validation. Speakers are in more than one.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sure.corpus.folders import listed, subfolders
from sure.errors import SureError
from sure.files import read_text
from sure.task.speech_recognition import SpeechRecognitionTask

_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
_COLUMNS = ("id", "normalized_text", "speaker_id")


@dataclass
class VoxPopuli(SpeechRecognitionTask):
    """`transcribed_data/<language>/asr_{train,dev,test}.tsv` and `transcribed_data/<language>/<year>/<id>.ogg`."""

    language: str = field(default="en", metadata={"help": "VoxPopuli's name of a language: its folder, such as en."})

    @property
    def spoken_language(self) -> str:
        return self.language

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        # `get_asr_data --root` makes the first of these folders.
        parent = data_dir / "transcribed_data" if (data_dir / "transcribed_data").is_dir() else data_dir
        folder = parent / self.language
        if not folder.is_dir():
            raise SureError(
                f"{folder}: no such folder (found: {listed(subfolders(parent))}); expected "
                "transcribed_data/<language> of VoxPopuli; --task_options language=... chooses."
            )
        for name, split in _SPLITS.items():
            missing = []
            for row in _rows(folder / f"asr_{name}.tsv"):
                # A session is named for its day: 20090112-0900-PLENARY-13-en.
                path = folder / row["id"][:4] / f"{row['id']}.ogg"
                if not path.is_file():
                    missing.append(path.name)
                speaker = row["speaker_id"] if row["speaker_id"] not in ("", "None") else None
                identity = {"id": row["id"], "path": str(path), "speaker": speaker}
                yield identity | {"split": split, "text": row["normalized_text"]}
            if missing:
                raise SureError(
                    f"{folder}: {len(missing)} recordings of asr_{name}.tsv are not there: {listed(missing)}."
                )


def _rows(table: Path) -> Iterator[dict[str, str]]:
    if not table.is_file():
        raise SureError(f"{table}: no such file; VoxPopuli's get_asr_data writes it.")
    reader = csv.DictReader(read_text(table).split("\n"), delimiter="\t", quoting=csv.QUOTE_NONE)
    for row in reader:
        absent = [column for column in _COLUMNS if row.get(column) is None]
        if absent:
            raise SureError(f"{table}, line {reader.line_num}: no column {absent[0]!r}; expected VoxPopuli's own.")
        yield row
