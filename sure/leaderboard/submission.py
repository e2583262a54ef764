"""Submissions: a result record with its predictions, held to what the predictions say. Nothing is unpickled.

All that is wrong with one is said at once, each fault with file, line and field.
"""

import hashlib
import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from sure.errors import SureError
from sure.leaderboard import recount
from sure.leaderboard.consistency import contradictions, of_task_options
from sure.leaderboard.disclosure import SUBMISSION, Checks, Disclosure
from sure.leaderboard.manifest import HIDDEN, KNOWN, Manifest, Rows, differences, manifest_of
from sure.record import DECISIVE, RESULT, Result, Score, plugins, read_predictions, untrusted
from sure.record.samples import MOST_BYTES, read_sample
from sure.task import Task, make_task
from sure.task.scoring import Scored, interval, score_with_intervals

# Rescoring on another machine may differ in the last digits of a float, not in more.
TOLERANCE = 1e-6

# What an `add` makes before it is whole.
UNFINISHED = ".adding"

# Characters of a setting that are said: modules may be named by a long pattern.
LONGEST_VALUE = 40

_log = logging.getLogger(__name__)


class Submission(NamedTuple):
    """A submission that was checked."""

    folder: Path
    result: Result
    predictions: dict[str, Rows]
    checks: Checks


def folders(board: Path) -> list[Path]:
    """Those of submissions, by name. Hidden ones are an `add` that was cut off, or what file managers leave."""
    return [Path(found.path) for found in _members(board) if found.is_dir(follow_symlinks=False)]


def strays(board: Path) -> Iterator[str]:
    """What else lies among submissions, in words."""
    for found in _members(board):
        if not found.is_dir(follow_symlinks=False):
            yield f"{found.path}: {'a link' if found.is_symlink() else 'a file'}, where submissions have a folder each."


def _members(board: Path) -> list[os.DirEntry]:
    with suppress(OSError), os.scandir(Path(board) / "submissions") as found:
        return sorted((one for one in found if not one.name.startswith(".")), key=lambda one: one.name)
    return []


def read(record: Path) -> Result:
    """A record that does not contradict itself. Raises one `SureError` with all that is wrong with it."""
    content = untrusted.contents(record, untrusted.MOST_RECORD, "result record")
    text = untrusted.text(record, content)
    try:
        faults = [f"{record}: {field or 'file'}: {what}." for field, what in untrusted.odd_in(text)]
    except ValueError as error:
        raise SureError(f"{record}: not JSON ({error}).") from None
    if faults:
        raise SureError("\n".join(untrusted.first_of(faults, record)))
    result = Result.of(content, record)
    if faults := [f"{record}: {what}" for what in contradictions(result)]:
        raise SureError("\n".join(faults))
    return result


def check(folder: Path, board: Path) -> Submission:
    """Raises one `SureError` with all that keeps the folder from being what `add` makes of its record."""
    faults = [f"{folder}: a link; a submission is a folder."] if folder.is_symlink() else []
    result = read(folder / RESULT)
    faults += _faults_of_folder(folder, result)
    if folder.name not in names_of(result):
        faults.append(f"{folder}: its name should be {submission_name(result)}; the record or the name was changed.")
    said = None
    try:
        said = Checks.of(folder)
    except SureError as error:
        faults.append(str(error))
    try:
        predictions, checks = examine(folder / RESULT, result, board, said and said.disclosure)
    except SureError as error:
        raise SureError("\n".join([*faults, str(error)])) from None
    if said and (folder / SUBMISSION).exists():
        if said.verified and not checks.verified:
            faults.append(f"{folder / SUBMISSION}: verified: it is self-reported: {'; '.join(checks.unchecked)}.")
        if unsaid := [what for what in checks.unchecked if what not in said.unchecked]:
            faults.append(f"{folder / SUBMISSION}: unchecked: it does not say: {'; '.join(unsaid)}.")
    if faults:
        raise SureError("\n".join(faults))
    return Submission(folder, result, predictions, checks)


