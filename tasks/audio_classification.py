"""Classification of your own recordings: one folder per label, or a CSV or JSONL manifest.

Folders: `<label>/*.wav`, or `<split>/<label>/*.wav` with the splits train, validation (or dev, valid, evaluation) and
test. Manifest: `manifest` or `metadata`, `.csv` or `.jsonl`, in `--data_dir`, with the columns
`path,label[,split,speaker,start,end]`, parted by commas, semicolons or tabs; paths are relative to the manifest, start
and end in seconds; `file_name` does for `path`. Labels of the test split may all be empty, where somebody else keeps
them: it is predicted then, and not scored.

Split, where neither folders nor manifest give one: with at least three speakers, they are sorted, the last tenth (at
least one) is the test split, the tenth before it validation, the rest train; other speakers are chosen where that would
leave a label out. Without speakers, files of which rows are segments are split so, in the order of their SHA-256; where
rows are whole files, the SHA-256 of each id decides: eight tenths train, one validation, one test; its order does,
label by label, where that would leave a label out. A label of fewer than three speakers, files or utterances cannot be
in every split: train has it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sure import audio
from sure.corpus import manifest
from sure.corpus.folders import audio_files, listed, subfolders
from sure.errors import SureError
from sure.task.classification import ClassificationTask


@dataclass
class AudioClassification(ClassificationTask):
    """The labels are those of the training split."""

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        listing = manifest.find(data_dir)
        rows = manifest.utterances(listing, "label") if listing else _from_folders(data_dir)
        yield from manifest.with_splits(list(rows), "label")


def _from_folders(data_dir: Path) -> Iterator[dict[str, Any]]:
    folders = subfolders(data_dir)
    split_folders = {name: folder for name, folder in folders.items() if name in manifest.SPLITS}
    if split_folders and len(split_folders) < len(folders):
        others = [name for name in folders if name not in manifest.SPLITS]
        raise SureError(f"{data_dir}: split folders ({listed(split_folders)}) beside others ({listed(others)}).")
    found = False
    for split, parent in split_folders.items() if split_folders else [(None, data_dir)]:
        for label, folder in subfolders(parent).items():
            for path in audio_files(folder):
                found = True
                row = {"id": path.relative_to(data_dir).as_posix(), "path": str(path), "speaker": None}
                yield row | {"label": label, "split": manifest.SPLITS.get(split)}
    if not found:
        raise SureError(
            f"{data_dir}: no audio ({', '.join(audio.SUFFIXES)}) in <label>/ or <split>/<label>/, and no manifest "
            f"({', '.join(manifest.NAMES)}); found {listed(sorted(path.name for path in data_dir.iterdir()))}."
        )
