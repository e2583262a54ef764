"""What families of text-to-speech models have in common: text and a speaker in, a log-mel spectrogram out.

Their model, once prepared, gives its loss where it is called with `labels`, and without speaks: a list of spectrograms,
one per text, each of shape (frames, bins), that does not depend on the other texts of the batch.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForTextToSpectrogram, PreTrainedModel

from sure.audio.log_mel import LogMel
from sure.backbone import Backbone

# Of read English, for counting operations.
CHARACTERS_PER_SECOND = 15


class Voices:
    """Who speaks in the current batch; the parts of a model that must know share one of these."""

    def __init__(self) -> None:
        # (batch, width of an embedding); None where the model was given none.
        self.embeddings: Tensor | None = None

    def __deepcopy__(self, memo: dict) -> "Voices":
        # As `Padding`: a copied backbone still serves the same batches.
        return self


class TextToSpeech(Backbone):
    """A family whose models speak."""

    headless = True
    model_class = AutoModelForTextToSpectrogram

    # Whether training must be told how many frames each token of a text takes: `targets` finds them in the rows.
    needs_durations: ClassVar[bool] = False

    # The class of vocoders that read its spectrograms.
    vocoder_class: ClassVar[type[PreTrainedModel]]

    def __init__(self, name: str, model: PreTrainedModel, *args: Any, **kwargs: Any) -> None:
        self.voices = Voices()
        super().__init__(name, model, *args, **kwargs)
        model.register_forward_pre_hook(self._note_voices, with_kwargs=True)

    @abstractmethod
    def log_mel(self) -> LogMel:
        """The spectrograms that a model of this family predicts."""

    @abstractmethod
    def speaker_width(self) -> int | None:
        """Size of the speaker embeddings that a model reads; None where it knows one voice only."""

    @abstractmethod
    def text_inputs(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask`, both (batch, tokens). Raises `SureError` for a text that is too long."""

    @abstractmethod
    def targets(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """`labels` of shape (batch, frames, bins), -100 in padding, and what else the loss needs.

        A row has a `text` and a `waveform` of shape (samples,), 16 kHz, and where the family needs them `durations`.
        """

    def durations(self, text: str, times: np.ndarray, seconds: float) -> list[int]:
        """Frames of each token in an utterance of so many seconds whose characters begin at `times`, (characters + 1,).

        Raises `SureError` where the tokens of a model are no characters.
        """
        raise NotImplementedError(f"{type(self).__name__} needs no durations")

    def _note_voices(self, model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        """Before each forward pass: note who speaks."""
        self.voices.embeddings = kwargs.get("speaker_embeddings")


def padded_labels(spectrograms: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Spectrograms of shape (frames, bins) as (batch, frames, bins), -100 in padding, with a mask (batch, frames)."""
    labels = nn.utils.rnn.pad_sequence(
        [torch.from_numpy(spectrogram) for spectrogram in spectrograms], batch_first=True, padding_value=-100.0
    )
    lengths = torch.tensor([len(spectrogram) for spectrogram in spectrograms])
    return labels, (torch.arange(labels.shape[1]) < lengths.unsqueeze(1)).long()
