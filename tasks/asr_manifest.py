"""Speech recognition on your own recordings, listed in a CSV or JSONL manifest.

`manifest` or `metadata`, `.csv` or `.jsonl`, in `--data_dir`, with the columns `path,text[,split,speaker,start,end]`,
parted by commas, semicolons or tabs; paths are relative to the manifest, start and end in seconds; `file_name` does for
`path`. Texts of the test split may all be empty, where somebody else keeps them: it is predicted then, not scored.

Split, where the manifest gives none: with at least three speakers, they are sorted, the last tenth (at least one) is
the test split, the tenth before it validation, the rest train. Without, files of which rows are segments are split so,
in the order of their SHA-256; where rows are whole files, the SHA-256 of each id decides: eight tenths train, one
validation, one test; or, of few, its order.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sure.corpus import manifest
from sure.corpus.folders import listed
from sure.errors import SureError
from sure.task.speech_recognition import SpeechRecognitionTask


@dataclass
class ASRManifest(SpeechRecognitionTask):
    """Texts are normalised as everywhere (`sure.task.speech_recognition.normalisation`)."""

    language: str | None = field(
        default=None,
        metadata={"help": "What is spoken, by ISO 639-1, such as en: Whisper is told, and ja or zh count characters."},
    )

    def __post_init__(self) -> None:
        if self.language is not None and not re.fullmatch("[a-z]{2,3}", str(self.language)):
            raise SureError(f"--task_options language={self.language}: give its code by ISO 639-1, such as en.")
        super().__post_init__()

    @property
    def spoken_language(self) -> str | None:
        return self.language

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        listing = manifest.find(data_dir)
        if listing is None:
            found = listed(sorted(path.name for path in data_dir.iterdir()))
            raise SureError(f"{data_dir}: no manifest ({', '.join(manifest.NAMES)}) here, found {found}.")
        yield from manifest.with_splits(list(manifest.utterances(listing, "text")))
