"""Manifests: which rows a corpus' splits have, and a hash of what is known of each, by which submissions are held.

`manifests/<task>-<fingerprint>.json` of a board, made from the corpus by who has it (`sure leaderboard manifest`). The
hashes pin references; they hide none, since labels are few and easily guessed. A manifest that hides them pins the
test split's ids alone, and the file in which the board's keeper has the references (`sure.leaderboard.hidden`).
"""

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sure import registry
from sure.corpus import cache
from sure.corpus.folders import is_synthetic
from sure.errors import SureError
from sure.files import write_atomically
from sure.record import Result
from sure.task import Task

SCHEMA_VERSION = 1

Rows = list[dict[str, Any]]

# What a prediction row has from the corpus; intervals are drawn over the speakers.
KNOWN = ("reference", "speaker", "test_speaker")

_OF_SHOTS = ("shots", "draw")

# The split whose references a board may hide.
HIDDEN = "test"


class Manifest(BaseModel):
    """Of a corpus as a task reads it, whose fingerprint is that of the records."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = SCHEMA_VERSION
    task: str
    fingerprint: str
    synthetic: bool
    # Of the task, what of it was chosen; without shots, which change no split that is scored.
    options: dict[str, Any]
    # The label map of tasks that classify.
    labels: list[str] | dict[str, list[str]] | None
    # What else the task has from the corpus and predictions are counted by.
    scored_by: dict[str, Any] = Field(default={}, exclude_if=lambda known: not known)
    # Utterances by split.
    splits: dict[str, int]
    # By scored split, by id of a prediction row: SHA-256 of what is known of it.
    rows: dict[str, dict[str, str]]
    # Where the test split's references are hidden: SHA-256 of the file in which the keeper has them. Its rows are then
    # hashes of their ids alone.
    references: str | None = Field(default=None, exclude_if=lambda sha256: sha256 is None)
    # The fingerprint of the corpus as who has no references of the test split has it, where a task can do without.
    fingerprint_without: str | None = Field(default=None, exclude_if=lambda fingerprint: fingerprint is None)

    @classmethod
    def of(
        cls, task: Task, data_dir: Path, cache_dir: Path | None = None, hide: Callable[[str, Rows], str] | None = None
    ) -> "Manifest":
        """Reads the whole corpus. Raises `SureError` as `Task.load`, and where a task cannot say or cannot hide its
        references.

        `hide` gets the fingerprint and the test split's references, puts these away and gives the SHA-256 of the file.
        """
        data_dir = Path(data_dir)
        splits = task.load(data_dir)
        scored = {split for split, _ in task.evaluations().values()}
        known = {name: task.references(list(splits[name])) for name in sorted(scored)}
        if any(row.get("reference") is None for row in known[HIDDEN]):
            raise SureError(
                f"{data_dir}: its {HIDDEN} split has no references; whoever has them makes the manifest, with "
                "--hide_references where nobody else is to have them."
            )
        if hide and (reason := told(task, known[HIDDEN])):
            raise SureError(f"--hide_references: {reason}")
        decoded = cache.decode(splits, cache_dir=cache_dir, max_seconds=None, workers=None)
        fingerprint, fingerprint_without, references = cache.fingerprint(decoded, task.trials), None, None
        if hide:
            unknown = decoded[HIDDEN].remove_columns(list(task.reference_columns))
            fingerprint_without = cache.fingerprint(decoded | {HIDDEN: unknown}, task.trials)
            references = hide(fingerprint, known[HIDDEN])
            known[HIDDEN] = [without(row) for row in known[HIDDEN]]
        return cls(
            task=task.name,
            fingerprint=fingerprint,
            synthetic=is_synthetic(data_dir),
            options=_chosen(task),
            labels=getattr(task, "labels", None) or None,
            scored_by=_known(task),
            splits={name: len(split) for name, split in splits.items()},
            rows={name: {str(row["id"]): row_hash(row) for row in rows} for name, rows in known.items()},
            references=references,
            fingerprint_without=fingerprint_without,
        )

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Raises `SureError` naming the file and every wrong field."""
        try:
            found = path.stat()
            return _read(path, found.st_mtime_ns, found.st_size)
        except OSError as error:
            raise SureError(f"{path}: cannot be read ({error.strerror}).") from None
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
            raise SureError(f"{path} is not a manifest of schema version {SCHEMA_VERSION}: {wrong}.") from None

    def path(self, board: Path) -> Path:
        """Where a board looks for it."""
        return Path(board) / "manifests" / f"{self.task}-{self.fingerprint[:8]}.json"

    def write(self, board: Path) -> Path:
        """Gives where it is."""
        path = self.path(board)
        write_atomically(path, json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n")
        return path

    def hides(self, task: Task) -> set[str]:
        """The evaluations whose references the board does not have."""
        return {name for name, (split, _) in task.evaluations().items() if split == HIDDEN and self.references}

    def contradictions(self, result: Result) -> Iterator[str]:
        """In what a record says something else of this corpus, each as `field: what`."""
        data = result.run.data
        for name, utterances in self.splits.items():
            said = data.splits[name].utterances if name in data.splits else 0
            # Few shots are drawn of the training split.
            if said != utterances and not (name == "train" and _shots(result)):
                yield f"run.data.splits.{name}: {said:,} utterances; the corpus has {utterances:,}."
        if data.synthetic != self.synthetic:
            yield f"run.data.synthetic: {data.synthetic}; the corpus' is {self.synthetic}."
        labels = result.run.task_options.get("labels")
        if self.labels is not None and labels != self.labels:
            yield f"run.task_options.labels: {_short(labels)}; the corpus has {_short(self.labels)}."
        for name, value in self.scored_by.items():
            if (said := result.run.task_options.get(name)) != value:
                yield f"run.task_options.{name}: {_short(said)}; the corpus has {_short(value)}."


@functools.lru_cache(maxsize=8)
def _read(path: Path, *_: int) -> Manifest:
    """Once for all submissions that are held to it; read again when the file has changed."""
    return Manifest.model_validate_json(path.read_bytes())


def known_manifests(board: Path, task: str) -> list[Manifest]:
    """Those of a task. Raises `SureError` for one that cannot be read."""
    # A record comes from anyone: its task's name makes no path.
    paths = [path for path in sorted((Path(board) / "manifests").glob("*.json")) if path.name.startswith(f"{task}-")]
    return [one for one in map(Manifest.read, paths) if one.task == task]


def manifest_of(board: Path, result: Result) -> tuple[Manifest | None, list[str]]:
    """The manifest that a record is held to, if there is one, and what is wrong with the record's fingerprint.

    What few shots leave of a corpus has a fingerprint of its own, and the rows of the corpus' manifest. Raises
    `SureError` for a manifest that cannot be read.
    """
    run = result.run
    manifests = known_manifests(board, run.task)
    exact = next((one for one in manifests if run.data.fingerprint in (one.fingerprint, one.fingerprint_without)), None)
    if exact and run.data.fingerprint != exact.fingerprint:
        return exact, [
            f"run.data.fingerprint: {run.data.fingerprint[:8]}, of the corpus without references; a submission has "
            f"{exact.fingerprint[:8]}, which `sure submit` writes."
        ]
    if exact or not manifests:
        return exact, []
    sizes = {name: split.utterances for name, split in run.data.splits.items()}
    alike = [
        one
        for one in manifests
        if all(sizes.get(name) == size for name, size in one.splits.items() if name != "train" or not _shots(result))
        and all(run.task_options.get(name) == value for name, value in one.options.items())
    ]
    if not alike:
        return None, []
    if _shots(result):
        return alike[0], []
    return alike[0], [
        f"run.data.fingerprint: {run.data.fingerprint[:8]}; of a corpus of these sizes the board knows "
        f"{', '.join(one.fingerprint[:8] for one in alike)}, whose files, labels or splits are others."
    ]


def differences(manifest: Manifest, split: str, rows: Iterable[dict[str, Any]], first: int = 1) -> Iterator[str]:
    """What of an evaluation's rows is not the manifest's, each to follow the file's name; their `first` line."""
    known, seen = manifest.rows.get(split, {}), set()
    for number, row in enumerate(rows, start=first):
        if not isinstance(row, dict):
            continue
        name = str(row.get("id"))
        seen.add(name)
        if name not in known:
            yield f", line {number}, id: {name[:80]!r} is no row of the manifest's {split} split."
        elif row_hash(row) == known[name]:
            continue
        elif split == HIDDEN and manifest.references:
            there = ", ".join(field for field in KNOWN if row.get(field) is not None)
            yield f", line {number}, {there}: the board hides the references of its {split} split; leave this out."
        else:
            yield f", line {number}, reference: {name[:80]!r} has another reference or speaker in the manifest."
    if absent := known.keys() - seen:
        yield f": {len(absent):,} rows of the manifest's {split} split are missing, such as {min(absent)[:80]!r}."


def without(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what it has from its corpus, but for its id."""
    return {name: value for name, value in row.items() if name not in KNOWN}


def row_hash(row: dict[str, Any]) -> str:
    """SHA-256 of what a row has from its corpus."""
    known = {name: row[name] for name in KNOWN if row.get(name) is not None}
    content = json.dumps([str(row["id"]), known], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def told(task: Task, rows: Rows) -> str | None:
    """Why a test split's references cannot be hidden; None where they can."""
    if not task.reference_columns:
        return f"{task.name} cannot predict without them, so that they cannot be hidden from who submits."
    if task.cross_validation:
        return f"{task.name} is tested in folds, and what one tests the others learn from."
    if rows and all(_says(str(row["id"]), row["reference"]) for row in rows):
        return f"every id of the test split says its reference, such as {rows[0]['id']!r}; ids are public."
    return None


def _says(name: str, reference: Any) -> bool:
    """Whether an id has a label, or one of several columns', among its words."""
    labels = reference.values() if isinstance(reference, dict) else [reference]
    return any(re.search(rf"(?<![^\W_]){re.escape(str(label))}(?![^\W_])", name, re.IGNORECASE) for label in labels)


def _chosen(task: Task) -> dict[str, Any]:
    """Options as a record has them."""
    names = [field.name for field in registry.options_of(type(task))]
    return json.loads(json.dumps({name: getattr(task, name) for name in names if name not in _OF_SHOTS}))


def _known(task: Task) -> dict[str, Any]:
    """What it has learned of its corpus that predictions are counted by, as a record has it."""
    chosen = {field.name for field in registry.options_of(type(task))}
    return json.loads(json.dumps({name: getattr(task, name) for name in task.scored_by if name not in chosen}))


def _shots(result: Result) -> bool:
    return result.run.task_options.get("shots") is not None


def _short(labels: Any) -> str:
    text = json.dumps(labels, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}..."
