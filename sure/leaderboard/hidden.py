"""References that a board does not have: its keeper has them in a file of their own, and scores with it.

The file is JSON lines: first of what corpus it is, with a random salt, then a row for each of the test split, as
`sure.leaderboard.manifest` knows them. The manifest has its SHA-256, of which the salt keeps labels from being guessed.
Submissions have predictions without references and without scores on test; here the two are joined, outside the board,
and what reads submissions reads them there as any others.
"""

import hashlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sure.errors import SureError
from sure.files import write_atomically
from sure.leaderboard.disclosure import SUBMISSION
from sure.leaderboard.entries import Entry, comparable, groups
from sure.leaderboard.manifest import HIDDEN, KNOWN, Manifest, differences, known_manifests, manifest_of, without
from sure.leaderboard.recount import WEIGHTS
from sure.leaderboard.submission import Rows, folders, left_out, read, rows_of, score, task_of
from sure.record import RESULT, Result, Score, untrusted, write_predictions
from sure.task.scoring import interval

# What a references file begins with.
_HEADER = ("task", "fingerprint", "salt")

# What of an entry nobody but the keeper can make, beside the scores of its runs; and what of it depends on others.
_OF_SCORES = ("test", "interval")
_AMONG_OTHERS = ("rank", "tied", "difference", "to_probe", "better_than")


def write(path: Path, task: str, fingerprint: str, rows: Rows) -> str:
    """Write the references of a test split, for the keeper alone; gives the SHA-256 of the file."""
    header = dict(zip(_HEADER, (task, fingerprint, secrets.token_hex(32)), strict=True))
    known = [{name: row[name] for name in ("id", *KNOWN) if row.get(name) is not None} for row in rows]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (header, *known))
    write_atomically(path, text, private=True)
    return hashlib.sha256(text.encode()).hexdigest()


def references(path: Path, board: Path) -> tuple[Manifest, dict[str, dict[str, Any]]]:
    """The board's manifest whose references a file has, and these by id.

    Raises one `SureError` with all that keeps the file from being the one that the manifest pins.
    """
    content = untrusted.contents(path, untrusted.MOST_PREDICTIONS, "file of references")
    header, *rows = untrusted.rows(path, content)
    if not isinstance(header, dict) or set(header) != set(_HEADER):
        raise SureError(
            f"{path}, line 1: not a file of references, which begins with {', '.join(_HEADER)}; "
            "`sure leaderboard manifest --hide_references` makes one."
        )
    corpus = header["task"], header["fingerprint"]
    manifest = next(
        (one for one in known_manifests(board, str(corpus[0])) if (one.task, one.fingerprint) == corpus), None
    )
    if manifest is None or manifest.references is None:
        of = f"{corpus[0]}, corpus {str(corpus[1])[:8]}"
        what = "no manifest of it" if manifest is None else "its manifest, which hides no references"
        raise SureError(f"{path}, line 1: the references of {of}; {board} has {what}.")
    if hashlib.sha256(content).hexdigest() == manifest.references:
        return manifest, {str(row["id"]): row for row in rows}
    faults = [f"{path}{what}" for what in differences(manifest, HIDDEN, map(_id, rows), first=2)]
    faults.append(
        f"{path}: its SHA-256 is not the one in the manifest of {manifest.task}; it was changed, or is of another one."
    )
    raise SureError("\n".join(untrusted.first_of(faults, path)))


def _id(row: Any) -> Any:
    """What of a row of references a manifest that hides them pins."""
    return without(row) if isinstance(row, dict) else row


@contextmanager
def joined(board: Path, files: Iterable[Path]) -> Iterator[Mapping[Path, Path | None]]:
    """By the folder of each submission whose references these files have, where it is with them and its scores.

    Raises `SureError` as `references`; None, with a warning, for one that cannot be scored, whatever it claims.
    """
    known = {(of.task, of.fingerprint): (of, rows) for of, rows in (references(Path(path), board) for path in files)}
    with tempfile.TemporaryDirectory() as temporary:
        found = {}
        for folder in folders(board) if known else ():
            with left_out():
                result = read(folder / RESULT)
                pinned, _ = manifest_of(board, result)
                of = known.get((pinned.task, pinned.fingerprint)) if pinned else None
                if of and result.status == "complete":
                    found[folder] = None
                    found[folder] = _scored(folder, result, Path(temporary) / folder.name, *of)
        yield found


