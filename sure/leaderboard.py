"""The leaderboard: a folder of submitted result records, checked by rescoring their predictions, ranked with ties.

A board holds `submissions/<name>/` (a record and the predictions it names) and what `build` makes of them:
`leaderboard.json`, `schema.json`, `index.html` and a plot per task. Nothing else is read, and nothing is unpickled.
"""

import hashlib
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from itertools import combinations, groupby
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from tabulate import tabulate

from sure import registry
from sure.errors import SureError
from sure.results import BackboneInfo, Interval, MethodInfo, Result, Score, read_predictions, write_atomically
from sure.scoring import score_with_intervals
from sure.task import Task

BOARD = Path("leaderboard")
RECORD = "result.json"

# Rescoring on another machine may differ in the last digits of a float, not in more.
TOLERANCE = 1e-6

logger = logging.getLogger(__name__)


class Entry(BaseModel):
    """One row of the leaderboard."""

    rank: int | None
    tied: bool
    task: str
    fingerprint: str
    synthetic: bool
    backbone: BackboneInfo
    method: MethodInfo
    seed: int
    metric: str
    test: dict[str, Score]
    validation: dict[str, Score]
    interval: Interval | None
    trainable_parameters: int | None
    trainable_parameters_without_head: int | None
    trainable_share: float | None
    trainable_share_without_head: float | None
    adapter_bytes: int | None
    macs_per_second: int | None
    training_seconds: float | None
    memory_maximum: int | None
    status: Literal["complete", "failed"]
    error: str | None
    submission: str

    @property
    def score(self) -> Score | None:
        """The main metric on the test split; None where the run failed."""
        return self.test.get(self.metric)


def add(record: Path, board: Path = BOARD) -> Path:
    """Check a record, rescore its predictions, and copy both to the board; gives the submission's folder.

    A record that is there already is left alone, with a warning. Raises `SureError` for a record that does not hold,
    or where the board has another result of the very same run.
    """
    record = Path(record)
    record = record / RECORD if record.is_dir() else record
    result = Result.read(record)
    _check(record, result)
    submissions = Path(board) / "submissions"
    target = submissions / submission_name(result)
    if target.exists():
        logger.warning("%s is on the board already; nothing was changed.", target)
        return target
    for folder in _folders(board):
        if Result.read(folder / RECORD).run == result.run:
            raise SureError(f"{record}: {folder} holds this run already; remove that folder to replace it.")
    submissions.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=submissions) as temporary:
        # Whole or not at all: the folder gets its name when everything is in it.
        whole = Path(temporary) / "whole"
        whole.mkdir()
        shutil.copyfile(record, whole / RECORD)
        for file in result.predictions.values():
            shutil.copyfile(record.parent / file.path, whole / file.path)
        whole.rename(target)
    return target


def validate(board: Path = BOARD) -> int:
    """Check every submission and the files built from them; gives the number of submissions.

    Raises one `SureError` that lists every problem, each with its file.
    """
    problems = []
    sound = {}
    for folder in _folders(board):
        try:
            sound[folder] = _check_submission(folder)
        except SureError as error:
            problems.append(str(error))
    problems += _disagreements({folder: result for folder, (result, _) in sound.items()}, sound)
    built = {"schema.json": schema()}
    if not problems:
        built["leaderboard.json"] = leaderboard_json(read_entries(board))
    for name, text in built.items():
        path = Path(board) / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            problems.append(f"{path} is not what the submissions make: run `sure leaderboard build --board {board}`.")
    if problems:
        raise SureError("\n".join(problems))
    return len(sound)


def build(board: Path = BOARD) -> list[Path]:
    """Write `leaderboard.json`, `schema.json`, `index.html` and `<task>.svg`; the same submissions give the same bytes.

    Raises `SureError` for a record that cannot be read; scores are checked by `add` and `validate`.
    """
    from sure import leaderboard_page

    entries = read_entries(board)
    files = {"leaderboard.json": leaderboard_json(entries), "schema.json": schema()}
    files |= {f"{task}.svg": svg for task, svg in leaderboard_page.plots(entries).items()}
    files["index.html"] = leaderboard_page.page(entries)
    for name, text in files.items():
        write_atomically(Path(board) / name, text)
    return [Path(board) / name for name in files]


def show(board: Path = BOARD, task: str | None = None) -> str:
    """The board, or one task of it, as text. Raises `SureError` for a task that has no submission."""
    entries = read_entries(board)
    if not entries:
        return f"{board} has no submissions yet: `sure leaderboard add out/result.json --board {board}` adds one."
    tasks = sorted({entry.task for entry in entries})
    if task is not None and task not in tasks:
        raise registry.unknown("task on this board", task, tasks)
    return table(entry for entry in entries if task in (None, entry.task))


