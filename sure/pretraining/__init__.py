"""Small backbones from nothing, on speech that eSpeak NG speaks: an encoder, and a text-to-speech model.

sure pretrain --output_dir out/mini --bf16
sure pretrain --model text_to_speech --output_dir out/mini-tts --steps 6000 --hours 6 --bf16
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sure.errors import SureError
from sure.files import write_atomically

# What a finished pretraining leaves last: settings, cost, log.
RECORD = "pretraining.json"
_WORK = "work"


@dataclass
class Settings:
    """What decides what is learnt; a run resumes under the same settings only. `hours` are those of speech."""

    steps: int = 8000
    hours: float = 8.0
    batch_size: int = 16
    seed: int = 0
    bf16: bool = False


def begin(output_dir: Path, settings: Settings) -> Path | None:
    """The folder for what is needed until all is done, where an interrupted run goes on; None where all is done.

    Raises `SureError` where `output_dir` holds something else, or was made under other settings.
    """
    work = output_dir / _WORK
    if (output_dir / RECORD).exists():
        _same(output_dir / RECORD, settings)
        return None
    if output_dir.exists() and any(output_dir.iterdir()) and not (work / "settings.json").exists():
        raise SureError(f"--output_dir {output_dir} is not empty and holds no pretraining. Choose a new folder.")
    if (work / "settings.json").exists():
        _same(work / "settings.json", settings)
    work.mkdir(parents=True, exist_ok=True)
    write_atomically(work / "settings.json", json.dumps({"settings": asdict(settings)}))
    return work


def conclude(output_dir: Path, made: dict[str, Any], card: Callable[[dict[str, Any]], str]) -> None:
    """Leave the record `made`, and its model card where anything was learnt; what was needed until now goes."""
    if made["settings"]["steps"]:
        write_atomically(output_dir / "README.md", card(made))
    # Last: where this file is, all is there.
    write_atomically(output_dir / RECORD, json.dumps(made, indent=2) + "\n")
    shutil.rmtree(output_dir / _WORK)


def _same(path: Path, settings: Settings) -> None:
    """Raises `SureError` where `path` was made under other settings."""
    before = json.loads(path.read_text(encoding="utf-8"))["settings"]
    differing = [name for name, value in asdict(settings).items() if before.get(name) != value]
    if differing:
        changes = "; ".join(f"{name}: {before.get(name)} there, {asdict(settings)[name]} now" for name in differing)
        raise SureError(f"--output_dir {path.parent} holds another pretraining ({changes}). Choose another folder.")
