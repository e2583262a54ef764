"""Text-to-speech: a pretrained voice learns to speak as other speakers do.

Every utterance has a text, a recording of it and a speaker, and every speaker is in all splits. What is scored is
speech that was generated from the texts alone, sentence by sentence; validation generates too, so that the checkpoint
that is chosen is the one that speaks best. The waveforms of a run lie beside its record, as `audio/<id>.wav`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sure import audio
from sure.errors import SureError
from sure.files import is_number
from sure.task import Task, evenly_spread, learned
from sure.task.text_to_speech.speaker_embeddings import CODES, by_speaker, code

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from torch import Tensor

    from sure.backbone import Backbone
    from sure.model import SpeechModel
    from sure.task.text_to_speech.measures import Analysis
from sure.task.text_to_speech.durations import aligned, read_durations

# An utterance is analysed at every evaluation; so many of their analyses are kept.
_KEPT_ANALYSES = 1024

_JUDGES = ("recogniser", "verifier", "naturalness")
_NATURALNESS = ("distillmos", "dnsmos")


@dataclass
class TextToSpeechTask(Task):
    """A subclass yields `utterances`, each with its `text` and its `speaker`."""

    metrics: ClassVar[tuple[str, ...]] = ("mel_cepstral_distortion", "f0_error", "voicing_error")
    whole_utterances: ClassVar[bool] = True
    for_new_speakers: ClassVar[bool] = False
    speaks: ClassVar[bool] = True
    # A waveform of ten seconds takes 640 kB.
    predicted_at_a_time: ClassVar[int | None] = 256
    hub_task: ClassVar[str] = "text-to-speech"

    vocoder: str = field(
        default="griffin_lim", metadata={"help": "griffin_lim, or a folder or hub id of the backbone's HiFi-GAN."}
    )
    speaker_embeddings: str = field(
        default=CODES,
        metadata={
            "help": "What tells speakers apart: a .json or .safetensors file of a vector by speaker; the output folder "
            "of `sure train --task sv_...`, whose mean over the training utterances; or codes, random by their names."
        },
    )
    validation_sentences: int = field(
        default=32, metadata={"help": "Validation sentences to generate at most, evenly spread over the sorted ids."}
    )
    recogniser: str | None = field(
        default=None,
        metadata={
            "help": "Output folder of `sure train --task asr_...`, or a folder or hub id of a Whisper model: also "
            "score its word errors."
        },
    )
    verifier: str | None = field(
        default=None,
        metadata={
            "help": "Output folder of `sure train --task sv_...`, or resemblyzer: also score how like the voice is."
        },
    )
    naturalness: str | None = field(
        default=None, metadata={"help": "distillmos or dnsmos: also score the mean opinion that it predicts."}
    )
    durations: str | None = field(
        default=None,
        metadata={
            "help": "For FastSpeech 2: a file with a line of id and frames of each token for every training utterance, "
            "separated by spaces, as ESPnet writes it. Without one, English texts are aligned by eSpeak NG, for models "
            "that read characters."
        },
    )
    voices: list[str] = field(default_factory=list, metadata=learned("The speakers of the training split, sorted."))
    embeddings: dict[str, list[float]] = field(
        default_factory=dict, metadata=learned("By speaker, where they are not codes.")
    )
    judges: dict[str, str] = field(default_factory=dict, metadata=learned("By option, the SHA-256 or the version."))

    def __post_init__(self) -> None:
        if not isinstance(self.validation_sentences, int) or self.validation_sentences < 1:
            raise SureError(
                f"--task_options validation_sentences={self.validation_sentences}: not a whole number above 0."
            )
        if self.naturalness not in (None, *_NATURALNESS):
            raise SureError(f"--task_options naturalness={self.naturalness}: choose one of {', '.join(_NATURALNESS)}.")
        self._durations: dict[str, list[int]] = {}
        # The rows of the training split and the row of the longest text, once the corpus is loaded.
        self._training: Dataset | None = None
        self._longest: dict[str, Any] | None = None
        self.metrics = (
            *type(self).metrics,
            *(["speaker_similarity"] if self.verifier else []),
            *(["recognised_word_error_rate"] if self.recogniser else []),
            *(["naturalness"] if self.naturalness else []),
        )

    def load(self, data_dir: Path) -> "DatasetDict":
        """As `Task.load`; of the validation split at most `validation_sentences`.

        Raises `SureError` where a text is empty, a speaker has no training utterance or no embedding, or a judge is
        none.
        """
        splits = super().load(data_dir)
        self.voices = sorted(set(splits["train"]["speaker"]))
        for name, split in splits.items():
            for row in split:
                if not row["text"].strip():
                    raise SureError(f"{row['path']}: its text is empty ({name}).")
            if strangers := sorted(set(split["speaker"]) - set(self.voices)):
                raise SureError(f"{data_dir}: {strangers[0]} speaks in {name} and has nothing to learn from in train.")
        self._longest = max((row for split in splits.values() for row in split), key=lambda row: len(row["text"]))
        self._training = splits["train"]
        splits["validation"] = splits["validation"].select(
            evenly_spread(len(splits["validation"]), self.validation_sentences)
        )
        if self.durations is not None:
            self._durations = read_durations(Path(self.durations), splits["train"])
        if self.speaker_embeddings != CODES and not self.embeddings:
            self.embeddings = by_speaker(self.speaker_embeddings, self.voices, splits["train"])
        # They are loaded here: now, not after an epoch.
        if asked := [option for option in _JUDGES if getattr(self, option)]:
            from sure.task.text_to_speech import judges

            self.judges = {option: judges.named(option, getattr(self, option)) for option in asked}
        return splits

    def build_model(self, backbone: "Backbone") -> "SpeechModel":
        """Raises `SureError` where the backbone does not speak, or vocoder, embeddings or texts do not fit it."""
        from sure.backbone.text_to_speech import TextToSpeech
        from sure.task.text_to_speech import vocoders
        from sure.task.text_to_speech.model import SpeakingModel

        if not isinstance(backbone, TextToSpeech):
            raise SureError(
                f"--backbone {backbone.name}: {backbone.family()} models do not speak; {self.name} needs one that "
                "does, such as sure-mini-tts or microsoft/speecht5_tts."
            )
        if self._longest is not None:
            try:
                backbone.text_inputs([self._longest["text"]])
            except SureError as error:
                raise SureError(f"{self._longest['path']}: {error}") from None
        if self.durations is not None and not backbone.needs_durations:
            raise SureError(
                f"--task_options durations={self.durations}: {backbone.family()} models need none; leave it out."
            )
        width = backbone.speaker_width()
        if width is None and len(self.voices) > 1:
            raise SureError(
                f"--backbone {backbone.name} reads no speaker embeddings and can learn one voice only; choose one of "
                f"{', '.join(self.voices[:8])} with --task_options speakers."
            )
        for speaker, embedding in self.embeddings.items():
            if len(embedding) != width:
                raise SureError(
                    f"--task_options speaker_embeddings={self.speaker_embeddings}: {len(embedding)} values for "
                    f"{speaker}; {backbone.name} reads {width or 'none'}."
                )
        if self._durations:
            self._refuse_other_tokens(backbone)
        if backbone.needs_durations and self._training is not None and not self._durations:
            self._durations = aligned(backbone, self._training)
        return SpeakingModel(backbone, vocoders.load(self.vocoder, backbone))

    def targets(self, rows: Sequence[dict[str, Any]]) -> "dict[str, Tensor]":
        """`sentences`, (batch,): the trainer scores only what has targets. Spectrograms are made in `batch`."""
        import torch

        return {"sentences": torch.arange(len(rows))}

    def batch(self, backbone: "Backbone", rows: Sequence[dict[str, Any]]) -> "dict[str, Tensor]":
        """Texts and speakers, and in training what they should sound like."""
        import torch

        inputs = backbone.text_inputs([row["text"] for row in rows]) | self.targets(rows)
        width = backbone.speaker_width()
        if width is not None:
            vectors = np.stack([self._embedding(row["speaker"], width) for row in rows])
            inputs["speaker_embeddings"] = torch.from_numpy(vectors)
        if all(row.get("split") == "train" for row in rows):
            inputs |= backbone.targets([row | {"durations": self._durations.get(row["id"])} for row in rows])
        return inputs

    def predict(self, outputs: Sequence[np.ndarray], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Outputs are waveforms of shape (utterances, samples), each ended by -100; a prediction is its measures."""
        from sure.task.text_to_speech.measures import analyse, compare

        waveforms = self.speech(outputs)
        judged = self._judged(waveforms, rows)
        predictions = []
        for index, (waveform, row) in enumerate(zip(waveforms, rows, strict=True)):
            measures = compare(analyse(waveform), _analysis(row["path"], row.get("start"), row.get("end")))
            for judgements in judged:
                measures |= judgements[index]
            predictions.append({"id": row["id"], "speaker": row["speaker"], "reference": row["text"]})
            predictions[-1]["prediction"] = measures
        return predictions

    def references(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"id": row["id"], "speaker": row["speaker"], "reference": row["text"]} for row in rows]

    def speech(self, outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The waveforms, each of shape (samples,), without what follows their ends."""
        return [output[output >= -1.0] for output in outputs]

    def keep(self, outputs: Sequence[np.ndarray], rows: Sequence[dict[str, Any]], folder: Path) -> None:
        """What was said, as `audio/<id>.wav`, 16 kHz, 16 bits."""
        for waveform, row in zip(self.speech(outputs), rows, strict=True):
            audio.write(folder / "audio" / f"{row['id']}.wav", waveform)

    def comparable(self, rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Measures and texts. Raises `SureError` where a measure is missing or cannot be, naming the row."""
        metrics = [self.metric_named(name) for name in self.metrics]
        # Utterances count as often as weights say, which are whole numbers.
        weights = {metric.weight for metric in metrics if metric.weight}
        limits = dict.fromkeys(weights, (0, math.inf))
        limits |= {metric.measure: (metric.least, metric.most) for metric in metrics}
        limits = dict(sorted(limits.items()))
        for row in rows:
            measures, where = row.get("prediction"), f"Prediction {row.get('id')!r}"
            for name, (least, most) in limits.items():
                if not isinstance(measures, dict) or not is_number(measures.get(name)):
                    raise SureError(f"{where}: no {name} that is a number in {measures!r}.")
                if not least <= measures[name] <= most:
                    raise SureError(f"{where}: {name} {measures[name]:g} is not from {least:g} to {most:g}.")
                if name in weights and measures[name] % 1:
                    raise SureError(f"{where}: {name} {measures[name]:g} is no whole number.")
        return super().comparable(rows)

    def _refuse_other_tokens(self, backbone: "Backbone") -> None:
        """Raises `SureError` where the durations of an utterance are not those of its text's tokens."""
        for row in self._training:
            frames, inputs = self._durations[row["id"]], backbone.text_inputs([row["text"]])
            if len(frames) != inputs["input_ids"].shape[1]:
                raise SureError(
                    f"{self.durations}: {len(frames)} durations of {row['id']}, whose text has "
                    f"{inputs['input_ids'].shape[1]} tokens for {backbone.name}."
                )

    def _embedding(self, speaker: str, width: int) -> np.ndarray:
        """float32, shape (width,)."""
        if self.speaker_embeddings == CODES:
            return code(speaker, width)
        return np.array(self.embeddings[speaker], dtype=np.float32)

    def _judged(self, waveforms: list[np.ndarray], rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """By judge, the measures of each utterance."""
        judged = []
        if self.recogniser:
            from sure.task.text_to_speech.judges import word_errors

            judged.append(word_errors(self.recogniser, waveforms, [row["text"] for row in rows]))
        if self.verifier:
            from sure.task.text_to_speech.judges import speaker_similarities

            judged.append(speaker_similarities(self.verifier, waveforms, [audio.load_row(row) for row in rows]))
        if self.naturalness:
            from sure.task.text_to_speech.judges import opinions

            judged.append(opinions(self.naturalness, waveforms))
        return judged


@lru_cache(maxsize=_KEPT_ANALYSES)
def _analysis(path: str, start: float | None, end: float | None) -> "Analysis":
    from sure.task.text_to_speech.measures import analyse

    return analyse(audio.load(path, start=start, end=end))
