"""ECAPA-TDNN up to its pooling (Desplanques et al. 2020, arXiv 2005.07143), with wespeaker's layers.

A convolution, three SE-Res2Blocks with dilations 2, 3 and 4, and a convolution of all that these three put out; ReLU
comes before batch normalisation. Pooling and embedding are a task's head: `head=attentive_statistics` of speaker
verification makes the network whole, 6,190,720 parameters with 512 channels and 14,657,088 with 1024;
`head=local_attentive_statistics` is without global context, 5,797,504 and 14,263,872.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput

from sure.backbone.filter_banks import Convolution, FilterBankBackbone, FilterBankModel, mean, read_mask
from sure.errors import SureError

_DILATIONS = (2, 3, 4)


class ECAPATDNNConfig(PreTrainedConfig):
    """`hidden_size` is the width of what it puts out, `scale` into how many a Res2 convolution is split."""

    model_type = "ecapa_tdnn"

    channels: int = 512
    hidden_size: int = 1536
    squeezed: int = 128
    scale: int = 8
    num_mel_bins: int = 80
    num_hidden_layers: int = len(_DILATIONS)


class _Block(nn.Module):
    """SE-Res2Block: a Res2 convolution between two that see one frame, squeeze and excitation, and the input again."""

    def __init__(self, channels: int, dilation: int, scale: int, squeezed: int) -> None:
        super().__init__()
        self.sizes = (channels, dilation, scale, squeezed)
        self.first, self.last = Convolution(channels, channels), Convolution(channels, channels)
        width = channels // scale
        self.res2 = nn.ModuleList(Convolution(width, width, 3, dilation) for _ in range(scale - 1))
        self.squeeze, self.excite = nn.Linear(channels, squeezed), nn.Linear(squeezed, channels)

    def divided(self, parts: int) -> "_Block":
        channels, dilation, scale, squeezed = self.sizes
        if channels % (parts * scale) or squeezed % parts:
            raise SureError(
                f"parts={parts}: a block has {channels} channels in {scale} groups, squeezed to {squeezed}; choose a "
                "number that divides these."
            )
        return _Block(channels // parts, dilation, scale, squeezed // parts)

    def forward(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        split = self.first(inputs, mask).chunk(len(self.res2) + 1, dim=1)
        outputs: list[Tensor] = []
        for convolution, part in zip(self.res2, split, strict=False):
            outputs.append(convolution(outputs[-1] + part if outputs else part, mask))
        hidden = self.last(torch.cat([*outputs, split[-1]], dim=1), mask)
        excited = self.excite(self.squeeze(mean(hidden, mask)).relu()).sigmoid()
        return inputs + hidden * excited.unsqueeze(-1)


class ECAPATDNNModel(FilterBankModel):
    """(batch, frames, bins) to hidden states (batch, frames, width)."""

    config_class = ECAPATDNNConfig

    def __init__(self, config: ECAPATDNNConfig) -> None:
        super().__init__(config)
        self.first = Convolution(config.num_mel_bins, config.channels, 5)
        self.blocks = nn.ModuleList(
            _Block(config.channels, dilation, config.scale, config.squeezed) for dilation in _DILATIONS
        )
        self.aggregation = nn.Conv1d(len(_DILATIONS) * config.channels, config.hidden_size, 1)
        self.post_init()

    def forward(self, input_features: Tensor, attention_mask: Tensor | None = None, **unused: Any) -> BaseModelOutput:
        mask = read_mask(attention_mask)
        states = [self.first(input_features.transpose(1, 2), mask)]
        for block in self.blocks:
            states.append(block(states[-1], mask))
        hidden = self.aggregation(torch.cat(states[1:], dim=1)).relu()
        return BaseModelOutput(last_hidden_state=hidden.transpose(1, 2))


class ECAPATDNN(FilterBankBackbone):
    """No transformer layers: of the methods those apply that adapt the whole model or its blocks."""

    roles: ClassVar[dict[str, str]] = {"block": r"blocks\.\d+"}
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {"channels": 64, "hidden_size": 96, "squeezed": 16, "scale": 4},
        "c512": {},
        "c1024": {"channels": 1024},
    }
    model_class = ECAPATDNNModel
