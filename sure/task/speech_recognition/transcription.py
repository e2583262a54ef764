"""What tasks have in common that write a text of every utterance, whatever its tokens are: see `tokens`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sure.errors import SureError
from sure.task import Task, learned
from sure.task.speech_recognition.tokens import CHARACTERS, CTC, Tokens, Units

if TYPE_CHECKING:
    from datasets import DatasetDict
    from torch import Tensor

    from sure.backbone import Backbone
    from sure.model import SpeechModel


@dataclass
class TranscriptionTask(Task):
    """One text per utterance, whose tokens CTC learns on an encoder. The rows of `utterances` have a `text`.

    The vocabulary is made of the training texts alone. Tokens of other splits that it lacks stay in the references that
    are scored, and are left out of the targets of the loss.
    """

    # Nearly all words are wrong until suddenly they are not: nothing to stop by.
    patience: ClassVar[int] = 0
    whole_utterances: ClassVar[bool] = True
    reference_columns: ClassVar[tuple[str, ...]] = ("text",)
    with_head: ClassVar[bool] = True
    hub_task: ClassVar[str] = "automatic-speech-recognition"

    # How CTC parts texts.
    units: ClassVar[Units] = CHARACTERS

    # What stands between texts and tokens, once it is known. Not part of what is saved.
    _tokens: ClassVar[Tokens | None] = None

    vocabulary: list[str] = field(
        default_factory=list,
        metadata=learned("The tokens: blank, then those of the training texts, sorted."),
    )

    def transcripts(self, texts: Sequence[str]) -> list[str]:
        """What is learnt and scored, of the texts of all of a corpus' utterances."""
        return list(texts)

    def load(self, data_dir: Path) -> "DatasetDict":
        """As `Task.load`, with `transcripts` for texts; raises `SureError` where the training split has none."""
        splits = super().load(data_dir)
        transcripts = iter(self.transcripts([text or "" for rows in splits.values() for text in rows["text"]]))
        for split, rows in splits.items():
            texts = [
                None if before is None else text
                for before, text in zip(rows["text"], islice(transcripts, len(rows)), strict=True)
            ]
            splits[split] = rows.remove_columns("text").add_column("text", texts)
        if not self.vocabulary:
            if not any(splits["train"]["text"]):
                raise SureError(f"{data_dir}: every text of the training split is empty.")
            self.vocabulary = self.units.vocabulary(splits["train"]["text"])
        return splits

    def build_model(self, backbone: "Backbone") -> "SpeechModel":
        return self.tokens.model(backbone)

    @property
    def tokens(self) -> Tokens:
        """What stands between texts and tokens."""
        if self._tokens is None:
            self._tokens = CTC(self.vocabulary, self.units, self._search())
        return self._tokens

    def targets(self, rows: Sequence[dict[str, Any]]) -> "dict[str, Tensor]":
        """`labels` of shape (batch, longest text), token ids padded with -100."""
        return {"labels": self.tokens.labels([row["text"] or "" for row in rows])}

    def warnings(self, backbone: "Backbone", splits: "DatasetDict") -> Iterator[str]:
        yield from super().warnings(backbone, splits)
        yield from self._unlearnable(splits)

    def reduce(self, logits: "Tensor") -> "Tensor":
        return self.tokens.reduce(logits)

    def said(self, output: np.ndarray) -> str:
        """The text of one utterance's output, as `reduce` leaves it."""
        return self.tokens.text(output)

    def predict(self, outputs: Sequence[np.ndarray], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Outputs are what `Tokens.reduce` leaves of each utterance."""
        predictions = []
        for row, output in zip(rows, outputs, strict=True):
            prediction = {"id": row["id"], "speaker": row.get("speaker"), "reference": row.get("text")}
            prediction["prediction"] = self.said(output)
            predictions.append({key: value for key, value in prediction.items() if value is not None})
        return predictions

    def references(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"id": row["id"], "speaker": row.get("speaker"), "reference": row.get("text")} for row in rows]

    def comparable(self, rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """The texts. Raises `SureError` for what is no text, naming the row."""
        for row in rows:
            for key in ("prediction", "reference"):
                if not isinstance(row.get(key), str):
                    raise SureError(f"Prediction {row.get('id')!r}: {key} {row.get(key)!r} is not a text.")
        return super().comparable(rows)

    def _unlearnable(self, splits: "DatasetDict") -> Iterator[str]:
        for name, split in splits.items():
            many, reason = self.tokens.unlearnable(split["samples"][:], [text or "" for text in split["text"]])
            if many:
                yield f"{many} of the {len(split)} {name} utterances {reason}."

    def _search(self) -> Callable[[np.ndarray], Sequence[int]] | None:
        """What finds tokens in the frames of an utterance; None for the likeliest of each."""
        return None
