"""The leaderboard: a folder of submitted result records, checked by rescoring their predictions, ranked with ties.

A board holds `submissions/<name>/` (a record and the predictions it names) and what `build` makes of them:
`leaderboard.json`, `schema.json`, `index.html` and a plot per task. `published/` has results in print. Nothing else is
read, and nothing is unpickled.
"""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel

from sure.errors import SureError
from sure.files import locked, write_atomically
from sure.leaderboard.configurations import no_collection, read_entries
from sure.leaderboard.disclosure import Checks, Disclosure
from sure.leaderboard.entries import BOARD, Entry, groups
from sure.leaderboard.hidden import joined, with_earlier_scores, without_references
from sure.leaderboard.overall import Overall, overall
from sure.leaderboard.published import beside, published, published_table
from sure.leaderboard.recount import WEIGHTS
from sure.leaderboard.submission import (
    UNFINISHED,
    check,
    disagreements,
    examine,
    file_name,
    folders,
    names_of,
    read,
    runs_like,
    strays,
)
from sure.leaderboard.views import Filters, render
from sure.record import RESULT, Result

# Of leaderboard.json: 2 names the versions and plug-ins behind each entry, 3 how each interval was made, and ranks by
# paired differences; in 4 an entry is all runs of a configuration, and there are scores over all tasks; 5 says whether
# it is verified, what could not be checked, what its submitter discloses, and which entries it is better than.
SCHEMA_VERSION = 5

_PAGE = "index.html"

logger = logging.getLogger(__name__)


class _Board(BaseModel):
    schema_version: int = SCHEMA_VERSION
    entries: list[Entry]
    overall: list[Overall]


def add(record: Path, board: Path = BOARD, disclosure: Disclosure | None = None, *, weights: bool = False) -> Path:
    """Check a record as `validate` does and copy it to the board with its predictions; gives the submission's folder.

    What could be checked stands beside it in `submission.json`, with what the submitter discloses; with `weights` the
    adapter comes along, of which names and shapes are checked. Where a manifest of the board hides references, they and
    the scores on test stay behind. A record that is there already is left alone, with a warning, but for a disclosure.
    Raises `SureError` for a record that does not hold, or where the board has another complete result of the very same
    run; a failed one gives way.
    """
    record = Path(record)
    record = record / RESULT if record.is_dir() else record
    with without_references(record, read(record), board, weights=weights) as (record, result):
        return _add(record, result, board, disclosure, weights=weights)


def _add(record: Path, result: Result, board: Path, disclosure: Disclosure | None, *, weights: bool) -> Path:
    submissions = Path(board) / "submissions"
    target, earlier = (submissions / name for name in names_of(result))
    target = earlier if earlier.exists() else target
    if target.exists():
        if disclosure is None:
            logger.warning("%s is on the board already; nothing was changed.", target)
        else:
            Checks.of(target).model_copy(update={"disclosure": disclosure}).write(target)
        return target
    if weights and not (record.parent / WEIGHTS).is_file():
        raise SureError(f"{record.parent / WEIGHTS}: no such file; the run's folder has its weights.")
    # What takes its time is done before others have to wait.
    _, checks = examine(record, result, board, disclosure)
    with locked(board, f"--board {board}", wait=True):
        if target.exists():
            logger.warning("%s is on the board already; nothing was changed.", target)
            return target
        submissions.mkdir(exist_ok=True)
        failed = _refuse_again(record, result, board)
        with _unfinished(submissions) as temporary:
            # Whole or not at all: the folder gets its name when everything is in it.
            whole = temporary / "whole"
            whole.mkdir()
            shutil.copyfile(record, whole / RESULT)
            for file in (*result.predictions.values(), *result.samples):
                shutil.copyfile(record.parent / file.path, whole / file.path)
            if weights:
                shutil.copyfile(record.parent / WEIGHTS, whole / WEIGHTS)
            checks.write(whole)
            for number, folder in enumerate(failed):
                # A failed run that has now been completed: at no time are both there.
                folder.rename(temporary / str(number))
            whole.rename(target)
    return target


def _refuse_again(record: Path, result: Result, board: Path) -> list[Path]:
    """Raises `SureError` where the board has this run, complete; gives where it has it failed."""
    before = runs_like(result, board)
    for folder, other in before.items():
        if other.status == "complete":
            raise SureError(f"{record}: {folder} holds this run already; remove that folder to replace it.")
    return list(before)


@contextmanager
def _unfinished(submissions: Path) -> Iterator[Path]:
    """An empty folder; the one that a killed `add` has left goes, as nobody else adds while the board is locked."""
    folder = submissions / UNFINISHED
    with suppress(OSError):
        # Whatever a stranger may have put in its place.
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_again(board: Path, task: str) -> list[Path]:
    """Write anew what is known of the submissions of a task, such as when there is a manifest; gives their folders.

    Raises one `SureError` that names those which do not hold.
    """
    problems, checked = [], []
    for folder in folders(board):
        try:
            if (result := read(folder / RESULT)).run.task != task:
                continue
            _, checks = examine(folder / RESULT, result, board, Checks.of(folder).disclosure)
            checks.write(folder)
            checked.append(folder)
        except SureError as error:
            problems.append(str(error))
    if problems:
        raise SureError("\n".join(problems))
    return checked


