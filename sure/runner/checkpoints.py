"""Checkpoints in the output folder of a run, without torch: the newest that is whole, and what it says."""

import json
from pathlib import Path
from typing import Any

from sure.files import write_atomically


def newest_checkpoint(output_dir: Path) -> Path | None:
    """The newest complete checkpoint."""
    complete = {step: path for step, path in checkpoints(output_dir).items() if is_complete(path)}
    return complete[max(complete)] if complete else None


def stopped_early(checkpoint: Path) -> Path | None:
    """The best checkpoint, if training had stopped early when `checkpoint` was written; None if it goes on."""
    state = trainer_state(checkpoint)
    stored = state["stateful_callbacks"].get("EarlyStoppingCallback")
    for early_stopping in stored if isinstance(stored, list) else [stored]:
        if early_stopping is not None:
            patience = early_stopping["args"]["early_stopping_patience"]
            if early_stopping["attributes"]["early_stopping_patience_counter"] >= patience:
                return _best(checkpoint, state)
    return None


def locate_best(checkpoint: Path) -> None:
    """Have the trainer's state in a checkpoint name the best one where that lies now, beside it.

    It is stored as the trainer got to it then: from another folder or another machine it is somewhere else.
    """
    state = trainer_state(checkpoint)
    if state and state.get("best_model_checkpoint"):
        best = str(_best(checkpoint, state))
        if best != state["best_model_checkpoint"]:
            state["best_model_checkpoint"] = best
            write_atomically(checkpoint / "trainer_state.json", json.dumps(state, indent=2) + "\n")


def _best(checkpoint: Path, state: dict[str, Any]) -> Path:
    return checkpoint.parent / Path(state["best_model_checkpoint"]).name


def trainer_state(checkpoint: Path) -> dict[str, Any] | None:
    """What the trainer wrote of itself into a checkpoint; None where it cannot be read."""
    try:
        read = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return read if isinstance(read, dict) else None


def checkpoints(output_dir: Path) -> dict[int, Path]:
    """The trainer's checkpoints by step; other names are a user's own."""
    steps = {path: path.name.removeprefix("checkpoint-") for path in output_dir.glob("checkpoint-*")}
    return {int(step): path for path, step in steps.items() if step.isdecimal()}


def is_complete(checkpoint: Path) -> bool:
    """The trainer writes `trainer_state.json` last."""
    return trainer_state(checkpoint) is not None
