"""A trained adapter on new recordings, which need no labels, or on new texts, which it speaks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sure import audio, registry
from sure.errors import SureError
from sure.task.text_to_speech import TextToSpeechTask, trimmed
from sure.task.trained import load


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


def speak(
    adapter: Path, texts: Sequence[str], speaker: str | None = None, batch_size: int = 16
) -> Iterator[np.ndarray]:
    """One waveform of shape (samples,), 16 kHz, per text, in their order; the same text always sounds the same.

    `adapter` is the output folder of `sure train --task tts_...`, `speaker` one of those it was trained on, who must be
    named where they are several. Raises `SureError` for another folder or speaker, and for an empty text.
    """
    task, backbone, model, _ = load(Path(adapter))
    if not isinstance(task, TextToSpeechTask):
        raise SureError(f"--adapter {adapter}: trained on {task.name}, it hears; give it recordings, no texts.")
    if speaker is None and len(task.voices) > 1:
        raise SureError(f"--speaker is missing: {adapter} learnt the voices of {', '.join(task.voices)}.")
    speaker = speaker or task.voices[0]
    if speaker not in task.voices:
        raise registry.unknown("speaker", speaker, task.voices)
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise SureError(f"Text {number} is empty.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).eval()
    with tqdm(total=len(texts), unit="text", disable=None) as progress:
        for start in range(0, len(texts), batch_size):
            batch = texts[start : start + batch_size]
            inputs = task.batch(backbone, [{"text": text, "speaker": speaker} for text in batch])
            with torch.inference_mode():
                outputs = model(**{name: tensor.to(device) for name, tensor in inputs.items()}).logits
            progress.update(len(batch))
            yield from (trimmed(output) for output in outputs.float().cpu().numpy())


def _cosine(one: list[float], other: list[float]) -> float:
    product = np.dot(one, other) / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-12)
    return round(float(product), 6)


def _audio_files(recording: Path) -> list[Path]:
    if not recording.is_dir():
        return [recording]
    found = sorted(path for path in recording.rglob("*") if path.suffix.lower() in audio.SUFFIXES)
    if not found:
        raise SureError(f"{recording}: no audio files ({', '.join(sorted(audio.SUFFIXES))}) in this folder.")
    return found