def validate(board: Path = BOARD, references: Sequence[Path] = ()) -> int:
    """Check every submission and the files built from them, pages if there are any; gives the number of submissions.

    Scores of hidden references are made again with the files that have these. Raises one `SureError` that lists every
    problem, each with its file; warns where an earlier SURE built the board.
    """
    problems = list(strays(board))
    sound = []
    for folder in folders(board):
        try:
            sound.append(check(folder, board))
        except SureError as error:
            problems.append(str(error))
    problems += disagreements(sound)
    if _built_earlier(board):
        logger.warning("%s was built by an earlier SURE: run `sure leaderboard build --board %s`.", board, board)
    else:
        problems += _not_as_built(board, references, sound=not problems)
    if problems:
        raise SureError("\n".join(problems))
    return len(sound)


def _not_as_built(board: Path, references: Sequence[Path], *, sound: bool) -> Iterator[str]:
    """Files that are not what the submissions make; where these have problems, of the schema alone."""
    built = {"schema.json": schema()}
    if sound:
        entries = _entries(board, references)
        built = _built(entries, board)
    for name, text in built.items():
        path = Path(board) / name
        # Git ignores it, as it does pages of entries: a fresh clone has none.
        if name == _PAGE and not path.exists():
            continue
        if not path.is_file() or path.read_bytes() != text.encode():
            yield f"{path} is not what the submissions make: run `sure leaderboard build --board {board}`."
    if sound:
        from sure.leaderboard import entry_page

        for path in entry_page.changed_pages(entries, board):
            yield f"{path} is not what its submissions make: run `sure leaderboard build --board {board}`."


@no_collection()
def build(board: Path = BOARD, references: Sequence[Path] = ()) -> list[Path]:
    """Write `leaderboard.json`, `schema.json`, `index.html`, `<task>.svg` and, where it has changed, a page per entry.

    The same submissions give the same bytes. Where references are hidden, these files have them; scores that cannot be
    made stay those of the board as it was built before. Gives what was written. Raises `SureError` for a record that
    cannot be read; scores are checked by `add` and `validate`.
    """
    from sure.leaderboard import entry_page

    entries = _entries(board, references)
    files = _built(entries, board)
    for name, text in files.items():
        write_atomically(Path(board) / name, text)
    return [*(Path(board) / name for name in files), *entry_page.write_pages(entries, board)]


def _built(entries: list[Entry], board: Path) -> dict[str, str]:
    """By name the text of the files that are of all entries."""
    from sure.leaderboard import page

    files = {"leaderboard.json": leaderboard_json(entries), "schema.json": schema()}
    files |= {f"{file_name(task)}.svg": svg for task, svg in page.plots(entries).items()}
    return files | {_PAGE: page.page(entries, published(board))}


def show(board: Path = BOARD, filters: Filters | None = None, form: str = "table") -> str:
    """The board, or of it what passes filters, as text: as it was built, or ranked anew where submissions have changed.

    Raises `SureError` where nothing passes, and as `read_entries`.
    """
    if not folders(board):
        return f"{board} has no submissions yet: `sure leaderboard add out/result.json --board {board}` adds one."
    filters = filters or Filters()
    entries = _built_entries(board)
    if not entries:
        # What is not asked for need not be ranked.
        entries = _entries(board, task=filters.task[0] if len(filters.task) == 1 else None)
    return "\n\n".join(
        [render(entries, filters, form), *(_in_print(entries, filters, board) if form == "table" else ())]
    )


def _in_print(entries: list[Entry], filters: Filters, board: Path) -> Iterator[str]:
    """Tables of what papers have of the tasks that are shown whole."""
    if filters == Filters(task=filters.task):
        rows = published(board)
        beside_each = (beside(rows, group[0].task, group[0].options) for group in groups(filters.of(entries)))
        yield from dict.fromkeys(filter(None, map(published_table, beside_each)))


def schema() -> str:
    """The JSON Schema of a result record."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | Result.model_json_schema(), indent=2) + "\n"


def leaderboard_json(entries: list[Entry]) -> str:
    """The text of `leaderboard.json`."""
    return _Board(entries=entries, overall=overall(entries)).model_dump_json(indent=2) + "\n"


def _entries(board: Path, references: Sequence[Path] = (), task: str | None = None) -> list[Entry]:
    """All entries, ranked. Where references are hidden and not in these files, as they were when they last were."""
    with joined(board, references) as scored:
        entries = read_entries(board, task, scored)
    if all(entry.score for entry in entries if entry.status == "complete"):
        return entries
    entries = list(with_earlier_scores(entries, _entries_in_json(board)))
    if lacking := sum(not entry.score for entry in entries if entry.status == "complete"):
        logger.warning(
            "%s: %d entries are not scored, whose references are hidden: their keeper runs `sure leaderboard build "
            "--references FILE`.",
            board,
            lacking,
        )
    return entries


def _built_entries(board: Path) -> list[Entry]:
    """Those of `leaderboard.json` where it is of the submissions there are, whose names hold hashes; else none."""
    entries = _entries_in_json(board)
    names = [folder.name for folder in folders(board)]
    return entries if sorted(run.submission for entry in entries for run in entry.runs) == names else []


def _entries_in_json(board: Path) -> list[Entry]:
    """Those of `leaderboard.json`; none where there is none that can be read, or an earlier SURE made it."""
    try:
        content = json.loads((Path(board) / "leaderboard.json").read_bytes())
        entries = [Entry.model_validate(row) for row in content["entries"]]
        return entries if content["schema_version"] == SCHEMA_VERSION else []
    except (OSError, ValueError, TypeError, KeyError):
        return []


def _built_earlier(board: Path) -> bool:
    try:
        return json.loads((Path(board) / "leaderboard.json").read_bytes()).get("schema_version", 0) < SCHEMA_VERSION
    except (OSError, ValueError, TypeError, AttributeError):
        return False