def examine(
    record: Path, result: Result, board: Path, disclosure: Disclosure | None = None
) -> tuple[dict[str, Rows], Checks]:
    """The predictions by evaluation, and what could be checked of them and of the record.

    Raises one `SureError` where they do not give the record's scores and intervals, where they are not of the
    manifest's rows or references, and where its counts are not those of its configuration.
    """
    if result.status == "failed":
        return {}, Checks(disclosure=disclosure, unchecked=["anything: the run failed"])
    task, unchecked = task_of(record, result), []
    faults = [f"{record}: {what}" for what in of_task_options(result.run, task)]
    pinned, found = manifest_of(board, result)
    hidden = pinned.hides(task) if pinned else set()
    try:
        predictions = rescore(record, result, hidden)
    except SureError as error:
        predictions = None
        faults.append(str(error))
    counted = recount.compared(result, task, record.parent)
    faults += [f"{record}: {what}" for what in counted.faults]
    unchecked += counted.unchecked
    faults += [f"{record}: {what}" for what in found]
    if hidden:
        unchecked.insert(0, f"scores on {HIDDEN}: the references are hidden; the board's keeper has them, and scores")
    if pinned is None:
        unchecked.insert(0, "references: the board has no manifest of this corpus; they are the submitter's own")
    else:
        faults += _against(pinned, record, result, task, predictions)
    if faults:
        raise SureError("\n".join(faults))
    return predictions, Checks(
        disclosure=disclosure, verified=pinned is not None and counted.counted, unchecked=unchecked
    )


def _against(
    pinned: Manifest, record: Path, result: Result, task: Task, predictions: dict[str, Rows] | None
) -> Iterator[str]:
    for what in pinned.contradictions(result):
        yield f"{record}: {what}"
    for name, (split, _) in task.evaluations().items():
        try:
            rows = predictions[name] if predictions else _rows(record, result, name)
        except (SureError, KeyError):
            # It has been said.
            continue
        path = record.parent / result.predictions[name].path
        yield from untrusted.first_of([f"{path}{what}" for what in differences(pinned, split, rows)], path)


def rescore(record: Path, result: Result, hidden: Set[str] = frozenset()) -> dict[str, Rows]:
    """The predictions by evaluation.

    Raises one `SureError` with all in which they do not give the record's scores and intervals; of `hidden` evaluations
    there are none, since whoever submits has no references. Intervals of earlier records were made in another way and
    are not compared: no board shows them (`score`).
    """
    if result.status == "failed":
        return {}
    task, faults = task_of(record, result), []
    if result.metric != task.metric:
        faults.append(f"{record}: metric: {result.metric} does not rank {task.name}; {task.metric} does.")
    expected = set(task.evaluations())
    for what, by_name, of in (
        ("scores", result.scores, expected - hidden),
        ("predictions", result.predictions, expected),
    ):
        if set(by_name) != of:
            why = ""
            if hidden & set(by_name) - of:
                why = ", since the board hides references"
            elif of & set(result.predictions) - set(by_name):
                why = "; predictions alone are for a board whose manifest hides references"
            faults.append(f"{record}: {what} are of {sorted(by_name)}; expected {sorted(of)}{why}.")
    predictions, scored = {}, {}
    for name in sorted(expected & set(result.predictions)):
        try:
            predictions[name] = rows_of(record, result, task, name)
            if name in result.scores:
                scored |= score(record, result, task, {name: predictions[name]})
            elif task.reference_columns:
                # Whether it is something that a reference could be, its keeper should not be the first to see.
                with naming(record.parent / result.predictions[name].path):
                    task.comparable([row | {"reference": row["prediction"]} for row in predictions[name]])
        except SureError as error:
            faults.append(str(error))
    for name, of in scored.items():
        claimed, with_intervals = result.scores[name], not result.made_earlier
        faults += [f"{record}: {what}" for what in _unlike(name, claimed, of.scores, with_intervals)]
    if set(scored) == expected - hidden and not result.made_earlier and result.interval != interval(scored):
        faults.append(f"{record}: interval is {result.interval!r}; its predictions give {interval(scored)!r}.")
    said = {str(row["id"]) for row in predictions.get("test", [])}
    for sample in result.samples:
        try:
            read_sample(record.parent, sample)
        except SureError as error:
            faults.append(str(error))
        if said and sample.id not in said:
            faults.append(f"{record}: the sample {sample.id!r} is of no test utterance.")
    if faults:
        raise SureError("\n".join(faults))
    return predictions


