"""AMCRN up to its pooling (arXiv 2306.00426), as this project reads it.

Of the attention-based multi-scale convolutional recurrent network, what could be seen names the parts and their order:
log mel filter banks, a multi-scale convolution block with temporal attention, a residual BLSTM block, channel-attentive
statistics pooling and an embedding. Sizes are not among it, so that no count here is the paper's. This project has a
convolution of five frames; three convolutions of 3, 5 and 7 frames side by side, joined by one that sees one frame and
weighted frame by frame, sigmoid(w_2 tanh(W_1 h + b_1) + b_2); and a BLSTM of half the channels in each direction. The
last two are added to what they read. Pooling and embedding are a task's head: `head=attentive_statistics` of speaker
verification.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput

from sure.backbone.filter_banks import Convolution, FilterBankBackbone, FilterBankModel, read_mask, zero
from sure.errors import SureError

_KERNELS = (3, 5, 7)


class AMCRNConfig(PreTrainedConfig):
    """`hidden_size` is the number of channels everywhere, `squeezed` that of temporal attention."""

    model_type = "amcrn"

    hidden_size: int = 512
    squeezed: int = 128
    num_mel_bins: int = 80
    num_hidden_layers: int = 2


class _MultiScaleBlock(nn.Module):
    """Convolutions that see more and less, joined, weighted frame by frame, and the input again."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.sizes = (channels, squeezed)
        self.scales = nn.ModuleList(Convolution(channels, channels, kernel) for kernel in _KERNELS)
        self.join = Convolution(len(_KERNELS) * channels, channels)
        self.attention = nn.Sequential(nn.Conv1d(channels, squeezed, 1), nn.Tanh(), nn.Conv1d(squeezed, 1, 1))

    def divided(self, parts: int) -> "_MultiScaleBlock":
        channels, squeezed = self.sizes
        if channels % parts or squeezed % parts:
            raise SureError(
                f"parts={parts}: a block has {channels} channels and attention of {squeezed}; choose a number that "
                "divides these."
            )
        return _MultiScaleBlock(channels // parts, squeezed // parts)

    def forward(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        hidden = self.join(torch.cat([scale(inputs, mask) for scale in self.scales], dim=1), mask)
        return inputs + hidden * self.attention(hidden).sigmoid()


class _RecurrentBlock(nn.Module):
    """A BLSTM, and the input again. The direction that reads the end first begins at each utterance's last frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sizes = (channels,)
        self.forwards = nn.LSTM(channels, channels // 2, batch_first=True)
        self.backwards = nn.LSTM(channels, channels // 2, batch_first=True)

    def divided(self, parts: int) -> "_RecurrentBlock":
        (channels,) = self.sizes
        if channels % (2 * parts):
            raise SureError(
                f"parts={parts}: a block has {channels} channels in two directions; choose a number that divides these."
            )
        return _RecurrentBlock(channels // parts)

    def forward(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        frames = zero(inputs, mask).transpose(1, 2)
        count = torch.arange(frames.shape[1], device=frames.device)
        last = count[-1:] if mask is None else mask.sum(dim=1, keepdim=True) - 1
        # Its own inverse; padding stays behind what is read.
        turned = (last - count).remainder(len(count)).expand(len(frames), -1).unsqueeze(-1)
        there, _ = self.forwards(frames)
        back, _ = self.backwards(frames.gather(1, turned.expand_as(frames)))
        both = torch.cat([there, back.gather(1, turned.expand_as(back))], dim=-1)
        return inputs + both.transpose(1, 2)


class AMCRNModel(FilterBankModel):
    """(batch, frames, bins) to hidden states (batch, frames, width)."""

    config_class = AMCRNConfig

    def __init__(self, config: AMCRNConfig) -> None:
        super().__init__(config)
        self.first = Convolution(config.num_mel_bins, config.hidden_size, 5)
        self.blocks = nn.ModuleList(
            [_MultiScaleBlock(config.hidden_size, config.squeezed), _RecurrentBlock(config.hidden_size)]
        )
        self.post_init()

    def forward(self, input_features: Tensor, attention_mask: Tensor | None = None, **unused: Any) -> BaseModelOutput:
        mask = read_mask(attention_mask)
        hidden = self.first(input_features.transpose(1, 2), mask)
        for block in self.blocks:
            hidden = block(hidden, mask)
        return BaseModelOutput(last_hidden_state=hidden.transpose(1, 2))


class AMCRN(FilterBankBackbone):
    """No transformer layers: of the methods those apply that adapt the whole model or its blocks."""

    roles: ClassVar[dict[str, str]] = {"block": r"blocks\.\d+"}
    sizes: ClassVar[dict[str, dict[str, Any]]] = {"tiny": {"hidden_size": 64, "squeezed": 16}, "base": {}}
    model_class = AMCRNModel
