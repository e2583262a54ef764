"""Speaker recognition on VCTK, which of its 110 speakers of English says a sentence (Yamagishi et al. 2019).

About 44,000 utterances, 44 hours, 48 kHz, CC BY 4.0 (https://datashare.ed.ac.uk/handle/10283/3443). The layouts are
those of `sv_vctk`; SURE's recipe (Li et al. 2023) reads a folder `wav48`, as release 0.80 has it.

Split: of each speaker's files, sorted, the last tenth is the test split, the tenth before it validation, the rest
train. SURE's release has these shares in the order in which a folder happens to list its files. Every speaker is in all
splits, and everyone reads the same first sentences: scores are of known speakers in one room.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sure.errors import SureError
from sure.task.classification import ClassificationTask
from sure.tasks.sv_vctk import recordings

_TENTHS = 10


@dataclass
class VCTKSpeakers(ClassificationTask):
    """The labels are the corpus' speakers."""

    metrics = ("accuracy", "macro_f1")
    for_new_speakers = False

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        for speaker, paths in recordings(data_dir).items():
            tenth = len(paths) // _TENTHS
            if not tenth:
                raise SureError(
                    f"{paths[0].parent}: {len(paths)} recordings; at least {_TENTHS} of a speaker are needed for a "
                    "tenth in each of validation and test."
                )
            for index, path in enumerate(paths):
                from_the_end = len(paths) - index
                split = "test" if from_the_end <= tenth else "validation" if from_the_end <= 2 * tenth else "train"
                row = {"id": f"{speaker}/{path.stem}", "path": str(path), "speaker": speaker}
                yield row | {"label": speaker, "split": split}