def rows_of(record: Path, result: Result, task: Task, evaluation: str) -> Rows:
    """What was predicted. Raises `SureError` where it is not there or has been changed, and for rows that are none.

    Of an evaluation that the record does not score, rows may be without references.
    """
    rows = _rows(record, result, evaluation)
    path = record.parent / result.predictions[evaluation].path
    fields = ("id", "prediction", "reference") if evaluation in result.scores else ("id", "prediction")
    if faults := list(_faults_of_rows(path, rows, fields, *_expected_rows(result, task, evaluation))):
        raise SureError("\n".join(untrusted.first_of(faults, path)))
    return rows


def _rows(record: Path, result: Result, evaluation: str) -> Rows:
    file = result.predictions.get(evaluation)
    if file is None:
        raise SureError(f"{record}: no predictions of {evaluation}.")
    return read_predictions(record.parent, file)


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
    except (SureError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise SureError(f"{path}: {error}") from None


@contextmanager
def left_out() -> Iterator[None]:
    """Names what is wrong with a submission, which does not take a board from all others, and goes on."""
    try:
        yield
    except SureError as error:
        _log.warning("Left out: %s", error)


def disagreements(submissions: list[Submission]) -> Iterator[str]:
    """The same run twice, and submissions whose utterances, references or speakers of one corpus are not the same."""
    alike = defaultdict(list)
    for one in submissions:
        for other in alike[_decisive(one.result)]:
            if same_run(one.result, other.result):
                yield f"{one.folder}: the same run as {other.folder}."
        alike[_decisive(one.result)].append(one)
    # By corpus, evaluation and field the first submission that is held to it, with what it was scored on.
    firsts: dict[tuple[str, ...], tuple[Submission, dict[str, Any]]] = {}
    for one in submissions:
        corpus = one.result.run.task, one.result.run.data.fingerprint
        # Of several fields, each other submission once.
        others = {}
        for name, rows in one.predictions.items():
            for field in _compared(one.result):
                values = _values(rows, field)
                first, before = firsts.setdefault((*corpus, name, field), (one, values))
                if values != before:
                    others[name, first.folder] = None
        for name, folder in others:
            # Which of two is wrong, nobody can say but a manifest.
            yield (
                f"{one.folder} and {folder}: other utterances, references or speakers than one another in {name}, of "
                "the same corpus; a manifest of it tells whose are wrong (`sure leaderboard manifest`)."
            )


def same_run(one: Result, other: Result) -> bool:
    """Whether a board that has the one has the other: all that decides scores is the same, and so is where it ran.

    Where it ran elsewhere, with other predictions, it is another run. Folders and logs make none.
    """
    if _decisive(one) != _decisive(other):
        return False
    if one.status == "failed" or other.status == "failed":
        return True
    return one.predictions == other.predictions or _place(one) == _place(other)


def decisive(result: Result) -> dict[str, Any]:
    """What a record says of its run, and of its arguments those that decide scores."""
    run = result.run
    arguments = {name: run.arguments.get(name) for name in DECISIVE}
    return run.model_dump(mode="json", exclude={"arguments"}) | {"arguments": arguments}


def flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by their names with dots, such as `method.config.lora.r`."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def shortened(text: str, longest: int) -> str:
    """A text of at most so many characters, where it was cut with an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _decisive(result: Result) -> str:
    said = decisive(result)
    # Names of submissions have a hash of it.
    arguments = list(said.pop("arguments").values())
    return json.dumps([said, arguments], sort_keys=True)


def _place(result: Result) -> tuple[Any, ...]:
    return result.cost.device, result.cost.processes, result.provenance.versions, result.provenance.platform


def submission_name(result: Result) -> str:
    """A folder name that says what ran and ends in hashes of the run and of the record, whatever these hold."""
    return names_of(result)[0]


def names_of(result: Result) -> tuple[str, str]:
    """That of a submission, and the one that it had before names told runs apart, which stands on boards."""
    run = result.run
    content = json.dumps(result.model_dump(mode="json"), sort_keys=True)
    said = "--".join(map(file_name, [run.task, run.backbone.name, run.method.name, f"seed{run.seed}"]))
    of_run, of_record = (hashlib.sha256(text.encode()).hexdigest()[:8] for text in (_decisive(result), content))
    return f"{said}--{of_run}-{of_record}", f"{said}--{of_record}"


def runs_like(result: Result, board: Path) -> dict[Path, Result]:
    """The submissions of the same run, by folder: only those whose names do not say that they are of another."""
    said, _, hashes = submission_name(result).rpartition("--")
    run = hashes.partition("-")[0]
    alike = {}
    # Of ten thousand names, paths would take longer than all else.
    for name in sorted(one.name for one in os.scandir(Path(board) / "submissions") if one.name.startswith(f"{said}--")):
        hashes = name.removeprefix(f"{said}--")
        if "-" not in hashes or hashes.startswith(f"{run}-"):
            folder = Path(board) / "submissions" / name
            # `validate` says what is wrong with one that cannot be read.
            with suppress(SureError):
                alike[folder] = read(folder / RESULT)
    return {folder: other for folder, other in alike.items() if same_run(other, result)}


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


def _faults_of_folder(folder: Path, result: Result) -> Iterator[str]:
    """Links, pipes, folders, files that are too large, and those that nobody asked for."""
    most = {RESULT: untrusted.MOST_RECORD, SUBMISSION: untrusted.MOST_RECORD, recount.WEIGHTS: untrusted.MOST_WEIGHTS}
    most |= {file.path: untrusted.MOST_PREDICTIONS for file in result.predictions.values()}
    most |= {sample.path: MOST_BYTES for sample in result.samples}
    extra = []
    for path in sorted(folder.iterdir()):
        if path.name not in most:
            extra.append(path.name)
        elif fault := untrusted.file_fault(path, most[path.name], "file of a submission"):
            yield fault
    if extra:
        yield f"{folder}: files that the record does not name: {', '.join(map(ascii, extra))}."


def _expected_rows(result: Result, task: Task, evaluation: str) -> tuple[int, str]:
    """How many rows an evaluation has, and of what."""
    data = result.run.data
    if data.trials is not None:
        return data.trials.get(evaluation, 0), "trials"
    split, _ = task.evaluations()[evaluation]
    return (data.splits[split].utterances if split in data.splits else 0), "utterances"


def _faults_of_rows(path: Path, rows: Rows, fields: Sequence[str], expected: int, of: str) -> Iterator[str]:
    lines: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not set(fields) <= set(row):
            yield f"{path}, line {number}: a row needs {', '.join(fields[:-1])} and {fields[-1]}."
            continue
        if (first := lines.setdefault(str(row["id"]), number)) != number:
            yield f"{path}, line {number}, id: {row['id']!r} is the same id twice, first in line {first}."
    if len(rows) != expected:
        yield f"{path}: {len(rows)} predictions for {expected} {of}."
    if not rows:
        yield f"{path}: no prediction."


def _unlike(split: str, claimed: dict[str, Score], scores: dict[str, Score], with_intervals: bool) -> Iterator[str]:
    if set(claimed) != set(scores):
        yield f"{split} has the metrics {sorted(claimed)}; expected {sorted(scores)}."
    for metric in sorted(set(claimed) & set(scores)):
        for field, value in scores[metric]:
            if not with_intervals and field in ("low", "high", "method"):
                continue
            given = getattr(claimed[metric], field)
            if given != value and not (isinstance(value, float) and abs(given - value) <= TOLERANCE):
                yield f"{split} {metric}, {field}: the record says {given}, its predictions give {value}."


def _compared(result: Result) -> list[str]:
    """Fields in which submissions must agree: all of a table are drawn by the speakers that any of them names."""
    # Earlier records do not name the other speaker of a trial.
    unnamed = {"test_speaker"} if result.made_earlier and result.run.data.trials is not None else set()
    return [field for field in KNOWN if field not in unnamed]


def _values(rows: Rows, field: str) -> dict[str, Any]:
    return {str(row["id"]): row.get(field) for row in rows}
