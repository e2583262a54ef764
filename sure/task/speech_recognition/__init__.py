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
from sure.task import Task, learned
from sure.task.speech_recognition.normalisation import SCORED, normalise
from sure.task.speech_recognition.tokens import CHARACTERS, CTC, Tokens, Units, Written

if TYPE_CHECKING:
    from datasets import DatasetDict
    from torch import Tensor

    from sure.backbone import Backbone
    from sure.model import SpeechModel
    from sure.task.speech_recognition.beam_search import BeamSearch

# Languages whose writing does not part words: their errors are counted by the character.
_UNPARTED = frozenset(("ja", "km", "lo", "my", "th", "yue", "zh"))

_DECODERS = ("greedy", "beam")


@dataclass
class SpeechRecognitionTask(Task):
    """What was said, one text per utterance. The rows of `utterances` have a `text`, which is normalised here.

    The vocabulary is made of the training texts alone. Characters of other splits that it lacks stay in the references
    that are scored, and are left out of the targets of the loss.
    """

    metrics: ClassVar[tuple[str, ...]] = ("word_error_rate", "character_error_rate")
    # Nearly all words are wrong until suddenly they are not: nothing to stop by.
    patience: ClassVar[int] = 0
    whole_utterances: ClassVar[bool] = True

    # The language as ISO 639-1 has it, for models that want to know; None where it is not known.
    spoken_language: ClassVar[str | None] = None

    # How CTC parts texts.
    units: ClassVar[Units] = CHARACTERS

    # What stands between texts and tokens; another one once a backbone that writes is known. Not part of what is saved.
    _tokens: ClassVar[Tokens | None] = None

    vocabulary: list[str] = field(
        default_factory=list,
        metadata=learned("The tokens: blank, then the sorted characters of the training texts."),
    )
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
        """As `Task.load`, with normalised texts; raises `SureError` where the training split has none.

        Also where the beam search cannot be made: now, not after an epoch.
        """
        splits = super().load(data_dir)
        for split, rows in splits.items():
            texts = [normalise(text) for text in rows["text"]]
            splits[split] = rows.remove_columns("text").add_column("text", texts)
        if not self.vocabulary:
            if not any(splits["train"]["text"]):
                raise SureError(f"{data_dir}: every text of the training split is empty.")
            self.vocabulary = self.units.vocabulary(splits["train"]["text"])
        if self.decoder == "beam":
            self.language_model_sha256 = self._beam_search().language_model_sha256
        return splits

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
    def tokens(self) -> Tokens:
        """What stands between texts and tokens."""
        if self._tokens is None:
            self._tokens = CTC(self.vocabulary, self.units, self._beam_search() if self.decoder == "beam" else None)
        return self._tokens

    @property
    def augments(self) -> bool:
        return bool(self.speed_perturbation)

    def augment(self, waveform: np.ndarray, row: dict[str, Any], generator: np.random.Generator) -> np.ndarray:
        """Faster or slower, which changes pitch and formants too (Ko et al. 2015), as if another person spoke."""
        if not self.speed_perturbation:
            return waveform
        speed = generator.uniform(1 - self.speed_perturbation, 1 + self.speed_perturbation)
        return soxr.resample(waveform, SAMPLE_RATE * speed, SAMPLE_RATE)

    def targets(self, rows: Sequence[dict[str, Any]]) -> "dict[str, Tensor]":
        """`labels` of shape (batch, longest text), token ids padded with -100."""
        return {"labels": self.tokens.labels([row["text"] for row in rows])}

    def warnings(self, backbone: "Backbone", splits: "DatasetDict") -> Iterator[str]:
        if not isinstance(self.tokens, Written):
            yield from super().warnings(backbone, splits)
        for name, split in splits.items():
            many, reason = self.tokens.unlearnable(split["samples"][:], split["text"][:])
            if many:
                yield f"{many} of the {len(split)} {name} utterances {reason}."

    def reduce(self, logits: "Tensor") -> "Tensor":
        return self.tokens.reduce(logits)

    def predict(self, outputs: np.ndarray, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Outputs are what `Tokens.reduce` leaves of each utterance. Predictions are normalised."""
        predictions = []
        for row, output in zip(rows, outputs, strict=True):
            prediction = {"id": row["id"], "speaker": row.get("speaker"), "reference": row.get("text")}
            prediction["prediction"] = normalise(self.tokens.text(output))
            predictions.append({key: value for key, value in prediction.items() if value is not None})
        return predictions

    def comparable(self, rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """The texts, as `scored_text` has them. Raises `SureError` for what is no text, naming the row."""
        for row in rows:
            for key in ("prediction", "reference"):
                if not isinstance(row.get(key), str):
                    raise SureError(f"Prediction {row.get('id')!r}: {key} {row.get(key)!r} is not a text.")
        scored = SCORED[self.scored_text]
        predictions, references = (
            np.array([scored(text) for text in texts], dtype=object) for texts in super().comparable(rows)
        )
        return predictions, references

    def _beam_search(self) -> "BeamSearch":
        search = _beam_search(tuple(self.vocabulary), self.language_model, self.language_model_weight)
        if self.language_model_sha256 not in (None, search.language_model_sha256):
            raise SureError(f"language_model {self.language_model} has changed since this adapter was trained.")
        return search


@cache
def _beam_search(vocabulary: tuple[str, ...], language_model: str | None, weight: float) -> "BeamSearch":
    from sure.task.speech_recognition.beam_search import BeamSearch

    return BeamSearch(vocabulary, language_model, weight)
