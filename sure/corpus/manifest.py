"""Recordings listed in a CSV or JSONL manifest, and splits for those that come without.

`manifest` or `metadata`, `.csv` or `.jsonl`, with the columns `path[,split,speaker,start,end]` and what a task wants to
know; paths are relative to the manifest, start and end in seconds; `file_name` does for `path`. Commas, semicolons
or tabs part the values of a CSV file; spaces around them, and upper case in the names of columns, do no harm.
"""

import csv
import hashlib
import io
import json
import os
from collections import Counter, defaultdict
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
# What parts the values of a CSV file: the one that its first line has most of.
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}


def find(data_dir: Path) -> Path | None:
    """The manifest of a folder, None where there is none. Raises `SureError` where there are several."""
    manifests = [data_dir / name for name in NAMES if (data_dir / name).is_file()]
    if len(manifests) > 1:
        raise SureError(f"{data_dir}: {listed([path.name for path in manifests])}: which one? Keep one of them here.")
    return manifests[0] if manifests else None


def utterances(manifest: Path, content: str) -> Iterator[dict[str, Any]]:
    """The rows of a manifest with the column `content` (label or text); `split` is None where it is not given.

    In rows of the test split `content` may be empty, for who is not to know it, and is None then. Raises `SureError`,
    naming the line, for what is missing or not understood.
    """
    for number, row in _lines(manifest):
        where = f"{manifest}, line {number}"
        row = {name.strip().lower(): value for name, value in row.items()}
        columns = list(row)
        row = {name: value for name, value in row.items() if value not in (None, "")}
        path = row.get("path", row.get("file_name"))
        hidden = row.get("split") == "test" and content in columns
        for column, value in (("path", path), (content, row.get(content))):
            if value is None and not (hidden and column == content):
                raise SureError(
                    f"{where}: no {column!r}; expected the columns path,{content}[,split,speaker,start,end], found "
                    f"{listed(columns)}."
                )
        split = row.get("split")
        if split is not None and split not in list(SPLITS):
            raise SureError(f"{where}: split {split!r} is none of {', '.join(SPLITS)}.")
        file = manifest.parent / str(path)
        try:
            there = file.is_file()
        except OSError as error:
            # Such as a text in the place of the path, which is too long for one.
            column = "path" if "path" in row else "file_name"
            raise SureError(f"{where}: {column} {str(path)[:60]!r} cannot be looked up ({error.strerror}).") from None
        if not there:
            raise SureError(f"{where}: no such file: {file}.")
        start, end = (_seconds(row.get(column), column, where) for column in ("start", "end"))
        times = _times(start, end)
        speaker = None if row.get("speaker") is None else str(row["speaker"])
        # The same wherever the corpus lies, also for absolute paths into it.
        name = Path(os.path.relpath(file, manifest.parent)).as_posix()
        identity = {"id": f"{name}{times}", "path": str(file), "speaker": speaker, "start": start, "end": end}
        known = row.get(content)
        if isinstance(known, list | dict):
            raise SureError(f"{where}: {content} {known!r} is no text.")
        yield identity | {content: None if known is None else str(known), "split": SPLITS.get(split)}


def with_splits(rows: list[dict[str, Any]], label: str | None = None) -> list[dict[str, Any]]:
    """Rows all of which have a split, as they are; rows none of which has one, split as follows.

    With at least three speakers, none is in two splits: they are sorted, the last tenth (at least one) is the test
    split, the tenth before it validation, the rest train. Where that leaves a `label` of three speakers or more out of
    a split, or one of fewer out of train, speakers are chosen instead, for the test split and then for validation: the
    last of those with most labels that the split lacks, until it has a tenth and all that it can have. What is left in
    train has every label.

    Otherwise, where rows are segments of files (`start`, `end`), no file is in two splits: files are split as speakers
    are, but sorted by the SHA-256 of their names, which are paths relative to the manifest.

    Otherwise the SHA-256 of each id decides: eight tenths train, one validation, one test. Where that leaves a label of
    three utterances or more out of a split, they are sorted by their SHA-256: the first tenth (at least one) is the
    test split, the next validation, the rest train. Where it leaves one of fewer out of train, train has them all.

    Raises `SureError` where only some rows have a split, and where a split would be empty.
    """
    given = [row["split"] is not None for row in rows]
    if any(given) and not all(given):
        raise SureError(f"{rows[given.index(False)]['path']}: no split, although other utterances have one.")
    if any(given) or not rows:
        return rows
    speakers = {row["speaker"] for row in rows}
    by_speaker = len(speakers) >= 3 and None not in speakers
    by_file = not by_speaker and any(_file(row) != row["id"] for row in rows)
    names = [row["speaker"] if by_speaker else _file(row) for row in rows]
    units = _labels_by(names, rows, label)
    if by_file:
        units = {name: units[name] for name in sorted(units, key=_digest)}
    splits = _split_groups(units) if by_speaker or by_file else _split_utterances(units)
    if len(set(splits.values())) < 3:
        unit, given = "speakers" if by_speaker else "utterances", "the folders train/, validation/ and test/"
        if by_file:
            unit, given = "files (all segments of a file are in one split)", "'speaker', with three speakers or more"
        raise SureError(
            f"No utterance has a split ({len(rows)} found, such as {rows[0]['path']}), and they are too few to be "
            f"split, which takes three {unit} of a label. Add some, or say which is which: a column 'split' in the "
            f"manifest, or {given}."
        )
    return [row | {"split": splits[name]} for name, row in zip(names, rows, strict=True)]


