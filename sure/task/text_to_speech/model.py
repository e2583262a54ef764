"""A text-to-speech model as methods adapt it and tasks train it: spectrograms to learn, speech to evaluate."""

import numpy as np
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from sure.backbone import Backbone
from sure.model import SpeechModel
from sure.task.text_to_speech.vocoders import Vocoder

# What follows the end of a waveform in a batch; the trainer pads with the same between batches.
NO_SAMPLE = -100.0


class SpeakingModel(SpeechModel):
    """Runs a `backbone` that needs no head: in training mode for its loss, in evaluation mode for speech."""

    def __init__(self, backbone: Backbone, vocoder: Vocoder) -> None:
        super().__init__(backbone)
        self.vocoder = vocoder

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor | None = None,
        speaker_embeddings: Tensor | None = None,
        sentences: Tensor | None = None,
        **targets: Tensor,
    ) -> SequenceClassifierOutput:
        """`input_ids` and `attention_mask` are (batch, tokens), `speaker_embeddings` (batch, width of an embedding).

        In training mode `labels`, spectrograms of shape (batch, frames, bins), and further targets of the family give
        the loss. In evaluation mode they are not looked at, the loss is 0, and `logits` are waveforms of shape (batch,
        samples), 16 kHz, each ended by -100. `sentences` is not looked at. Raises `FloatingPointError` where what is
        said is no number.
        """
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if speaker_embeddings is not None:
            inputs["speaker_embeddings"] = speaker_embeddings
        if self.training:
            return SequenceClassifierOutput(loss=self.backbone(**inputs, labels=labels, **targets).loss)
        waveforms = [torch.from_numpy(self._say(spectrogram)) for spectrogram in self.backbone(**inputs)]
        padded = nn.utils.rnn.pad_sequence(waveforms, batch_first=True, padding_value=NO_SAMPLE)
        # The trainer computes metrics only for models that have a loss.
        return SequenceClassifierOutput(
            loss=torch.zeros((), device=input_ids.device), logits=padded.to(input_ids.device)
        )

    def run_example(self, seconds: int) -> None:
        """Over a text of so many seconds and its spectrogram at once, as in training; leaves it in that mode."""
        self.train()
        self.backbone(**self.source.example(seconds, self.device))

    def _say(self, spectrogram: Tensor) -> np.ndarray:
        if not spectrogram.isfinite().all():
            raise FloatingPointError("the spectrogram of a sentence holds what is no number: the model has diverged")
        return self.vocoder(spectrogram).clip(-1.0, 1.0)