def _scored(folder: Path, result: Result, target: Path, manifest: Manifest, known: Mapping[str, dict]) -> Path:
    """Write a submission with references and scores."""
    task, rows = task_of(folder / RESULT, result), {}
    for name in manifest.hides(task):
        found = rows_of(folder / RESULT, result, task, name)
        if faults := list(differences(manifest, HIDDEN, found)):
            path = folder / result.predictions[name].path
            raise SureError("\n".join(untrusted.first_of([f"{path}{what}" for what in faults], path)))
        rows[name] = [row | known[str(row["id"])] for row in found]
    scored = score(folder / RESULT, result, task, rows)
    made = interval(scored)
    of_all = {field: getattr(result.interval, field) | getattr(made, field) for field in ("resampled", "speakers")}
    result = result.model_copy(
        update={
            "scores": result.scores | {name: of.scores for name, of in scored.items()},
            "interval": result.interval.model_copy(update=of_all),
        }
    )
    _write(folder, result, target, rows, [SUBMISSION])
    return target


def with_earlier_scores(entries: Iterable[Entry], before: Iterable[Entry]) -> Iterator[Entry]:
    """Entries, of which those whose references are hidden have the scores of `before`, when their keeper made them.

    All else is what submissions say. An entry of which a run is gone has no score; a seed that has come since is no
    part of one. Where a submission that had been ranked is gone, the others have scores and no rank.
    """
    of_groups = {comparable(group[0]): group for group in groups(before)}
    for group in groups(entries):
        lacking = [entry for entry in group if entry.status == "complete" and not entry.score]
        there = {run.submission for entry in group for run in entry.runs}
        scored, ranked = [], of_groups.get(comparable(group[0]), []) if lacking else []
        gone = {run.submission for earlier in ranked if earlier.score for run in earlier.runs} - there
        fields = _OF_SCORES if gone else (*_OF_SCORES, *_AMONG_OTHERS)
        for earlier in ranked:
            known = {run.submission: run.score for run in earlier.runs}
            now = next((one for one in lacking if known.keys() <= {run.submission for run in one.runs}), None)
            if now is None or not earlier.score:
                continue
            lacking.remove(now)
            runs = [
                run.model_copy(update={"score": known[run.submission]}) for run in now.runs if run.submission in known
            ]
            made = {field: getattr(earlier, field) for field in fields} | {"runs": runs}
            scored.append(now.model_copy(update=made))
        yield from scored
        names = {entry.submission for entry in scored}
        yield from (entry for entry in group if entry.submission not in names)


@contextmanager
def without_references(record: Path, result: Result, board: Path, *, weights: bool) -> Iterator[tuple[Path, Result]]:
    """A run's record and where it is, as a board may have it: without what a manifest of it hides.

    The fingerprint becomes that of the corpus with its references: who has these and who has not share a table. Errors
    name the run's own files.
    """
    pinned, _ = manifest_of(board, result) if result.status == "complete" else (None, [])
    task = task_of(record, result) if pinned else None
    if not task or not (hidden := pinned.hides(task)):
        yield record, result
        return
    rows = {
        name: [without(row) for row in rows_of(record, result, task, name)]
        for name in sorted(hidden & set(result.predictions))
    }
    made = result.interval and {
        field: {name: of for name, of in getattr(result.interval, field).items() if name not in hidden}
        for field in ("resampled", "speakers")
    }
    scores: dict[str, dict[str, Score]] = {name: of for name, of in result.scores.items() if name not in hidden}
    changed = {"scores": scores, "interval": made and result.interval.model_copy(update=made)}
    if result.run.data.fingerprint == pinned.fingerprint_without:
        data = result.run.data.model_copy(update={"fingerprint": pinned.fingerprint})
        changed["run"] = result.run.model_copy(update={"data": data})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        also = [WEIGHTS] if weights else []
        result = _write(record.parent, result.model_copy(update=changed), folder, rows, also)
        try:
            yield folder / RESULT, result
        except SureError as error:
            raise SureError(str(error).replace(str(folder), str(record.parent))) from None


def _write(folder: Path, result: Result, target: Path, rows: Mapping[str, Rows], also: Sequence[str]) -> Result:
    """A copy of a run's folder with other rows of some evaluations, and a record of these."""
    target.mkdir()
    for name in (*(file.path for file in (*result.predictions.values(), *result.samples)), *also):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
    files = {name: write_predictions(target / result.predictions[name].path, of) for name, of in rows.items()}
    result = result.model_copy(update={"predictions": result.predictions | files})
    result.write(target / RESULT)
    return result