def table(entries: Iterable[Entry]) -> str:
    """A plain text table per task and corpus."""
    return "\n\n".join(f"{title(group)}\n{_text_table(group)}" for group in groups(entries))


def title(group: list[Entry]) -> str:
    """What the entries of one group were compared on."""
    first = group[0]
    speech = ", synthetic speech" if first.synthetic else ""
    return f"{first.task}, {words(first.metric)} on test, corpus {first.fingerprint[:8]}{speech}"


def words(name: str) -> str:
    """A name as it reads in a sentence: `weighted_f1` is "weighted F1"."""
    return re.sub(r"\bf1\b", "F1", name.replace("_", " "))


def rank_label(entry: Entry) -> str:
    """`1`, or `1=` where the rank is shared; the status where there is no rank."""
    return entry.status if entry.rank is None else f"{entry.rank}{'=' if entry.tied else ''}"


def groups(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Entries that may be compared: one task, one corpus, one metric."""
    for _, group in groupby(sorted(entries, key=_comparable), key=_comparable):
        yield list(group)


def read_entries(board: Path = BOARD) -> list[Entry]:
    """Every submission as a ranked entry, sorted by task, corpus, metric and rank."""
    entries = [_entry(folder.name, Result.read(folder / RECORD)) for folder in _folders(board)]
    return [entry for group in groups(entries) for entry in rank(group)]


def rank(group: list[Entry]) -> list[Entry]:
    """Entries of one group in order, with ranks; failed runs come last and have none.

    An entry's rank is 1 + the number of entries whose 95 % interval lies wholly on the better side of its own, so that
    entries which the test set cannot tell from the best share its rank.
    """
    scored = [entry for entry in group if entry.score]
    ranks = {
        entry.submission: 1 + sum(_wholly_better(other.score, entry.score) for other in scored) for entry in scored
    }
    shared = list(ranks.values())
    ranked = []
    for entry in group:
        position = ranks.get(entry.submission)
        tied = position is not None and shared.count(position) > 1
        ranked.append(entry.model_copy(update={"rank": position, "tied": tied}))
    return sorted(ranked, key=_order)


def submission_name(result: Result) -> str:
    """A folder name that says what ran and ends in a hash of the record, whatever characters its fields hold."""
    run = result.run
    content = json.dumps(result.model_dump(mode="json"), sort_keys=True)
    parts = [run.task, run.backbone.name, run.method.name, f"seed{run.seed}"]
    readable = [re.sub(r"[^A-Za-z0-9.-]+", "_", part).strip("._-")[-40:] or "_" for part in parts]
    return "--".join([*readable, hashlib.sha256(content.encode()).hexdigest()[:8]])


def schema() -> str:
    """The JSON Schema of a result record."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | Result.model_json_schema(), indent=2) + "\n"


def leaderboard_json(entries: list[Entry]) -> str:
    """The text of `leaderboard.json`."""
    rows = [entry.model_dump(mode="json") for entry in entries]
    return json.dumps({"schema_version": 1, "entries": rows}, indent=2, ensure_ascii=False) + "\n"


def _folders(board: Path) -> list[Path]:
    # Hidden ones are an `add` that was cut off, or what file managers leave.
    return sorted(path for path in (Path(board) / "submissions").glob("[!.]*"))


def _comparable(entry: Entry) -> tuple[str, str, str]:
    return entry.task, entry.fingerprint, entry.metric


def _order(entry: Entry) -> tuple[Any, ...]:
    if entry.score is None:
        return True, 0, 0.0, 0, entry.submission
    value = -entry.score.value if entry.score.higher_is_better else entry.score.value
    return False, entry.rank, value, entry.trainable_parameters, entry.submission


def _wholly_better(one: Score, other: Score) -> bool:
    return one.low > other.high if other.higher_is_better else one.high < other.low


def _entry(name: str, result: Result) -> Entry:
    run, cost = result.run, result.cost
    costs = cost.model_dump(include=set(Entry.model_fields)) if cost else {}
    if cost:
        costs["trainable_parameters_without_head"] = cost.trainable_parameters - cost.head_parameters
        costs["memory_maximum"] = cost.memory and cost.memory.maximum
    unknown = dict.fromkeys(field for field, info in Entry.model_fields.items() if info.annotation in _OPTIONAL_NUMBERS)
    return Entry(
        **unknown
        | costs
        | {
            "tied": False,
            "task": run.task,
            "fingerprint": run.data.fingerprint,
            "synthetic": run.data.synthetic,
            "backbone": run.backbone,
            "method": run.method,
            "seed": run.seed,
            "metric": result.metric,
            "test": result.scores.get("test", {}),
            "validation": result.scores.get("validation", {}),
            "interval": result.interval,
            "status": result.status,
            "error": result.error,
            "submission": name,
        }
    )
