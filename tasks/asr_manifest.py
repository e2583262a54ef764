"""Speech recognition on your own recordings, listed in a CSV or JSONL manifest.

`manifest` or `metadata`, `.csv` or `.jsonl`, in `--data_dir`, with the columns `path,text[,split,speaker,start,end]`;
paths are relative to the manifest, start and end in seconds; `file_name` does for `path`.

Split, where the manifest gives none: with at least three speakers, they are sorted, the last tenth (at least one) is
the test split, the tenth before it validation, the rest train. Without, the SHA-256 of each id decides: eight tenths
train, one validation, one test.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sure.errors import SureError
from sure.speech_recognition import SpeechRecognitionTask
from sure.tasks import _manifest
from sure.tasks._files import listed


@dataclass
class ASRManifest(SpeechRecognitionTask):
    """Texts are normalised as everywhere (`sure.speech_recognition.normalise`)."""

    language: str | None = field(
        default=None,
        metadata={"help": "What is spoken, by ISO 639-1, such as en: Whisper is told, and ja or zh count characters."},
    )

    @property
    def spoken_language(self) -> str | None:
        return self.language

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        manifest = _manifest.find(data_dir)
        if manifest is None:
            found = listed(sorted(path.name for path in data_dir.iterdir()))
            raise SureError(f"{data_dir}: no manifest ({', '.join(_manifest.NAMES)}) here, found {found}.")
        yield from _manifest.with_splits(list(_manifest.utterances(manifest, "text")))