def _times(start: float | None, end: float | None) -> str:
    """What an id has after the file's name."""
    return "" if start is None and end is None else f"[{start or 0:.12g}-{'' if end is None else f'{end:.12g}'}]"


def _file(row: dict[str, Any]) -> str:
    """The file's name in an id; of an utterance that is a whole file its id."""
    return row["id"].removesuffix(_times(row.get("start"), row.get("end")))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _labels_by(names: list[str], rows: list[dict[str, Any]], label: str | None) -> dict[str, set[str | None]]:
    """By the name of its speaker, file or utterance the labels of each, sorted."""
    labels: dict[str, set[str | None]] = defaultdict(set)
    for name, row in zip(names, rows, strict=True):
        labels[name].add(row[label] if label else None)
    return dict(sorted(labels.items()))


def _split_groups(labels: dict[str, set[str | None]]) -> dict[str, str]:
    """Of speakers or files, in their order."""
    groups = list(labels)
    tenth = max(1, len(groups) // _TENTHS)
    in_order = dict.fromkeys(groups, "train")
    in_order |= dict.fromkeys(groups[-2 * tenth :], "validation") | dict.fromkeys(groups[-tenth:], "test")
    has = Counter(label for own in labels.values() for label in own)
    where = {(split, label) for group, split in in_order.items() for label in labels[group]}
    if all(("train", label) in where and (has[label] < 3 or _everywhere(label, where)) for label in has):
        return in_order
    chosen: dict[str, str] = {}
    # What of a label must be left for the splits that come after.
    for split, left in (("test", 2), ("validation", 1)):
        members, lacks = 0, set(has)
        candidates = [group for group in reversed(groups) if group not in chosen]
        # Who cannot be spared once cannot be later, when fewer are left.
        while candidates := [
            group for group in candidates if group not in chosen and _spared(labels[group], has, left)
        ]:
            best = max(candidates, key=lambda group: len(labels[group] & lacks))
            if not labels[best] & lacks:
                break
            chosen[best] = split
            members += 1
            lacks -= labels[best]
            has.subtract(labels[best])
        for group in candidates:
            if members < tenth and _spared(labels[group], has, left):
                chosen[group] = split
                members += 1
                has.subtract(labels[group])
    return dict.fromkeys(groups, "train") | chosen


def _spared(own: set[str | None], has: Counter[str | None], left: int) -> bool:
    """Whether of each of these labels more than `left` are there."""
    return all(has[label] > left for label in own)


def _split_utterances(labels: dict[str, set[str | None]]) -> dict[str, str]:
    digests = {name: _digest(name) for name in labels}
    splits = {name: {0: "test", 1: "validation"}.get(int(digests[name], 16) % _TENTHS, "train") for name in labels}
    where = {(splits[name], label) for name in labels for label in labels[name]}
    for label in set().union(*labels.values()):
        members = sorted((name for name in labels if label in labels[name]), key=digests.get)
        if len(members) >= 3 and not _everywhere(label, where):
            tenth = max(1, len(members) // _TENTHS)
            splits |= dict.fromkeys(members, "train")
            splits |= dict.fromkeys(members[: 2 * tenth], "validation") | dict.fromkeys(members[:tenth], "test")
        elif ("train", label) not in where:
            splits |= dict.fromkeys(members, "train")
    return splits


def _everywhere(label: str | None, where: set[tuple[str, str | None]]) -> bool:
    return all((split, label) in where for split in ("train", "validation", "test"))


def _lines(manifest: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows with the number of their line, the first being 1."""
    text = read_text(manifest)
    if manifest.suffix == ".csv":
        # Strict: a quotation mark that is not closed would swallow the lines up to the next one.
        separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
        lines = io.StringIO(text, newline="")
        reader = csv.DictReader(lines, delimiter=separator, skipinitialspace=True, strict=True)
        try:
            columns = Counter(name.strip().lower() for name in reader.fieldnames or ())
            if twice := [name for name, count in columns.items() if name and count > 1]:
                raise SureError(f"{manifest}, line 1: {listed(twice)}: a column is there twice.")
            for row in reader:
                if any(beyond := row.pop(None, [])):
                    raise csv.Error(f"{len(beyond)} more values than columns")
                if any("\n" in value for value in row.values() if value):
                    raise csv.Error("a line break inside quotation marks")
                row = {name: value and value.strip() for name, value in row.items()}
                yield reader.line_num, row
        except csv.Error as error:
            raise SureError(
                f"{manifest}, line {reader.reader.line_num}: {error}. Quotation marks enclose a whole value, such as "
                f'one with a {_SEPARATORS[separator]}, and one inside it is doubled: "She said ""no"".".'
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
        for name, value in row.items():
            try:
                f"{name}{value}".encode()
            except UnicodeEncodeError:
                raise SureError(
                    f"{manifest}, line {number}: {name!r} is {value!r}, with half of a character (a surrogate alone)."
                ) from None
        yield number, row


def _seconds(value: Any, column: str, where: str) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        raise SureError(f"{where}: {column} {value!r} is not a number of seconds.") from None
