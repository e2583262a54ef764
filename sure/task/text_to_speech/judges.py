"""Models that judge synthesised speech: are the words understood, is the voice the speaker's, does it sound natural.

A judge is the output folder of `sure train` on speech recognition or on speaker verification, a Whisper model as it was
released, or one of three packages, which bring their weights: DistillMOS (Stahl and Gamper 2025, arXiv 2502.05356) and
DNSMOS P.835 (Reddy et al. 2022, arXiv 2110.01763; its overall score, by `speechmos`), which predict mean opinion
scores from 1 to 5, and Resemblyzer, a model of speakers (Wan et al. 2018, arXiv 1710.10467). Scores compare voices and
systems only where the judge is the same one, so a task keeps what tells it in the record: a digest, or the package's
version.
"""

import hashlib
import importlib
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import jiwer
import numpy as np
import torch

from sure.audio import SAMPLE_RATE, at_least
from sure.backbone import loading
from sure.backbone.speech_to_text import SpeechToText
from sure.errors import SureError
from sure.record import RUN
from sure.task import Task, make_task
from sure.task.speaker_verification import SpeakerVerificationTask
from sure.task.speech_recognition import SpeechRecognitionTask
from sure.task.speech_recognition.normalisation import SCORED, normalise
from sure.task.trained import TrainedModel

_AT_A_TIME = 8

RESEMBLYZER = "resemblyzer"


class Judge:
    """A trained adapter of a kind of task; raises `SureError` for any other folder, naming the option that gave it."""

    def __init__(self, folder: Path, kind: type[Task], option: str) -> None:
        try:
            self._trained = _released(folder) if kind is SpeechRecognitionTask else None
            self.digest = self._trained.backbone.revision if self._trained else None
            self._trained = self._trained or TrainedModel.load(folder)
        except SureError as error:
            raise SureError(f"--task_options {option}={folder}: {error}") from None
        self.digest = self.digest or _digest(folder)
        task, seconds = self._trained.task, self._trained.max_seconds
        if not isinstance(task, kind):
            raise SureError(f"--task_options {option}={folder}: trained on {task.name}; expected {_WANTED[kind]}.")
        # What the two texts are compared in.
        self.scored = SCORED[task.scored_text] if isinstance(task, SpeechRecognitionTask) else None
        self._longest = None if seconds is None else round(seconds * SAMPLE_RATE)

    def rows(self, waveforms: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """What its task predicts for waveforms of shape (samples,), 16 kHz, in their order."""
        rows = [{"id": str(place), "waveform": waveform} for place, waveform in enumerate(waveforms)]
        return list(self._trained.hear(rows, lambda row: at_least(row["waveform"][: self._longest]), _AT_A_TIME))


_WANTED = {
    SpeechRecognitionTask: "the output folder of `sure train --task asr_...`, or a Whisper model",
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


@cache
def naturalness(name: str) -> Callable[[np.ndarray], float]:
    """The opinion of `distillmos` or `dnsmos` on a waveform of shape (samples,), 16 kHz; loaded once."""
    return {"distillmos": _distillmos, "dnsmos": _dnsmos}[name]()


@cache
def speaker_encoder() -> Callable[[np.ndarray], np.ndarray]:
    """Resemblyzer's embedding, of length 1, (256,), of a waveform of shape (samples,), 16 kHz; loaded once."""
    with warnings.catch_warnings():
        # Of SciPy and setuptools, whose old names it imports.
        warnings.simplefilter("ignore")
        package = _package(RESEMBLYZER, "verifier=resemblyzer", "resemblyzer")
    encoder = package.VoiceEncoder("cpu", verbose=False)

    def embed(waveform: np.ndarray) -> np.ndarray:
        spoken = package.preprocess_wav(waveform) if np.any(waveform) else waveform
        return encoder.embed_utterance(spoken if len(spoken) else waveform)

    return embed


def named(option: str, value: str) -> str:
    """What tells the judge of an option, which is loaded: a package and its version, or the digest of the weights."""
    if option == "naturalness":
        naturalness(value)
        package = {"dnsmos": "speechmos"}.get(value, value)
        return f"{package} {metadata.version(package)}"
    if value == RESEMBLYZER:
        speaker_encoder()
        return f"{value} {metadata.version(value)}"
    return {"recogniser": recogniser, "verifier": verifier}[option](value).digest


def opinions(name: str, waveforms: Sequence[np.ndarray]) -> list[dict[str, float]]:
    """By utterance `naturalness`, a mean opinion score, cut to what one is, 1 to 5; waveforms are cut to [-1, 1]."""
    judge = naturalness(name)
    # A model that has not learnt yet may stop before one frame of an encoder is full.
    found = [judge(np.clip(at_least(waveform), -1, 1).astype(np.float32)) for waveform in waveforms]
    return [{"naturalness": round(min(max(opinion, 1.0), 5.0), 6)} for opinion in found]


def word_errors(folder: str, waveforms: Sequence[np.ndarray], texts: Sequence[str]) -> list[dict[str, float | int]]:
    """By utterance `word_error_rate`, errors / `words` of the text, both texts normalised as the recogniser is scored:
    for Whisper as its authors do."""
    measures = []
    judge = recogniser(folder)
    for row, text in zip(judge.rows(waveforms), texts, strict=True):
        aligned = jiwer.process_words(judge.scored(normalise(text)), judge.scored(row["prediction"]))
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
    if (option, folder) == ("verifier", RESEMBLYZER):
        return np.array([speaker_encoder()(at_least(waveform).astype(np.float32)) for waveform in waveforms])
    rows = np.array([row["embedding"] for row in verifier(folder, option).rows(waveforms)])
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _released(place: Path) -> TrainedModel | None:
    """A Whisper model that nobody adapted, from a folder or the hub; None where the place has no such form."""
    hub_id = not place.exists() and len(place.parts) == 2 and not place.is_absolute()
    if (place / RUN).is_file() or not (hub_id or (place / "config.json").is_file()):
        return None
    backbone = loading.load(str(place))
    if not isinstance(backbone, SpeechToText):
        raise SureError(f"{backbone.family()} models write nothing by themselves; expected Whisper.")
    # The corpora are English.
    task = make_task("asr_manifest", {"language": "en", "scored_text": "whisper_english"})
    model = task.build_model(backbone)
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval().requires_grad_(False)
    return TrainedModel(task, backbone, model, None)


def _digest(folder: Path) -> str:
    """SHA-256 over the description and weights of a run."""
    files = (RUN, "adapter_model.safetensors")
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in files)).hexdigest()


def _package(name: str, option: str, extra: str = "judges") -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SureError(f'--task_options {option}: {error}. pip install "sure-bench[{extra}]".') from None


def _distillmos() -> Callable[[np.ndarray], float]:
    sqa = _package("distillmos.sqa", "naturalness=distillmos")
    model = sqa.ConvTransformerSQAModel(load_weights=False)
    # A file of PyTorch's: of what it holds, tensors alone are made.
    model.load_state_dict(torch.load(sqa.DEFAULT_WEIGHTS_CHKPT, map_location="cpu", weights_only=True)["model"])
    model.eval().requires_grad_(False)
    return lambda waveform: float(model(torch.from_numpy(waveform)[None]))


def _dnsmos() -> Callable[[np.ndarray], float]:
    dnsmos = _package("speechmos.dnsmos", "naturalness=dnsmos")
    return lambda waveform: float(dnsmos.run(waveform, SAMPLE_RATE)["ovrl_mos"])
