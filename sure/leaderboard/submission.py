"""Submissions: a result record with its predictions, held to what the predictions say. Nothing is unpickled."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from sure.errors import SureError
from sure.leaderboard.disclosure import SUBMISSION
from sure.record import RESULT, Result, Score, plugins, read_predictions
from sure.record.samples import read_sample
from sure.task import Task, make_task
from sure.task.scoring import Scored, interval, score_with_intervals

# Rescoring on another machine may differ in the last digits of a float, not in more.
TOLERANCE = 1e-6

Rows = list[dict[str, Any]]


class Submission(NamedTuple):
    """A submission that was checked."""

    folder: Path
    result: Result
    predictions: dict[str, Rows]


def folders(board: Path) -> list[Path]:
    # Hidden ones are an `add` that was cut off, or what file managers leave.
    return sorted((Path(board) / "submissions").glob("[!.]*"))


def read(record: Path) -> Result:
    """A record that does not contradict itself. Raises `SureError`."""
    result = Result.read(record)
    try:
        json.dumps(result.model_dump(), allow_nan=False)
    except ValueError:
        raise SureError(f"{record}: NaN or infinity stands where a number must.") from None
    if result.status == "failed":
        if result.scores or result.predictions:
            raise SureError(f"{record}: a failed run has no scores and no predictions.")
        return result
    if result.cost is None or result.interval is None:
        raise SureError(f"{record}: a complete run states its cost and how its intervals were made.")
    for name, scores in result.scores.items():
        if result.metric not in scores:
            raise SureError(f"{record}: {name} has no {result.metric}, the metric that ranks.")
    return result


def check(folder: Path) -> Submission:
    """Raises `SureError` where the folder is not exactly what `add` makes of its record."""
    for path in (folder, *folder.glob("*")):
        if path.is_symlink():
            raise SureError(f"{path}: a submission holds files, not links.")
    result = read(folder / RESULT)
    named = {RESULT, SUBMISSION, *(file.path for file in (*result.predictions.values(), *result.samples))}
    extra = {path.name for path in folder.glob("*")} - named
    if extra:
        raise SureError(f"{folder}: files that the record does not name: {', '.join(sorted(extra))}.")
    if folder.name != submission_name(result):
        raise SureError(f"{folder}: its name should be {submission_name(result)}; the record or the name was changed.")
    return Submission(folder, result, rescore(folder / RESULT, result))


def rescore(record: Path, result: Result) -> dict[str, Rows]:
    """The predictions by evaluation. Raises `SureError` where they do not give the record's scores and intervals.

    Intervals of earlier records were made in another way and are not compared: no board shows them (`score`).
    """
    if result.status == "failed":
        return {}
    task = task_of(record, result)
    if result.metric != task.metric:
        raise SureError(f"{record}: {result.metric} does not rank {task.name}; {task.metric} does.")
    for what, by_name in (("scores", result.scores), ("predictions", result.predictions)):
        if set(by_name) != set(task.evaluations()):
            raise SureError(f"{record}: {what} are of {sorted(by_name)}; expected {sorted(task.evaluations())}.")
    predictions = {name: rows_of(record, result, task, name) for name in sorted(result.predictions)}
    scored = score(record, result, task, predictions)
    for name, of in scored.items():
        _compare(record, name, result.scores[name], of.scores, with_intervals=not result.made_earlier)
    if not result.made_earlier and result.interval != interval(scored):
        raise SureError(f"{record}: interval is {result.interval!r}; its predictions give {interval(scored)!r}.")
    said = {str(row["id"]) for row in predictions["test"]}
    for sample in result.samples:
        read_sample(record.parent, sample)
        if sample.id not in said:
            raise SureError(f"{record}: the sample {sample.id!r} is of no test utterance.")
    return predictions


def rows_of(record: Path, result: Result, task: Task, evaluation: str) -> Rows:
    """What was predicted. Raises `SureError` where it is not there or has been changed, and for rows that are none."""
    file = result.predictions.get(evaluation)
    if file is None:
        raise SureError(f"{record}: no predictions of {evaluation}.")
    rows = read_predictions(record.parent, file)
    _check_rows(record.parent / file.path, rows, *_expected_rows(result, task, evaluation))
    return rows


def score(record: Path, result: Result, task: Task, predictions: dict[str, Rows]) -> dict[str, Scored]:
    """By evaluation, what its predictions score. Raises `SureError` naming the file that cannot be scored."""
    scored = {}
    for name, rows in predictions.items():
        with naming(record.parent / result.predictions[name].path):
            scored[name] = score_with_intervals(task, rows)
    return scored


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Lets errors about prediction rows, which come from anyone, name their file."""
    try:
        yield
    except (SureError, TypeError) as error:
        raise SureError(f"{path}: {error}") from None


