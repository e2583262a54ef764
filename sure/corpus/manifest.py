"""Recordings listed in a CSV or JSONL manifest, and splits for those that come without.

`manifest` or `metadata`, `.csv` or `.jsonl`, with the columns `path[,split,speaker,start,end]` and what a task wants to
know; paths are relative to the manifest, start and end in seconds; `file_name` does for `path`.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sure.corpus.folders import listed
from sure.errors import SureError
from sure.files import read_text

# What splits may be called.
SPLITS = {name: name for name in ("train", "validation", "test")} | dict.fromkeys(
    ("dev", "valid", "val", "evaluation"), "validation"
)
NAMES = ("manifest.csv", "manifest.jsonl", "metadata.csv", "metadata.jsonl")
_TENTHS = 10


def find(data_dir: Path) -> Path | None:
    """The manifest of a folder, None where there is none. Raises `SureError` where there are several."""
    manifests = [data_dir / name for name in NAMES if (data_dir / name).is_file()]
    if len(manifests) > 1:
        raise SureError(f"{data_dir}: {listed([path.name for path in manifests])}: which one? Keep one of them here.")
    return manifests[0] if manifests else None


def utterances(manifest: Path, content: str) -> Iterator[dict[str, Any]]:
    """The rows of a manifest with the column `content` (label or text); `split` is None where it is not given.

    Raises `SureError`, naming the line, for what is missing or not understood.
    """
    for number, row in _lines(manifest):
        row = {name: value for name, value in row.items() if value not in (None, "")}
        where = f"{manifest}, line {number}"
        path = row.get("path", row.get("file_name"))
        for column, value in (("path", path), (content, row.get(content))):
            if value is None:
                raise SureError(
                    f"{where}: no {column!r}; expected the columns path,{content}[,split,speaker,start,end]."
                )
        split = row.get("split")
        if split is not None and split not in list(SPLITS):
            raise SureError(f"{where}: split {split!r} is none of {', '.join(SPLITS)}.")
        file = manifest.parent / str(path)
        if not file.is_file():
            raise SureError(f"{where}: no such file: {file}.")
        start, end = (_seconds(row.get(column), column, where) for column in ("start", "end"))
        times = "" if start is None and end is None else f"[{start or 0:.12g}-{'' if end is None else f'{end:.12g}'}]"
        speaker = None if row.get("speaker") is None else str(row["speaker"])
        # The same wherever the corpus lies, also for absolute paths into it.
        name = Path(os.path.relpath(file, manifest.parent)).as_posix()
        identity = {"id": f"{name}{times}", "path": str(file), "speaker": speaker, "start": start, "end": end}
        yield identity | {content: str(row[content]), "split": SPLITS.get(split)}


def with_splits(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows all of which have a split, as they are; rows none of which has one, split by speaker or else by hash.

    With at least three speakers, they are sorted, the last tenth (at least one) is the test split, the tenth before it
    validation, the rest train. Otherwise the SHA-256 of each id decides: eight tenths train, one validation, one test.
    """
    given = [row["split"] is not None for row in rows]
    if any(given) and not all(given):
        raise SureError(f"{rows[given.index(False)]['path']}: no split, although other utterances have one.")
    if any(given):
        yield from rows
        return
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


def _lines(manifest: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with the number of their line, the first being 1."""
    text = read_text(manifest)
    if manifest.suffix == ".csv":
        # Strict: a quotation mark that is not closed would swallow the lines up to the next one.
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        try:
            for row in reader:
                if any("\n" in value for value in row.values() if isinstance(value, str)):
                    raise csv.Error("a line break inside quotation marks")
                yield reader.line_num, row
        except csv.Error as error:
            raise SureError(
                f"{manifest}, line {reader.reader.line_num}: {error}. Quotation marks enclose a whole value, and one "
                'inside it is doubled: "She said ""no"".".'
            ) from None
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            # Also an integer of too many digits, or brackets in too many brackets.
            raise SureError(f"{manifest}, line {number}: not JSON ({getattr(error, 'msg', error)}).") from None
        if not isinstance(row, dict):
            raise SureError(f"{manifest}, line {number}: expected a JSON object.")
        yield number, row


def _seconds(value: Any, column: str, where: str) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        raise SureError(f"{where}: {column} {value!r} is not a number of seconds.") from None
