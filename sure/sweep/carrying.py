"""What of a cell's folder goes to another machine, and in which order: nothing half there is to be taken for whole."""

import os
from contextlib import suppress
from pathlib import Path

from sure.record import RESULT
from sure.runner.checkpoints import trainer_state
from sure.sweep.state import CELL

CHECKPOINT, TRAINER_STATE = "checkpoint-", "trainer_state.json"
# Each only after everything before it, and they after all else.
LAST = (TRAINER_STATE, RESULT, CELL)

# Of a file: its bytes, and when it was written.
Stamp = tuple[int, int]


def stamps(folder: Path) -> dict[str, Stamp]:
    """What a cell's folder holds and when it was written, in the order in which it is carried.

    Checkpoints only when they are complete, which the trainer's state tells, so that it is the last of each; the record
    after what it names, and the attempts last of all.
    """
    found = {}
    checkpoints = {path for path in folder.glob(f"{CHECKPOINT}*") if trainer_state(path) is not None}
    # It passes over folders that are deleted meanwhile.
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            parts = path.relative_to(folder).parts
            if any(part.startswith(".") for part in parts):
                # The lock, and what is being written.
                continue
            if parts[0].startswith(CHECKPOINT) and folder / parts[0] not in checkpoints:
                continue
            with suppress(FileNotFoundError):
                found["/".join(parts)] = stamp_of(path)
    return dict(sorted(found.items(), key=lambda one: turn(one[0])))


def stamp_of(path: Path) -> Stamp:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def turn(name: str) -> int:
    """Of a file, with which of the others it is carried."""
    return next((number for number, last in enumerate(LAST, 1) if name.endswith(last)), 0)
