"""Networks without pretraining that read log mel filter banks, and convolutions that do not read a batch's padding."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
import torchaudio
from torch import Tensor, nn
from transformers import PreTrainedModel

from sure.audio import SAMPLE_RATE, at_least
from sure.backbone import Backbone
from sure.backbone.padding import by_what_was_gathered

_FRAMES_PER_SECOND = 100
# Kaldi reads samples as 16-bit integers.
_LOUDEST = 1 << 15


class FilterBankBackbone(Backbone):
    """A network that starts from random weights, on filter banks as wespeaker makes them.

    Kaldi's, of 25 ms each 10 ms with a Hamming window and without dither; of each bin its mean over the utterance is
    taken off. A subclass has a `model_class` with `input_features` (batch, frames, bins), and the role `block`: modules
    whose `divided(parts)` is such a block with so many times fewer channels.
    """

    layers_alike: ClassVar[bool] = False

    @classmethod
    def read_processor(cls, place: str, revision: str | None) -> None:
        """None: filter banks have no settings of their own beside the configuration."""

    def inputs(self, waveforms: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """`input_features` (batch, frames, bins) and their attention mask."""
        banks = [self._filter_banks(waveform) for waveform in waveforms]
        lengths = torch.tensor([len(bank) for bank in banks])
        return {
            "input_features": nn.utils.rnn.pad_sequence(banks, batch_first=True),
            "attention_mask": (torch.arange(int(lengths.max())) < lengths.unsqueeze(1)).long(),
        }

    def _filter_banks(self, waveform: np.ndarray) -> Tensor:
        samples = at_least(waveform).astype(np.float32)
        bank = torchaudio.compliance.kaldi.fbank(
            torch.from_numpy(samples).unsqueeze(0) * _LOUDEST,
            num_mel_bins=self.config.num_mel_bins,
            sample_frequency=SAMPLE_RATE,
            window_type="hamming",
            dither=0.0,
        )
        return bank - bank.mean(dim=0)

    def example(self, seconds: int, device: torch.device) -> dict[str, Tensor]:
        frames = (1, seconds * _FRAMES_PER_SECOND, self.config.num_mel_bins)
        return {"input_features": torch.zeros(frames, device=device)}


class FilterBankModel(PreTrainedModel):
    """What such a network's model has in common: modules start as PyTorch starts them."""

    main_input_name = "input_features"
    base_model_prefix = "backbone"

    def _init_weights(self, module: nn.Module) -> None:
        pass


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of (batch, channels, ..., frames) over all that is not padding.

    Statistics are those of the batch, and are gathered, while its weights train. Where they are frozen it is one fixed
    map: statistics gathered then would change the network, which no adapter saves.
    """

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask` (batch, frames) is true where a frame is not padding."""
        if not (self.training and self.weight.requires_grad):
            return by_what_was_gathered(self, inputs)
        if mask is None or mask.device.type == "meta":
            return super().forward(inputs)
        frames = inputs.movedim(-1, 1)
        normalised = super().forward(frames[mask]).to(inputs.dtype)
        return torch.zeros_like(frames).masked_scatter(_beside(mask, frames), normalised).movedim(1, -1)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions after the channels."""


class Convolution(nn.Module):
    """Convolution over time that keeps the number of frames, ReLU, batch normalisation."""

    def __init__(self, before: int, after: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(before, after, kernel, dilation=dilation, padding=kernel // 2 * dilation)
        self.norm = BatchNorm(after)

    def forward(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        return self.norm(self.convolution(zero(inputs, mask)).relu(), mask)


def zero(inputs: Tensor, mask: Tensor | None) -> Tensor:
    """(batch, channels, ..., frames) with zeros where `mask` (batch, frames) is false."""
    return inputs if mask is None else inputs.movedim(-1, 1).mul(_beside(mask, inputs)).movedim(1, -1)


def mean(inputs: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of each channel over all that is not padding: (batch, channels, ..., frames) -> (batch, channels)."""
    each = zero(inputs, mask).flatten(2, -2).mean(dim=2) if inputs.ndim > 3 else zero(inputs, mask)
    return each.mean(dim=-1) if mask is None else each.sum(dim=-1) / mask.sum(dim=1, keepdim=True).to(each.dtype)


def kept(mask: Tensor | None, outputs: Tensor) -> Tensor | None:
    """The mask of what a block put out, (batch, ..., frames), which may have left out every second frame."""
    return mask if mask is None or mask.shape[1] == outputs.shape[-1] else mask[:, ::2]


def _beside(mask: Tensor, inputs: Tensor) -> Tensor:
    return mask.view(*mask.shape, *(1,) * (inputs.ndim - 2))


def read_mask(attention_mask: Tensor | None) -> Tensor | None:
    """Padding's mask of a batch; None where nothing is padding."""
    return None if attention_mask is None else attention_mask.bool()
