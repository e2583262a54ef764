"""Corpora as `datasets` has them: a hub id, its clone with parquet files, or what `save_to_disk` wrote.

They become folders with a manifest and audio files as the dataset holds them, once, in the cache of `datasets`
(`HF_DATASETS_CACHE`): what decodes, checks and hashes files does so for these as for any others.
"""

import hashlib
import json
import re
from pathlib import Path

import datasets
from filelock import FileLock

from sure.corpus.folders import listed
from sure.corpus.manifest import SPLITS
from sure.errors import SureError
from sure.files import write_atomically

# The hub keeps a conversion of what `datasets` would else refuse to load, because a script makes it.
_CONVERTED = "refs/convert/parquet"


def is_dataset(data_dir: Path) -> bool:
    """Whether this is a hub id (owner/name, and no such folder) or a folder that `datasets` reads."""
    if data_dir.is_dir():
        # Not everywhere below: a release may have a million files there.
        patterns = ("dataset_dict.json", "*.parquet", "*/*.parquet", "*/*/*.parquet")
        return any(next(data_dir.glob(pattern), None) for pattern in patterns)
    return re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", data_dir.as_posix()) is not None


def exported(data_dir: Path, name: str, text: str) -> Path:
    """A folder with `manifest.jsonl` and the audio of the configuration `name`; `text` is the column of the text.

    Raises `SureError` where there is no such dataset, configuration, split or column.
    """
    splits = _load(data_dir, name)
    for split, rows in splits.items():
        # What was saved to disk is of one configuration, and usually says which.
        if rows.info.config_name not in (None, "default", name):
            raise SureError(
                f"--data_dir {data_dir}: {split} was saved from the configuration {rows.info.config_name!r}, not "
                f"{name!r}; --task_options language=... chooses."
            )
    fingerprints = [[split, text, rows._fingerprint] for split, rows in splits.items()]
    key = hashlib.sha256(json.dumps(fingerprints).encode()).hexdigest()[:32]
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "sure" / key
    manifest = folder / "manifest.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        # Written last: a folder that has it is complete.
        if not manifest.is_file():
            lines = [line for split, rows in splits.items() for line in _export(data_dir, split, rows, text, folder)]
            write_atomically(manifest, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return folder


def _load(data_dir: Path, name: str) -> datasets.DatasetDict:
    try:
        if (data_dir / "dataset_dict.json").is_file():
            return datasets.load_from_disk(data_dir)
        try:
            return datasets.load_dataset(str(data_dir), name)
        except RuntimeError as error:
            if "scripts are no longer supported" not in str(error):
                raise
            return datasets.load_dataset(str(data_dir), data_dir=name, revision=_CONVERTED)
    except (OSError, ValueError, RuntimeError) as error:
        missing = "" if data_dir.is_dir() else "no such folder, and "
        reason = str(error).strip().splitlines()[0]
        raise SureError(f"--data_dir {data_dir}: {missing}not readable as a dataset with {name!r}: {reason}") from None


def _export(data_dir: Path, split: str, rows: datasets.Dataset, text: str, folder: Path) -> list[dict[str, str]]:
    """Write the audio of a split and give its lines of the manifest."""
    audio = next((column for column, kind in rows.features.items() if isinstance(kind, datasets.Audio)), None)
    if split not in SPLITS or audio is None or text not in rows.features:
        raise SureError(
            f"--data_dir {data_dir}: split {split!r} has the columns {listed(list(rows.features))}; expected splits "
            f"called train, validation and test with a column of audio and {text!r}."
        )
    # Files as they are, not decoded.
    rows = rows.select_columns([audio, text]).cast_column(audio, datasets.Audio(decode=False))
    lines = []
    (folder / SPLITS[split]).mkdir(exist_ok=True)
    for number, row in enumerate(rows):
        recording = row[audio]
        name = Path(recording["path"] or f"{number:06d}.wav").name
        path = folder / SPLITS[split] / name
        content = recording["bytes"]
        path.write_bytes(Path(recording["path"]).read_bytes() if content is None else content)
        lines.append({"path": f"{SPLITS[split]}/{name}", "text": row[text], "split": split})
    return lines
