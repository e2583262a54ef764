"""Predictions of a trained adapter for recordings that need no labels."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from tqdm import tqdm

from sure import audio, backbones, methods  # noqa: F401 methods: PEFT must know ours to read an adapter of theirs
from sure.backbones import Backbone
from sure.errors import SureError
from sure.task import Task, make_task
from sure.text_to_speech import TextToSpeechTask

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}


def predict(adapter: Path, recordings: Sequence[Path], batch_size: int = 16) -> Iterator[dict[str, Any]]:
    """One row per recording, in the order given: `path`, then what the task predicts.

    Where that is a speaker's `embedding`, `cosine_with_first` compares it with that of the first recording.
    `adapter` is the output folder of `sure train`; a folder among the recordings stands for the audio files in it.
    Raises `SureError` for a folder that is no such output, a backbone that has changed since, and unreadable audio.
    """
    paths = [path for recording in recordings for path in _audio_files(Path(recording))]
    task, backbone, model, max_seconds = load(Path(adapter))
    if isinstance(task, TextToSpeechTask):
        raise SureError(f"--adapter {adapter}: trained on {task.name}, it speaks; give it --text or --text_file.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).eval()
    first = None
    with tqdm(total=len(paths), unit="recording", disable=None) as progress:
        for start in range(0, len(paths), batch_size):
            batch = paths[start : start + batch_size]
            inputs = backbone.inputs([audio.load(path, max_seconds=max_seconds) for path in batch])
            with torch.inference_mode():
                outputs = task.reduce(model(**{name: tensor.to(device) for name, tensor in inputs.items()}).logits)
            rows = task.predict(outputs.float().cpu().numpy(), [{"id": str(path)} for path in batch])
            progress.update(len(batch))
            for row in rows:
                if "embedding" in row:
                    first = first or row["embedding"]
                    row = {"id": row["id"], "cosine_with_first": _cosine(first, row["embedding"]), **row}
                yield {"path": row.pop("id"), **row}


def load(adapter: Path) -> tuple[Task, Backbone, PeftModel, float | None]:
    """Task, backbone, adapted model and the seconds of each recording that it was trained on (None: all)."""
    for name in ("run.json", "adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / name).is_file():
            raise SureError(f"--adapter {adapter}: no {name}; expected the output folder of a finished `sure train`.")
    try:
        run = json.loads((adapter / "run.json").read_text(encoding="utf-8"))
        task = make_task(run["task"], run["task_options"])
        arguments, recorded = run["arguments"], run["backbone"]
    except (ValueError, KeyError) as error:
        raise SureError(f"{adapter / 'run.json'} is not a run of `sure train` ({error!r}).") from None
    backbone = backbones.load(recorded["name"], arguments["backbone_revision"])
    if backbone.revision != recorded["revision"]:
        raise SureError(
            f"Backbone {backbone.name} is not the one this adapter was trained on: revision {backbone.revision[:12]}, "
            f"then {recorded['revision'][:12]}."
        )
    model = PeftModel.from_pretrained(task.build_model(backbone), adapter)
    return task, backbone, model, arguments["max_seconds"]


def _cosine(one: list[float], other: list[float]) -> float:
    product = np.dot(one, other) / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-12)
    return round(float(product), 6)


def _audio_files(recording: Path) -> list[Path]:
    if not recording.is_dir():
        return [recording]
    found = sorted(path for path in recording.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not found:
        raise SureError(f"{recording}: no audio files ({', '.join(sorted(AUDIO_SUFFIXES))}) in this folder.")
    return found
