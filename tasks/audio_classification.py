"""Classification of your own recordings: one folder per label, or a CSV or JSONL manifest.

Folders: `<label>/*.wav`, or `<split>/<label>/*.wav` with the splits train, validation (or dev, valid, evaluation) and
test. Manifest: `manifest` or `metadata`, `.csv` or `.jsonl`, in `--data_dir`, with the columns
`path,label[,split,speaker,start,end]`; paths are relative to the manifest, start and end in seconds; `file_name` does
for `path`.

Split, where neither folders nor manifest give one: with at least three speakers, they are sorted, the last tenth (at
least one) is the test split, the tenth before it validation, the rest train. Without, the SHA-256 of each id decides:
eight tenths train, one validation, one test.
"""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sure.errors import SureError
from sure.task import ClassificationTask
from sure.tasks._files import audio_files, listed, subfolders

if TYPE_CHECKING:
    pass

_SPLITS = {name: name for name in ("train", "validation", "test")} | dict.fromkeys(
    ("dev", "valid", "val", "evaluation"), "validation"
)
_MANIFESTS = ("manifest.csv", "manifest.jsonl", "metadata.csv", "metadata.jsonl")
_TENTHS = 10


@dataclass
class AudioClassification(ClassificationTask):
    """The labels are those of the training split."""

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        manifests = [data_dir / name for name in _MANIFESTS if (data_dir / name).is_file()]
        if len(manifests) > 1:
            raise SureError(
                f"{data_dir}: {listed([path.name for path in manifests])}: which one? Keep one of them here."
            )
        rows = list(_from_manifest(manifests[0]) if manifests else _from_folders(data_dir))
        given = [row["split"] is not None for row in rows]
        if any(given) and not all(given):
            raise SureError(f"{rows[given.index(False)]['path']}: no split, although other utterances have one.")
        yield from rows if any(given) else _with_splits(rows)


def _from_folders(data_dir: Path) -> Iterator[dict[str, Any]]:
    folders = subfolders(data_dir)
    split_folders = {name: folder for name, folder in folders.items() if name in _SPLITS}
    if split_folders and len(split_folders) < len(folders):
        others = [name for name in folders if name not in _SPLITS]
        raise SureError(f"{data_dir}: split folders ({listed(split_folders)}) beside others ({listed(others)}).")
    found = False
    for split, parent in split_folders.items() if split_folders else [(None, data_dir)]:
        for label, folder in subfolders(parent).items():
            for path in audio_files(folder):
                found = True
                row = {"id": path.relative_to(data_dir).as_posix(), "path": str(path), "speaker": None}
                yield row | {"label": label, "split": _SPLITS.get(split)}
    if not found:
        raise SureError(
            f"{data_dir}: no audio in <label>/ or <split>/<label>/ (found: {listed(folders)}), and no manifest "
            f"({', '.join(_MANIFESTS)})."
        )


def _from_manifest(manifest: Path) -> Iterator[dict[str, Any]]:
    for number, row in _lines(manifest):
        row = {name: value for name, value in row.items() if value not in (None, "")}
        where = f"{manifest}, line {number}"
        path = row.get("path", row.get("file_name"))
        for column, value in (("path", path), ("label", row.get("label"))):
            if value is None:
                raise SureError(f"{where}: no {column!r}; expected the columns path,label[,split,speaker,start,end].")
        split = row.get("split")
        if split is not None and split not in _SPLITS:
            raise SureError(f"{where}: split {split!r} is none of {', '.join(_SPLITS)}.")
        file = manifest.parent / path
        if not file.is_file():
            raise SureError(f"{where}: no such file: {file}.")
        start, end = (_seconds(row.get(column), column, where) for column in ("start", "end"))
        times = "" if start is None and end is None else f"[{start or 0:g}-{'' if end is None else f'{end:g}'}]"
        identity = {"id": f"{path}{times}", "path": str(file), "start": start, "end": end}
        yield identity | {"speaker": row.get("speaker"), "label": str(row["label"]), "split": _SPLITS.get(split)}


def _lines(manifest: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with the number of their line, the first being 1."""
    if not manifest.is_file() or manifest.suffix not in (".csv", ".jsonl"):
        raise SureError(f"{manifest}: expected a manifest that ends in .csv or .jsonl.")
    with manifest.open(encoding="utf-8-sig", newline="") as lines:
        if manifest.suffix == ".csv":
            reader = csv.DictReader(lines)
            yield from ((reader.line_num, row) for row in reader)
            return
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise SureError(f"{manifest}, line {number}: not JSON ({error.msg}).") from None
            if not isinstance(row, dict):
                raise SureError(f"{manifest}, line {number}: expected a JSON object.")
            yield number, row


def _seconds(value: Any, column: str, where: str) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        raise SureError(f"{where}: {column} {value!r} is not a number of seconds.") from None


def _with_splits(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    speakers = sorted({str(row["speaker"]) for row in rows})
    by_speaker = len(speakers) >= 3 and all(row["speaker"] is not None for row in rows)
    tenth = max(1, len(speakers) // _TENTHS)
    for row in rows:
        if by_speaker:
            from_the_end = len(speakers) - speakers.index(str(row["speaker"]))
            split = "test" if from_the_end <= tenth else "validation" if from_the_end <= 2 * tenth else "train"
        else:
            share = int(hashlib.sha256(row["id"].encode()).hexdigest(), 16) % _TENTHS
            split = {0: "test", 1: "validation"}.get(share, "train")
        yield row | {"split": split}
