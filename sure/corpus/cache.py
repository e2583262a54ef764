"""Decoding happens once: an Arrow cache of waveforms on disk, memory-mapped, shared by every run on the same audio.

<cache>/index/<key of paths, sizes and times>.json   what the files contain, so that they are hashed once
<cache>/audio/<key of contents and settings>/        waveforms in Arrow, so that a moved corpus is not decoded again
<cache>/<kind>/<key>.json                            what else takes long to find out of a corpus
<cache>/frozen/<key>/                                what frozen parts of backbones give (`sure.runner.frozen`)
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from datasets import Dataset, DatasetDict, concatenate_datasets
from datasets.arrow_writer import ArrowWriter
from filelock import FileLock
from tqdm import tqdm

from sure import audio
from sure.audio import SAMPLE_RATE
from sure.errors import SureError
from sure.files import default_folder, write_atomically

# Counted up when decoding changes, so that older caches are not read.
_FORMAT = 3
_ARROW = "audio.arrow"
_REPORTED_ERRORS = 10

# Columns that say where a corpus lies, or what a run made of it.
_NOT_OF_THE_CORPUS = {"path", "waveform", "samples"}

# Waveforms in memory before they go to disk, as one record batch: each takes time to open a cache, and memory.
_ROWS_AT_A_TIME = 64


class UnreadableAudio(SureError):
    """Utterances that cannot be used: every one of them in `errors`, the first ten in the message."""

    def __init__(self, errors: list[str], utterances: int) -> None:
        self.errors = errors
        shown = "\n".join(errors[:_REPORTED_ERRORS])
        more = f"\n... and {len(errors) - _REPORTED_ERRORS} more" if len(errors) > _REPORTED_ERRORS else ""
        super().__init__(f"{len(errors)} of {utterances} utterances cannot be used:\n{shown}{more}")


def decode(
    splits: DatasetDict,
    *,
    cache_dir: Path | None = None,
    max_seconds: float | None = None,
    workers: int | None = None,
) -> DatasetDict:
    """The splits with columns `waveform` (samples,) float32 at 16 kHz, `samples`, and `sha256` of the file's bytes.

    Several processes may call this at once: one decodes, the others wait and read. Raises `UnreadableAudio`
    where files cannot be used, `SureError` where the cache cannot be written.
    """
    cache_dir = cache_dir or default_folder()
    rows = [row for split in splits.values() for row in _places(split)]
    workers = workers or os.cpu_count() or 1
    try:
        cached = _cached(rows, cache_dir, max_seconds, workers)
    except OSError as error:
        raise SureError(
            f"The cache {cache_dir} cannot be written ({error}). Name another folder with --cache_dir or SURE_CACHE."
        ) from None
    decoded, first = DatasetDict(), 0
    for name, split in splits.items():
        part = cached.select(range(first, first + len(split)))
        decoded[name] = concatenate_datasets([split, part], axis=1)
        first += len(split)
    return decoded


def remembered(kind: str, key: list, make: Callable[[], Any]) -> Any:
    """What `make` gives, as JSON: made once for a key, by one process while others wait, and kept beside the audio.

    Raises `SureError` where the cache cannot be written.
    """
    kept = default_folder() / kind / f"{key_of(key)}.json"
    try:
        with locked_for(kept):
            if not kept.exists():
                write_atomically(kept, json.dumps(make()))
        return json.loads(kept.read_text(encoding="utf-8"))
    except OSError as error:
        raise SureError(
            f"The cache {kept.parent} cannot be written ({error}). Name another folder with SURE_CACHE."
        ) from None


def fingerprint(splits: DatasetDict, trials: dict[str, list] | None = None) -> str:
    """SHA-256 over all that is said of every utterance, its file's contents among it, and over the trial lists.

    It does not depend on paths, on how much of an utterance is heard, or on how many evaluations score the same
    trials; nor on the order of columns, and a value that is not there is as good as None.
    """
    lines = []
    for name, split in splits.items():
        columns = sorted(set(split.column_names) - _NOT_OF_THE_CORPUS)
        for row in split.select_columns(columns):
            said = {column: row[column] for column in columns if row[column] is not None}
            lines.append(json.dumps([name, said], ensure_ascii=False))
    lines += {json.dumps(sorted(listed), ensure_ascii=False) for listed in (trials or {}).values()}
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _cached(rows: list[dict[str, Any]], cache_dir: Path, max_seconds: float | None, workers: int) -> Dataset:
    """The audio of `rows` in their order, from the cache or into it."""
    stamps = _stamps(rows)
    digests = _digests(stamps, cache_dir / "index", workers)
    settings = [_FORMAT, SAMPLE_RATE, audio.LONGEST_SECONDS, None if max_seconds is None else float(max_seconds)]
    contents = [[digests[row["path"]], row.get("start"), row.get("end")] for row in rows]
    folder = cache_dir / "audio" / key_of([settings, contents])
    if not folder.exists():
        with locked_for(folder):
            # Another run may have built it while this one waited.
            if not folder.exists():
                _build(rows, stamps, digests, folder, max_seconds, workers)
    try:
        cached = Dataset.from_file(str(folder / _ARROW))
    except (OSError, pa.ArrowInvalid):
        cached = None
    # Cut between two batches, an Arrow file is read as a shorter one.
    if cached is None or len(cached) != len(rows):
        raise SureError(f"{folder}: this cached audio is damaged. Delete the folder and run again.")
    return cached


def _places(split: Dataset) -> list[dict[str, Any]]:
    """Where each utterance is: no more of a large corpus has to be in memory to decode it."""
    return split.select_columns([name for name in ("path", "start", "end") if name in split.column_names]).to_list()


def _stamps(rows: list[dict[str, Any]]) -> dict[str, list]:
    """By path, what changes whenever the file does: unlike mtime, ctime cannot be set by hand."""
    stamps = {}
    for path in sorted({row["path"] for row in rows}):
        stamps[path] = [str(Path(path).resolve())]
        try:
            status = Path(path).stat()
        except OSError:
            # Reported with all the other files that cannot be used, when they are decoded.
            continue
        stamps[path] += [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return stamps


def _digests(stamps: dict[str, list], index: Path, workers: int) -> dict[str, str | None]:
    """SHA-256 of each file, None where it cannot be read; from the index where no file has changed."""
    known = index / f"{key_of([_FORMAT, *stamps.values()])}.json"
    try:
        digests = json.loads(known.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        # Not hashed yet, or the index is damaged.
        digests = list(_in_parallel(audio.digest, list(stamps), workers, "Reading", "file"))
        if None not in digests:
            write_atomically(known, json.dumps(digests))
    # Paths may be written differently the next time, relative or absolute: their order is what the index keeps.
    return dict(zip(stamps, digests, strict=True))


def _build(
    rows: list[dict[str, Any]],
    stamps: dict[str, list],
    digests: dict[str, str | None],
    folder: Path,
    max_seconds: float | None,
    workers: int,
) -> None:
    """Decode into a temporary folder and rename it: a folder under its own name is complete."""
    jobs = [(row["path"], row.get("start"), row.get("end"), max_seconds) for row in rows]
    decoded = _in_parallel(audio.load_or_error, jobs, workers, "Decoding", "utterance")
    features = datasets.Features(
        {"waveform": datasets.List(datasets.Value("float32"))}
        | {"samples": datasets.Value("int64"), "sha256": datasets.Value("string")}
    )
    errors: list[str] = []
    temporary = folder.with_suffix(".building")
    # Of a run that was killed: whoever holds the lock is the only one to build here.
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        arrow = temporary / _ARROW
        with ArrowWriter(features=features, path=str(arrow), writer_batch_size=_ROWS_AT_A_TIME) as writer:
            for batch in _batched(zip(rows, decoded, strict=True)):
                errors += [error for _, (_, error) in batch if error]
                if not errors:
                    waveforms = [waveform for _, (waveform, _) in batch]
                    columns = {
                        "waveform": waveforms,
                        "samples": [len(waveform) for waveform in waveforms],
                        "sha256": [digests[row["path"]] for row, _ in batch],
                    }
                    writer.write_table(pa.table(columns, schema=features.arrow_schema))
            writer.finalize()
        if errors:
            raise UnreadableAudio(errors, len(rows))
        # What was decoded would else be kept under the digest of what the file was before.
        if changed := [path for path, now in _stamps(rows).items() if now != stamps[path] or not digests[path]]:
            raise SureError(
                f"{changed[0]}: changed while the corpus was being decoded; run again when copying is done."
            )
        # The name must not reach the disk before the data, or a power cut leaves half of it under the right name.
        with arrow.open("rb") as file:
            os.fsync(file.fileno())
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _batched(items: Iterable) -> Iterator[list]:
    """As many at a time as are in memory."""
    iterator = iter(items)
    while batch := list(islice(iterator, _ROWS_AT_A_TIME)):
        yield batch


def locked_for(folder: Path) -> FileLock:
    """The right to build one folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(folder.with_suffix(".lock"))


def _in_parallel(function: Callable, jobs: list, workers: int, what: str, unit: str) -> Iterator:
    """`function` of every job, in order, with a progress bar.

    Threads serve: libsndfile, soxr and hashing work outside Python's lock. A piece at a time, so that what is decoded
    does not pile up in memory before what is written.
    """
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(jobs), desc=what, unit=unit, disable=None) as progress:
        for first in range(0, len(jobs), _ROWS_AT_A_TIME):
            for result in pool.map(function, jobs[first : first + _ROWS_AT_A_TIME]):
                progress.update()
                yield result


def key_of(values: list) -> str:
    """The name under which what these JSON values decide is kept."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]
