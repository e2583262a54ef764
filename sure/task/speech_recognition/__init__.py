"""Speech recognition with CTC over characters: text normalisation, vocabulary, targets, decoding.

SURE trains it with a batch of 32, a peak learning rate of 2e-3, weight decay 0.005 and a rate that rises for 1,000
steps, stays for 40 % of all steps, then falls linearly. `transformers` has that schedule; of 4,100 steps (50 epochs of
FLEURS' 2,602 English utterances) 4,100 - 1,000 - 1,640 are left to fall in:

--lr_scheduler_type warmup_stable_decay --warmup_steps 1000
--lr_scheduler_kwargs '{"num_decay_steps": 1460, "decay_type": "linear"}'

The release cuts utterances at 12.5 s and keeps their whole texts; here utterances are whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import soxr

from sure.audio import SAMPLE_RATE
from sure.errors import SureError
from sure.task import learned
from sure.task.speech_recognition.normalisation import SCORED, normalise
from sure.task.speech_recognition.tokens import Written
from sure.task.speech_recognition.transcription import TranscriptionTask

if TYPE_CHECKING:
    from datasets import DatasetDict

    from sure.backbone import Backbone
    from sure.model import SpeechModel
    from sure.task.speech_recognition.beam_search import BeamSearch

# Languages whose writing does not part words: their errors are counted by the character.
_UNPARTED = frozenset(("ja", "km", "lo", "my", "th", "yue", "zh"))

_DECODERS = ("greedy", "beam")


@dataclass
class SpeechRecognitionTask(TranscriptionTask):
    """What was said, one text per utterance. The rows of `utterances` have a `text`, which is normalised here."""

    metrics: ClassVar[tuple[str, ...]] = ("word_error_rate", "character_error_rate")

    # An encoder-decoder writes by itself.
    with_head: ClassVar[bool] = False

    scored_by: ClassVar[tuple[str, ...]] = ("scored_text",)

    # The language as ISO 639-1 has it, for models that want to know; None where it is not known.
    spoken_language: ClassVar[str | None] = None

    decoder: str = field(
        default="greedy", metadata={"help": "greedy (the likeliest token of each frame) or beam (beam search)."}
    )
    language_model: str | None = field(
        default=None,
        metadata={"help": "For decoder=beam: an ARPA file over normalised words; its words are all that can be said."},
    )
    language_model_weight: float = field(
        default=2.0, metadata={"help": "How much the language model's log probabilities count."}
    )
    language_model_sha256: str | None = field(default=None, metadata=learned("Of that file."))
    scored_text: str = field(
        default="as_written",
        metadata={
            "help": "What errors are counted in: as_written; spelled_digits (English words for digits, one by one); or "
            "whisper_english (the normaliser that Whisper's authors publish: numerals for number words, no "
            "contractions and fillers)."
        },
    )
    speed_perturbation: float = field(
        default=0.0,
        metadata={"help": "Play training utterances up to this share faster or slower, at random (usual: 0.1)."},
    )

    def __post_init__(self) -> None:
        if not self.words_are_parted:
            self.metrics = type(self).metrics[::-1]
        if not isinstance(self.speed_perturbation, int | float) or not 0 <= self.speed_perturbation <= 0.5:
            raise SureError(f"--task_options speed_perturbation={self.speed_perturbation}: not a number from 0 to 0.5.")
        if self.scored_text not in list(SCORED):
            raise SureError(f"--task_options scored_text={self.scored_text}: choose one of {', '.join(SCORED)}.")
        if self.decoder not in _DECODERS:
            raise SureError(f"--task_options decoder={self.decoder}: choose one of {', '.join(_DECODERS)}.")
        if self.language_model is not None and not isinstance(self.language_model, str):
            raise SureError(f"--task_options language_model={self.language_model}: not the name of a file.")
        if self.language_model is not None and self.decoder != "beam":
            raise SureError(f"--task_options language_model={self.language_model} needs decoder=beam beside it.")
        if not isinstance(self.language_model_weight, int | float):
            raise SureError(f"--task_options language_model_weight={self.language_model_weight}: not a number.")

    @property
    def words_are_parted(self) -> bool:
        """Whether texts have spaces between words; else the character error rate comes first."""
        return self.spoken_language not in _UNPARTED

    def load(self, data_dir: Path) -> "DatasetDict":
        """Raises `SureError` where the beam search cannot be made too: now, not after an epoch."""
        splits = super().load(data_dir)
        if self.decoder == "beam":
            self.language_model_sha256 = self._search().language_model_sha256
        return splits

    def transcripts(self, texts: Sequence[str]) -> list[str]:
        return [normalise(text) for text in texts]

    def build_model(self, backbone: "Backbone") -> "SpeechModel":
        """CTC on an encoder; an encoder-decoder as it is. Raises `SureError` for a beam search with the latter."""
        from sure.backbone.speech_to_text import SpeechToText

        self._tokens = None
        if isinstance(backbone, SpeechToText) and backbone.headless:
            if self.decoder == "beam":
                raise SureError(
                    f"--task_options decoder=beam searches what CTC says; {backbone.family()} models write themselves."
                )
            self._tokens = Written(backbone, self.spoken_language)
        return self.tokens.model(backbone)

    @property
    def augments(self) -> bool:
        return bool(self.speed_perturbation)

    @property
    def stretch(self) -> float:
        return 1 / (1 - self.speed_perturbation)

    def augment(self, waveform: np.ndarray, row: dict[str, Any], generator: np.random.Generator) -> np.ndarray:
        """Faster or slower, which changes pitch and formants too (Ko et al. 2015), as if another person spoke."""
        if not self.speed_perturbation:
            return waveform
        speed = generator.uniform(1 - self.speed_perturbation, 1 + self.speed_perturbation)
        return soxr.resample(waveform, SAMPLE_RATE * speed, SAMPLE_RATE)

    def warnings(self, backbone: "Backbone", splits: "DatasetDict") -> Iterator[str]:
        if not isinstance(self.tokens, Written):
            yield from super().warnings(backbone, splits)
            return
        if not backbone.told(self.spoken_language):
            what = f"does not know {self.spoken_language!r}"
            if self.spoken_language is None:
                what = "is told none: give --task_options language=en, or what is spoken, where the task has it"
            yield (
                f"{backbone.name} is made to be told the language, and {what}. Without, it writes nonsense until it "
                "has learned otherwise."
            )
        # What an encoder-decoder does not hear is said of its texts' ends.
        yield from self._unlearnable(splits)

    def said(self, output: np.ndarray) -> str:
        return normalise(super().said(output))

    def comparable(self, rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """The texts, as `scored_text` has them."""
        scored = SCORED[self.scored_text]
        predictions, references = (
            np.array([scored(text) for text in texts], dtype=object) for texts in super().comparable(rows)
        )
        return predictions, references

    def _search(self) -> "BeamSearch | None":
        if self.decoder != "beam":
            return None
        search = _beam_search(tuple(self.vocabulary), self.language_model, self.language_model_weight)
        if self.language_model_sha256 not in (None, search.language_model_sha256):
            raise SureError(f"language_model {self.language_model} has changed since this adapter was trained.")
        return search


@cache
def _beam_search(vocabulary: tuple[str, ...], language_model: str | None, weight: float) -> "BeamSearch":
    from sure.task.speech_recognition.beam_search import BeamSearch

    return BeamSearch(vocabulary, language_model, weight)
