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

from sure.audio import SAMPLE_RATE, SHORTEST_SAMPLES
from sure.errors import SureError
from sure.record import RUN
from sure.task import Task
from sure.task.speaker_verification import SpeakerVerificationTask
from sure.task.speech_recognition import SpeechRecognitionTask
from sure.task.speech_recognition.normalisation import normalise
from sure.task.trained import TrainedModel

_AT_A_TIME = 8


class Judge:
    """A trained adapter of a kind of task; raises `SureError` for any other folder, naming the option that gave it."""

    def __init__(self, folder: Path, kind: type[Task], option: str) -> None:
        try:
            self._trained = TrainedModel.load(folder)
        except SureError as error:
            raise SureError(f"--task_options {option}={folder}: {error}") from None
        task, seconds = self._trained.task, self._trained.max_seconds
        if not isinstance(task, kind):
            raise SureError(f"--task_options {option}={folder}: trained on {task.name}; expected {_WANTED[kind]}.")
        self._longest = None if seconds is None else round(seconds * SAMPLE_RATE)

    def rows(self, waveforms: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """What its task predicts for waveforms of shape (samples,), 16 kHz, in their order."""
        rows = [{"id": str(place), "waveform": waveform} for place, waveform in enumerate(waveforms)]
        return list(self._trained.hear(rows, lambda row: _long_enough(row["waveform"][: self._longest]), _AT_A_TIME))


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
    files = (RUN, "adapter_model.safetensors")
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
