"""Text-to-speech on LJ Speech, one speaker who reads non-fiction in English (Ito and Johnson 2017).

13,100 utterances, 24 hours, 22.05 kHz, public domain (https://keithito.com/LJ-Speech-Dataset/).

Layout: `metadata.csv`, with `id|text|normalised text` in each line, of which the last is spoken; `wavs/<id>.wav`.

Split: ids are sorted; the last tenth, at most 250, is the test split, as many before it are validation, the rest train.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sure.corpus.folders import listed, subfolders
from sure.errors import SureError
from sure.files import read_text
from sure.task.text_to_speech import TextToSpeechTask
from sure.task.text_to_speech.adaptation import splits_in_order

# As ESPnet's recipe for the whole corpus has it.
_MOST = 250


@dataclass
class LJSpeech(TextToSpeechTask):
    """Its one speaker is called LJ."""

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        folder = data_dir
        # The archive unpacks into a folder of its own.
        if not (folder / "metadata.csv").is_file() and (data_dir / "LJSpeech-1.1").is_dir():
            folder = data_dir / "LJSpeech-1.1"
        if not (folder / "metadata.csv").is_file():
            raise SureError(f"{folder / 'metadata.csv'}: no such file (found beside it: {listed(subfolders(folder))}).")
        texts = _texts(folder / "metadata.csv")
        for name, split in zip(sorted(texts), splits_in_order(len(texts), _MOST), strict=True):
            path = folder / "wavs" / f"{name}.wav"
            if not path.is_file():
                raise SureError(f"{path}: no such file, although metadata.csv has its text.")
            yield {"id": name, "path": str(path), "speaker": "LJ", "text": texts[name], "split": split}


def _texts(metadata: Path) -> dict[str, str]:
    texts = {}
    # Not a CSV of any dialect: quotation marks are part of the text.
    for number, line in enumerate(read_text(metadata).strip().split("\n"), start=1):
        columns = line.removesuffix("\r").split("|")
        if len(columns) != 3:
            raise SureError(f"{metadata}, line {number}: {len(columns)} columns; expected id|text|normalised text.")
        if columns[0] in texts:
            raise SureError(f"{metadata}, line {number}: {columns[0]} was there before.")
        texts[columns[0]] = columns[2].strip()
    if len(texts) < 3:
        raise SureError(f"{metadata}: {len(texts)} utterances; at least one is needed for each split.")
    return texts
