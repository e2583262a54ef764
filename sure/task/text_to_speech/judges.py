"""Trained models that judge synthesised speech: whether the words are understood, whether the voice is the speaker's.

A judge is the output folder of `sure train` on speech recognition or on speaker verification. Its scores compare voices
and systems only where the judge is the same one, so a task keeps its `digest` in the record.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import torch

from sure import predict
from sure.audio import SAMPLE_RATE, SHORTEST_SAMPLES
from sure.errors import SureError
from sure.task import Task
from sure.task.speaker_verification import SpeakerVerificationTask
from sure.task.speech_recognition import SpeechRecognitionTask
from sure.task.speech_recognition.normalisation import normalise

_AT_A_TIME = 8


class Judge:
    """A trained adapter of a kind of task; raises `SureError` for any other folder, naming the option that gave it."""

    def __init__(self, folder: Path, kind: type[Task], option: str) -> None:
        try:
            self.task, self.backbone, self.model, max_seconds = predict.load(folder)
        except SureError as error:
            raise SureError(f"--task_options {option}={folder}: {error}") from None
        if not isinstance(self.task, kind):
            raise SureError(f"--task_options {option}={folder}: trained on {self.task.name}; expected {_WANTED[kind]}.")
        self.longest = None if max_seconds is None else round(max_seconds * SAMPLE_RATE)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device).eval().requires_grad_(False)

    def rows(self, waveforms: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """What its task predicts for waveforms of shape (samples,), 16 kHz, in their order."""
        rows = []
        for start in range(0, len(waveforms), _AT_A_TIME):
            batch = [_long_enough(waveform[: self.longest]) for waveform in waveforms[start : start + _AT_A_TIME]]
            inputs = self.backbone.inputs(batch)
            with torch.inference_mode():
                outputs = self.model(**{name: tensor.to(self.device) for name, tensor in inputs.items()}).logits
                outputs = self.task.reduce(outputs)
            rows += self.task.predict(
                outputs.float().cpu().numpy(), [{"id": str(index)} for index in range(len(batch))]
            )
        return rows


_WANTED = {
    SpeechRecognitionTask: "the output folder of `sure train --task asr_...`",
    SpeakerVerificationTask: "the output folder of `sure train --task sv_...`",
}


@cache
def recogniser(folder: str) -> Judge:
    """A speech recogniser, loaded once."""
    return Judge(Path(folder), SpeechRecognitionTask, "recogniser")


@cache
def verifier(folder: str, option: str = "verifier") -> Judge:
    """A model of speakers, loaded once."""
    return Judge(Path(folder), SpeakerVerificationTask, option)


def digest(folder: str) -> str:
    """SHA-256 over a judge's description and weights."""
    files = ("run.json", "adapter_model.safetensors")
    return hashlib.sha256(b"".join((Path(folder) / name).read_bytes() for name in files)).hexdigest()


def word_errors(folder: str, waveforms: Sequence[np.ndarray], texts: Sequence[str]) -> list[dict[str, float | int]]:
    """By utterance `word_error_rate`, errors / `words` of the text, both texts normalised as for speech recognition."""
    measures = []
    for row, text in zip(recogniser(folder).rows(waveforms), texts, strict=True):
        aligned = jiwer.process_words(normalise(text), row["prediction"])
        words = aligned.hits + aligned.substitutions + aligned.deletions
        errors = aligned.substitutions + aligned.deletions + aligned.insertions
        measures.append({"word_error_rate": round(errors / max(1, words), 6), "words": words})
    return measures


def speaker_similarities(
    folder: str, waveforms: Sequence[np.ndarray], recordings: Sequence[np.ndarray]
) -> list[dict[str, float]]:
    """By utterance `speaker_similarity`, the cosine of its speaker embedding and that of the recording."""
    ours, theirs = (embeddings(folder, batch) for batch in (waveforms, recordings))
    return [{"speaker_similarity": round(float(one @ other), 6)} for one, other in zip(ours, theirs, strict=True)]


def embeddings(folder: str, waveforms: Sequence[np.ndarray], option: str = "verifier") -> np.ndarray:
    """Speaker embeddings of length 1, (utterances, size)."""
    rows = np.array([row["embedding"] for row in verifier(folder, option).rows(waveforms)])
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _long_enough(waveform: np.ndarray) -> np.ndarray:
    """A model that has not learnt yet may stop before one frame of an encoder is full."""
    missing = SHORTEST_SAMPLES - len(waveform)
    return np.pad(waveform, (0, missing)) if missing > 0 else waveform