def disagreements(submissions: list[Submission]) -> Iterator[str]:
    """The same run twice, and submissions that were scored on other utterances or references of the same corpus."""
    for number, one in enumerate(submissions):
        for other in submissions[:number]:
            if one.result.run == other.result.run:
                yield f"{one.folder}: the same run as {other.folder}."
            if _corpus(one) == _corpus(other) and any(
                _references(rows) != _references(other.predictions.get(split, rows))
                for split, rows in one.predictions.items()
            ):
                yield f"{one.folder}: other utterances or references than {other.folder}, of the same corpus."


def submission_name(result: Result) -> str:
    """A folder name that says what ran and ends in a hash of the record, whatever characters its fields hold."""
    run = result.run
    content = json.dumps(result.model_dump(mode="json"), sort_keys=True)
    parts = [run.task, run.backbone.name, run.method.name, f"seed{run.seed}"]
    return "--".join([*map(file_name, parts), hashlib.sha256(content.encode()).hexdigest()[:8]])


def runs_like(result: Result, board: Path) -> dict[Path, Result]:
    """The submissions of the same run, by folder: only those whose names say as much of it are read."""
    said, _, _ = submission_name(result).rpartition("--")
    alike = {}
    for folder in sorted((Path(board) / "submissions").glob(f"{said}--*")):
        # `validate` says what is wrong with one that cannot be read.
        with suppress(SureError):
            alike[folder] = read(folder / RESULT)
    return {folder: other for folder, other in alike.items() if other.run == result.run}


def file_name(text: str) -> str:
    """The last 40 characters of a text, as a file may be named: no folder, no hidden file."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text)[-40:].strip("._-") or "_"


def task_of(record: Path, result: Result) -> Task:
    """Its task. Raises `SureError` for a plug-in that is not there, and for what the task refuses."""
    plugins.check(record, result.run.plugins, ("task", "metric"))
    try:
        return make_task(result.run.task, result.run.task_options)
    except (SureError, TypeError, ValueError) as error:
        raise SureError(f"{record}: {error}") from None


def _expected_rows(result: Result, task: Task, evaluation: str) -> tuple[int, str]:
    """How many rows an evaluation has, and of what."""
    data = result.run.data
    if data.trials is not None:
        return data.trials.get(evaluation, 0), "trials"
    split, _ = task.evaluations()[evaluation]
    return (data.splits[split].utterances if split in data.splits else 0), "utterances"


def _check_rows(path: Path, rows: Rows, expected: int, of: str) -> None:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not {"id", "prediction", "reference"} <= set(row):
            raise SureError(f"{path}, line {number}: a row needs id, prediction and reference.")
    if len(rows) != expected:
        raise SureError(f"{path}: {len(rows)} predictions for {expected} {of}.")
    if not rows or len({str(row["id"]) for row in rows}) != len(rows):
        raise SureError(f"{path}: no prediction, or the same id twice.")


def _compare(
    record: Path, split: str, claimed: dict[str, Score], scores: dict[str, Score], *, with_intervals: bool
) -> None:
    if set(claimed) != set(scores):
        raise SureError(f"{record}: {split} has the metrics {sorted(claimed)}; expected {sorted(scores)}.")
    for metric, score in scores.items():
        for field, value in score:
            if not with_intervals and field in ("low", "high", "method"):
                continue
            given = getattr(claimed[metric], field)
            if given != value and not (isinstance(value, float) and abs(given - value) <= TOLERANCE):
                raise SureError(
                    f"{record}: {split} {metric}, {field}: the record says {given}, its predictions give {value}."
                )


def _corpus(submission: Submission) -> tuple[str, str]:
    return submission.result.run.task, submission.result.run.data.fingerprint


def _references(rows: Rows) -> dict[str, Any]:
    return {str(row["id"]): row["reference"] for row in rows}
