"""ResNet34 up to its pooling (He et al. 2016, arXiv 1512.03385), with wespeaker's sizes for speaker verification.

Filter banks are an image of one channel. 3, 4, 6 and 3 blocks of two 3x3 convolutions have 32, 64, 128 and 256
channels; the last three stages halve both time and frequency. A hidden state is what all channels and frequencies have
at a time, eight frames of filter banks later than the one before. Pooling and embedding are a task's head:
`head=statistics` of speaker verification makes the network whole, 6,634,336 parameters.
"""

from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput

from sure.backbone.filter_banks import BatchNorm, FilterBankBackbone, FilterBankModel, kept, read_mask, zero
from sure.errors import SureError

_BLOCKS = (3, 4, 6, 3)
# By which the last three stages shorten time and frequency.
_SHORTER = 8


class ResNet34Config(PreTrainedConfig):
    """`channels` are the first stage's; `blocks` are so many in each stage."""

    model_type = "resnet34"

    channels: int = 32
    blocks: tuple[int, ...] = _BLOCKS
    num_mel_bins: int = 80
    num_hidden_layers: int = sum(_BLOCKS)

    @property
    def hidden_size(self) -> int:
        """Channels of the last stage for each of its frequencies."""
        return self.channels * _SHORTER * -(-self.num_mel_bins // _SHORTER)


class _Block(nn.Module):
    """Two 3x3 convolutions, each with batch normalisation, and the input again, in a map of its own if sizes change."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.sizes = (before, after, stride)
        self.conv1, self.norm1 = nn.Conv2d(before, after, 3, stride, padding=1, bias=False), BatchNorm(after)
        self.conv2, self.norm2 = nn.Conv2d(after, after, 3, padding=1, bias=False), BatchNorm(after)
        self.shortcut = None
        if stride > 1 or before != after:
            self.shortcut, self.shortcut_norm = nn.Conv2d(before, after, 1, stride, bias=False), BatchNorm(after)

    def divided(self, parts: int) -> "_Block":
        before, after, stride = self.sizes
        if before % parts or after % parts:
            raise SureError(f"parts={parts}: a block has {before} channels; choose a number that divides these.")
        return _Block(before // parts, after // parts, stride)

    def forward(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        hidden = self.conv1(zero(inputs, mask))
        shorter = kept(mask, hidden)
        hidden = self.norm1(hidden, shorter).relu()
        hidden = self.norm2(self.conv2(zero(hidden, shorter)), shorter)
        if self.shortcut is not None:
            inputs = self.shortcut_norm(self.shortcut(inputs), shorter)
        return (hidden + inputs).relu()


class ResNet34Model(FilterBankModel):
    """(batch, frames, bins) to hidden states (batch, frames / 8, width)."""

    config_class = ResNet34Config

    def __init__(self, config: ResNet34Config) -> None:
        super().__init__(config)
        self.conv = nn.Conv2d(1, config.channels, 3, padding=1, bias=False)
        self.norm = BatchNorm(config.channels)
        self.blocks = nn.ModuleList()
        before = config.channels
        for stage, blocks in enumerate(config.blocks):
            after = config.channels << stage
            for block in range(blocks):
                self.blocks.append(_Block(before, after, 2 if stage and not block else 1))
                before = after
        self.post_init()

    def forward(self, input_features: Tensor, attention_mask: Tensor | None = None, **unused: Any) -> BaseModelOutput:
        mask = read_mask(attention_mask)
        hidden = input_features.transpose(1, 2).unsqueeze(1)
        hidden = self.norm(self.conv(zero(hidden, mask)), mask).relu()
        for block in self.blocks:
            hidden = block(hidden, mask)
            mask = kept(mask, hidden)
        return BaseModelOutput(last_hidden_state=hidden.flatten(1, 2).transpose(1, 2))


class ResNet34(FilterBankBackbone):
    """No transformer layers: of the methods those apply that adapt the whole model or its blocks."""

    roles: ClassVar[dict[str, str]] = {"block": r"blocks\.\d+"}
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {"channels": 16, "blocks": (1, 1, 1, 1), "num_mel_bins": 24},
        "base": {},
    }
    model_class = ResNet34Model

    def frame_mask(self, inputs: Tensor, attention_mask: Tensor) -> Tensor:
        return attention_mask.bool()[:, ::_SHORTER]
