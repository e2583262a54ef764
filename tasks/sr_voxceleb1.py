"""Speaker identification on VoxCeleb1, which of its 1,251 celebrities speaks (Nagrani et al. 2017); SUPERB's task.

153,516 utterances of interviews, 16 kHz. Layout: that of `sv_voxceleb1`, both parts of it, and beside them the authors'
list `iden_split.txt` (https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/iden_split.txt), whose lines are a split, 1
for train, 2 for validation and 3 for test, and a path such as `id10003/na8-QEFmj44/00003.wav`. SUPERB (Yang et al.
2021; s3prl's `downstream/voxceleb1`) has the same list, and publishes the accuracy.

Split: the list's. Every speaker is in all of them, in other videos. Utterances of up to 145 s need `--max_seconds 60`
or less; s3prl trains on 8 s.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sure.corpus.folders import listed, subfolders
from sure.errors import SureError
from sure.files import read_text
from sure.task.classification import ClassificationTask

_LIST = "iden_split.txt"
_SPLITS = {"1": "train", "2": "validation", "3": "test"}


@dataclass
class VoxCeleb1Speakers(ClassificationTask):
    """The labels are the corpus' speakers."""

    metrics = ("accuracy", "macro_f1")
    for_new_speakers = False

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        listing = data_dir / _LIST
        if not listing.is_file():
            raise SureError(
                f"{listing}: no such list; it is at https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/{_LIST}."
            )
        parts = [data_dir / part for part in ("dev/wav", "test/wav", "wav") if (data_dir / part).is_dir()]
        if not parts:
            raise SureError(
                f"{data_dir}: neither dev/wav and test/wav nor wav here (found: {listed(subfolders(data_dir))})."
            )
        for number, line in enumerate(read_text(listing).split("\n"), start=1):
            if not line.strip():
                continue
            split, _, name = line.strip().partition(" ")
            if split not in _SPLITS or name.count("/") != 2:
                raise SureError(f"{listing}, line {number}: {line!r}; expected 1, 2 or 3 and <speaker>/<video>/<file>.")
            path = next((part / name for part in parts if (part / name).is_file()), None)
            if path is None:
                raise SureError(
                    f"{listing}, line {number}: no such file: {name} in {' or '.join(map(str, parts))}; the list has "
                    "the speakers of both parts."
                )
            speaker = name.partition("/")[0]
            row = {"id": name, "path": str(path), "speaker": speaker}
            yield row | {"label": speaker, "split": _SPLITS[split]}
