"""Emotion classification on MSP-IMPROV, English of 12 actors in 6 dyadic sessions (Busso et al. 2017).

8,438 turns, of which the four emotions are read that the annotators tell apart: anger, happiness, neutral and sadness;
by licence (https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html).

Layout, as other readers of the corpus have it (the release itself was not at hand): `Evalution.txt`, the release's own
spelling, or `Evaluation.txt`, with lines such as `UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:3.1; V:2.9; D:2.9 ; N:4.2;`,
each before those of its annotators; and `session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav`. The labels O (other) and X
(no agreement) are left out. The second part of a name, F01, is taken to be who speaks, as those readers do, its number
the session.

Split: the corpus has none. Session 6 is the test split, 5 validation, 1 to 4 train. No actor is in two splits.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sure.corpus.folders import listed, subfolders
from sure.errors import SureError
from sure.files import read_text
from sure.task import learned
from sure.task.classification import ClassificationTask

_EMOTIONS = {"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"}
_SPLITS = {5: "validation", 6: "test"}
_TABLES = ("Evalution.txt", "Evaluation.txt")
_LINE = re.compile(
    r"^UTD-(?P<id>IMPROV-(?P<scene>S\d\d[A-Z])-(?P<speaker>[FM]0(?P<session>[1-6]))-(?P<kind>[A-Z])-[FM]{2}\d\d)\.avi;"
    r"\s*(?P<label>[A-Z]);",
    re.MULTILINE,
)


@dataclass
class MSPImprov(ClassificationTask):
    """`Evalution.txt` and `session{1..6}/<scene>/<kind>/MSP-IMPROV-<scene>-<speaker>-<kind>-<turn>.wav`."""

    labels: list[str] = field(default_factory=lambda: sorted(_EMOTIONS.values()), metadata=learned("Its emotions."))

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        table = next((data_dir / name for name in _TABLES if (data_dir / name).is_file()), None)
        if table is None:
            raise SureError(f"{data_dir}: no {_TABLES[0]} (found: {listed(subfolders(data_dir))}).")
        for match in _LINE.finditer(read_text(table)):
            label, session = _EMOTIONS.get(match["label"]), int(match["session"])
            if label is None:
                continue
            path = data_dir / f"session{session}" / match["scene"] / match["kind"] / f"MSP-{match['id']}.wav"
            if not path.is_file():
                raise SureError(f"{path}: no such file, although {table} labels it.")
            row = {"id": path.stem, "path": str(path), "speaker": match["speaker"]}
            yield row | {"label": label, "split": _SPLITS.get(session, "train")}
