"""Speech recognition with CTC over characters: text normalisation, vocabulary, targets, decoding.

SURE trains it with a batch of 32, a peak learning rate of 2e-3, weight decay 0.005 and a rate that rises for 1,000
steps, stays for 40 % of all steps, then falls linearly. `transformers` has that schedule; of 4,100 steps (50 epochs of
FLEURS' 2,602 English utterances) 4,100 - 1,000 - 1,640 are left to fall in:

--lr_scheduler_type warmup_stable_decay --warmup_steps 1000
--lr_scheduler_kwargs '{"num_decay_steps": 1460, "decay_type": "linear"}'

The release cuts utterances at 12.5 s and keeps their whole texts; here utterances are whole.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import soxr

from sure.audio import SAMPLE_RATE
from sure.errors import SureError
from sure.task import Task, learned

if TYPE_CHECKING:
    from datasets import DatasetDict
    from torch import Tensor, nn

    from sure.backbone import Backbone
    from sure.model import SpeechModel
    from sure.task.speech_recognition.beam_search import BeamSearch
from sure.task.speech_recognition.normalisation import SEPARATOR, normalise

# The CTC blank is token 0.
BLANK = "<blank>"


# Samples between two frames of every encoder.
_FRAME = 320

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

    # An encoder-decoder that writes with tokens of its own, once the model is built; not part of what is saved.
    _writer = None

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
    speed_perturbation: float = field(
        default=0.0,
        metadata={"help": "Play training utterances up to this share faster or slower, at random (usual: 0.1)."},
    )

    def __post_init__(self) -> None:
        if not self.words_are_parted:
            self.metrics = type(self).metrics[::-1]
        if not isinstance(self.speed_perturbation, int | float) or not 0 <= self.speed_perturbation <= 0.5:
            raise SureError(f"--task_options speed_perturbation={self.speed_perturbation}: not a number from 0 to 0.5.")
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
            characters = set().union(*splits["train"]["text"])
            if not characters:
                raise SureError(f"{data_dir}: every text of the training split is empty.")
            self.vocabulary = [BLANK, *sorted(characters | {SEPARATOR})]
        if self.decoder == "beam":
            self.language_model_sha256 = self._beam_search().language_model_sha256
        return splits

    def build_model(self, backbone: "Backbone") -> "SpeechModel":
        """CTC on an encoder; an encoder-decoder as it is. Raises `SureError` for a beam search with the latter."""
        from sure.backbone.speech_to_text import SpeechToTextFamily
        from sure.task.speech_recognition.model import TranscribingModel

        if not isinstance(backbone.family, SpeechToTextFamily):
            return super().build_model(backbone)
        if self.decoder == "beam":
            raise SureError(
                f"--task_options decoder=beam searches what CTC says; {backbone.family_name} models write themselves."
            )
        self._writer = backbone
        return TranscribingModel(backbone, backbone.family.prompt(backbone, self.spoken_language))

    def augment(self, waveform: np.ndarray, row: dict[str, Any], generator: np.random.Generator) -> np.ndarray:
        """Faster or slower, which changes pitch and formants too (Ko et al. 2015), as if another person spoke."""
        if not self.speed_perturbation:
            return waveform
        speed = generator.uniform(1 - self.speed_perturbation, 1 + self.speed_perturbation)
        return soxr.resample(waveform, SAMPLE_RATE * speed, SAMPLE_RATE)

    def build_head(self, width: int) -> "nn.Module":
        from sure.heads import CTCHead

        return CTCHead(width, len(self.vocabulary))

    def targets(self, rows: Sequence[dict[str, Any]]) -> "dict[str, Tensor]":
        """`labels` of shape (batch, longest text), token ids padded with -100."""
        import torch

        if self._writer is not None:
            texts = [row["text"] for row in rows]
            return {"labels": self._writer.family.labels(self._writer, texts, self.spoken_language)}
        ids = {character: index for index, character in enumerate(self.vocabulary)}
        labels = [torch.tensor([ids[c] for c in row["text"] if c in ids], dtype=torch.long) for row in rows]
        return {"labels": torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)}

    def warnings(self, backbone: "Backbone", splits: "DatasetDict") -> Iterator[str]:
        for name, split in splits.items():
            samples, texts = split["samples"][:], split["text"][:]
            if self._writer is not None:
                many = sum(backbone.family.too_long(backbone, samples, texts, self.spoken_language))
                reason = f"are longer than {backbone.name} hears or writes at a time: their ends do not count"
            else:
                many = sum(_frames_needed(text) > length // _FRAME for length, text in zip(samples, texts, strict=True))
                reason = "have more text than CTC can align to their frames of 20 ms: they count nothing in the loss"
            if many:
                yield f"{many} of the {len(split)} {name} utterances {reason}."

    def reduce(self, logits: "Tensor") -> "Tensor":
        """For greedy decoding the likeliest token of each frame, (batch, frames), -100 where no frame is."""
        from sure.heads import NO_FRAME

        if self._writer is not None or self.decoder != "greedy":
            return logits
        return logits.argmax(dim=-1).masked_fill((logits == NO_FRAME).all(dim=-1), int(NO_FRAME))

    def predict(self, outputs: np.ndarray, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Outputs are tokens of shape (utterances, frames), or of an encoder-decoder (utterances, tokens), then -100.

        For a beam search they are log probabilities of shape (utterances, frames, tokens), -100 throughout where no
        frame is. Predictions are normalised.
        """
        decode = self._decoder()
        predictions = []
        for row, output in zip(rows, outputs, strict=True):
            prediction = {"id": row["id"], "speaker": row.get("speaker"), "reference": row.get("text")}
            prediction["prediction"] = normalise(decode(output))
            predictions.append({key: value for key, value in prediction.items() if value is not None})
        return predictions

    def comparable(self, rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """The texts. Raises `SureError` for what is no text, naming the row."""
        for row in rows:
            for key in ("prediction", "reference"):
                if not isinstance(row.get(key), str):
                    raise SureError(f"Prediction {row.get('id')!r}: {key} {row.get(key)!r} is not a text.")
        return super().comparable(rows)

    def _decoder(self) -> Callable[[np.ndarray], str]:
        """What makes a text of the outputs for one utterance."""
        if (writer := self._writer) is not None:
            return lambda tokens: writer.family.text(writer, tokens[tokens >= 0].astype(int).tolist())
        if self.decoder == "greedy":
            return lambda tokens: self._collapsed(tokens[tokens >= 0].astype(int))
        from sure.heads import NO_FRAME

        search = self._beam_search()
        return lambda frames: search(frames[(frames != NO_FRAME).any(axis=-1)])

    def _collapsed(self, frames: np.ndarray) -> str:
        tokens = (token for token, _ in itertools.groupby(frames))
        return "".join(self.vocabulary[token] for token in tokens if self.vocabulary[token] != BLANK)

    def _beam_search(self) -> "BeamSearch":
        search = _beam_search(tuple(self.vocabulary), self.language_model, self.language_model_weight)
        if self.language_model_sha256 not in (None, search.language_model_sha256):
            raise SureError(f"language_model {self.language_model} has changed since this adapter was trained.")
        return search


@cache
def _beam_search(vocabulary: tuple[str, ...], language_model: str | None, weight: float) -> "BeamSearch":
    from sure.task.speech_recognition.beam_search import BeamSearch

    return BeamSearch(vocabulary, language_model, weight)


def _frames_needed(text: str) -> int:
    """One for each token, and a blank between two that are alike."""
    return len(text) + sum(one == other for one, other in itertools.pairwise(text))
