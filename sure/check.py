"""Look at a corpus before training on it: what is in each split, what is broken, what two splits share."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict

from sure import audio
from sure.corpus import cache
from sure.errors import SureError
from sure.task import Task


@dataclass
class SplitReport:
    """One split. Durations are in seconds, as the files' headers have them; an unreadable file has none.

    `labels` are counted by column.
    """

    utterances: int
    hours: float
    shortest: float
    median: float
    longest: float
    sample_rates: dict[int, int]
    channels: dict[int, int]
    speakers: int | None
    labels: dict[str, dict[str, int]] = field(default_factory=dict)


@dataclass
class Report:
    """A corpus. `errors` are what training would stop at, `warnings` what a reader of its scores should know."""

    task: str
    splits: dict[str, SplitReport]
    errors: list[str]
    warnings: list[str]


def check(task: Task, data_dir: Path, **decoding: Any) -> Report:
    """Read every file of the corpus once; what is decoded stays in the cache for training.

    `decoding` are the keyword arguments of `cache.decode`. Where the layout or a label is wrong, that is the error,
    and there are no splits.
    """
    errors: list[str] = []
    try:
        task.refuse_cuts(decoding.get("max_seconds"))
        splits = task.load(data_dir)
    except SureError as error:
        return Report(task=task.name, splits={}, errors=[str(error)], warnings=[])
    digests: dict[str, list[str]] = {}
    try:
        decoded = cache.decode(splits, **decoding)
        digests = {name: split["sha256"][:] for name, split in decoded.items()}
    except cache.UnreadableAudio as unreadable:
        errors = unreadable.errors
    return Report(
        task=task.name,
        splits={name: _describe(split, task.label_columns) for name, split in splits.items()},
        errors=errors,
        warnings=[
            *(_shared_speakers(splits) if task.for_new_speakers else []),
            *_divided_files(splits, digests),
            *_identical_audio(splits, digests),
            *_rare_labels(splits, task.label_columns),
        ],
    )


def _describe(split: Dataset, label_columns: Sequence[str]) -> SplitReport:
    headers = [_header(row) for row in split]
    seconds = np.array([seconds for seconds, _, _ in headers if seconds is not None] or [0.0])
    speakers = set(split["speaker"])
    return SplitReport(
        utterances=len(split),
        hours=float(seconds.sum() / 3600),
        shortest=float(seconds.min()),
        median=float(np.median(seconds)),
        longest=float(seconds.max()),
        sample_rates=_counted(rate for _, rate, _ in headers if rate),
        channels=_counted(channels for _, _, channels in headers if channels),
        speakers=None if None in speakers else len(speakers),
        labels={column: _counted(filter(None, split[column])) for column in label_columns},
    )


def _header(row: dict[str, Any]) -> tuple[float | None, int | None, int | None]:
    """Seconds of an utterance, sample rate in Hz and channels of its file; None where it is not readable."""
    try:
        seconds, rate, channels = audio.header(row["path"])
    except SureError:
        return None, None, None
    end = seconds if row.get("end") is None else row["end"]
    return end - (row.get("start") or 0.0), rate, channels


def _counted(values: Any) -> dict[Any, int]:
    return dict(sorted(Counter(values).items()))


def _shared_speakers(splits: DatasetDict) -> list[str]:
    speakers = {name: set(split["speaker"]) - {None} for name, split in splits.items()}
    return [
        f"{len(shared)} speakers are in {one} and in {other}, such as {min(shared)}: scores do not tell how a method "
        "does on new speakers."
        for one, other in combinations(speakers, 2)
        if (shared := speakers[one] & speakers[other])
    ]


def _divided_files(splits: DatasetDict, digests: dict[str, list[str]]) -> list[str]:
    """Files with segments in two splits; where these are the same, `_identical_audio` says so."""
    segments = {name: defaultdict(dict) for name in digests}
    for name, files in digests.items():
        for row, digest in zip(splits[name], files, strict=True):
            segments[name][digest][row.get("start"), row.get("end")] = row["id"]
    return [
        f"Segments of {len(divided)} files are in {one} and in {other}, such as {divided[0]}: scores do not tell how a "
        "method does on new recordings."
        for one, other in combinations(segments, 2)
        if (
            divided := [
                f"{next(iter(here.values()))} and {next(iter(there.values()))}"
                for digest, here in segments[one].items()
                if (there := segments[other].get(digest)) and here.keys().isdisjoint(there)
            ]
        )
    ]


def _identical_audio(splits: DatasetDict, digests: dict[str, list[str]]) -> list[str]:
    """Files with the same bytes; two utterances cut from one file at different times are not the same audio."""
    where = defaultdict(list)
    for name, files in digests.items():
        for row, digest in zip(splits[name], files, strict=True):
            where[digest, row.get("start"), row.get("end")].append((name, row["id"]))
    warnings = []
    for pair in [*combinations(digests, 2), *((name, name) for name in digests)]:
        twice = [copies for copies in where.values() if len(copies) > 1 and _covers(copies, *pair)]
        if twice:
            first = " and ".join(identity for name, identity in twice[0] if name in pair)
            place = f"in {pair[0]} and in {pair[1]}" if pair[0] != pair[1] else f"more than once in {pair[0]}"
            warnings.append(f"The same audio is {place}, {len(twice)} times, such as {first}.")
    return warnings


def _covers(copies: list[tuple[str, str]], one: str, other: str) -> bool:
    names = Counter(name for name, _ in copies)
    return names[one] > 1 if one == other else bool(names[one] and names[other])


def _rare_labels(splits: DatasetDict, label_columns: Sequence[str]) -> list[str]:
    warnings = []
    for column in label_columns:
        said = "Labels" if len(label_columns) == 1 else f"{column}: labels"
        labels = {name: set(split[column]) for name, split in splits.items()}
        warnings += [
            f"{said} of train that {name} does not have: {', '.join(sorted(missing))}."
            for name in labels
            if (missing := labels["train"] - labels[name]) and len(missing) < len(labels["train"])
        ]
    return warnings
