"""What a cell's folder holds: an ordinary run, and `cell.json`, which has its attempts and where it paused.

Whoever runs a cell holds the lock that `sure train` takes, and writes `cell.json` under it.
"""

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sure.errors import SureError
from sure.files import write_atomically
from sure.record import RESULT
from sure.sweep.plan import Cell

CELL = "cell.json"
LOG = "log.txt"


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Attempt(_Written):
    """One process at one cell."""

    started: str
    ended: str | None = None
    host: str
    process: int
    # Of its newest checkpoint when the attempt began.
    step: int
    outcome: Literal["paused", "finished", "failed", "does not apply", "killed", "interrupted"] | None = None
    error: str | None = None
    # Whether it counts against the attempts that a cell has; and whether another would end alike.
    counts: bool = False
    final: bool = False


class Reached(_Written):
    """Where a candidate paused; from then on it stays as it is."""

    until: float
    # Where the first checkpoint from there on was.
    share: float
    epochs: float
    validation: float | None
    training_seconds: float
    failures: list[str] = []


class State(_Written):
    """What is known of a cell; of one that nobody has begun, nothing."""

    attempts: list[Attempt] = []
    reached: list[Reached] = []
    # Whether its record is complete; cell.json need not know.
    finished: bool = False

    @classmethod
    def read(cls, folder: Path) -> "State":
        """Raises `SureError` where `cell.json` is none."""
        path = Path(folder) / CELL
        try:
            return cls.of(_content(path), _content(Path(folder) / RESULT))
        except NotADirectoryError:
            raise SureError(f"{path}: one of its folders is a file; choose another --output_dir.") from None
        except (OSError, ValidationError) as error:
            raise SureError(f"{path} is not what `sure sweep` writes ({error}). Delete the cell's folder.") from None

    @classmethod
    def of(cls, attempts: bytes | None, record: bytes | None) -> "State":
        """From the content of `cell.json` and of the record, where there are such. Raises `ValidationError`."""
        state = cls() if attempts is None else cls.model_validate_json(attempts)
        return state.model_copy(update={"finished": _is_complete(record)})

    def write(self, folder: Path) -> None:
        write_atomically(Path(folder) / CELL, self.model_dump_json(indent=1, exclude={"finished"}) + "\n")

    @property
    def open(self) -> Attempt | None:
        """The attempt that has not ended, as far as is known."""
        last = self.attempts[-1] if self.attempts else None
        return last if last and last.ended is None else None

    @property
    def failures(self) -> list[str]:
        return [attempt.error for attempt in self.attempts if attempt.counts and attempt.error]

    def at(self, until: float) -> Reached | None:
        """Where it paused for this share of its steps: at the first checkpoint from there on."""
        return next((reached for reached in self.reached if reached.until <= until <= reached.share), None)

    def failed(self, attempts: int) -> str | None:
        """Why nothing more is done with it, after so many attempts at most; None where something is."""
        if self.finished:
            return None
        given_up = any(attempt.final for attempt in self.attempts)
        if given_up or sum(attempt.counts for attempt in self.attempts) >= attempts:
            return next(attempt.error for attempt in reversed(self.attempts) if attempt.counts)
        return None

    @property
    def does_not_apply(self) -> bool:
        return bool(self.attempts) and self.attempts[-1].outcome == "does not apply"


class States:
    """The states of cells as their folders have them now; those that ended are read once."""

    def __init__(self) -> None:
        self._finished: dict[str, State] = {}

    def __call__(self, cell: Cell) -> State:
        if cell.name not in self._finished:
            state = State.read(cell.folder)
            if not state.finished:
                return state
            self._finished[cell.name] = state
        return self._finished[cell.name]


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _is_complete(record: bytes | None) -> bool:
    try:
        return record is not None and json.loads(record).get("status") == "complete"
    except (ValueError, AttributeError):
        return False
