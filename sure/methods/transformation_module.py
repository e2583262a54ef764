"""The transformation module for speaker networks (Li et al. 2023, arXiv 2312.03324), as this project reads it.

The paper's abstract has: before every block the channels are split into parts, each part is updated by what the others
know, and the blocks work on each part independently, which costs less memory and computation. All that follows is this
project's own reading, since the text does not give it. Channels are split in order. To each part is added, the same at
all times,

LayerNorm(W_g m_g + b_g), with m_g the mean over the other parts of their means over time and frequency;

W_g is a 1x1 convolution. Then each part has a block with weights of its own and so many times fewer channels, and what
they put out is joined. The blocks start anew, so the whole network trains, as in full fine-tuning.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from sure.backbone import Backbone
from sure.backbone.filter_banks import mean
from sure.errors import SureError
from sure.method import MethodConfig, register
from sure.methods.full_finetuning import FullFinetuningLayer


@dataclass
class TransformationModule(MethodConfig):
    """Around every block of a network without transformer layers."""

    roles: ClassVar[tuple[str, ...]] = ("block",)
    alone: ClassVar[bool] = True

    parts: PositiveInt = field(
        default=4, metadata={"help": "Into how many parts channels are split, two at least (this project's reading)."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.parts < 2:
            raise SureError(f"--method_options parts={self.parts}: it takes two parts at least to tell them apart.")

    def targets(self, backbone: Backbone, roles: tuple[str, ...]) -> list[str] | str:
        """The whole backbone, of which a copy gets other blocks."""
        if roles != self.roles:
            raise SureError("The transformation module goes around every block; leave --method_options roles out.")
        backbone.modules("block")
        return backbone.modules("backbone")


class _PartedBlock(nn.Module):
    """A block for each part of the channels, after each has heard of the others."""

    def __init__(self, block: nn.Module, parts: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(block.divided(parts) for _ in range(parts))
        channels = block.sizes[0]
        self.fusion = nn.Conv1d(channels, channels, 1, groups=parts)
        self.norms = nn.ModuleList(nn.LayerNorm(channels // parts) for _ in range(parts))

    def forward(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        parts = len(self.blocks)
        means = mean(inputs, mask).unflatten(1, (parts, -1))
        others = (means.sum(dim=1, keepdim=True) - means) / (parts - 1)
        news = self.fusion(others.flatten(1).unsqueeze(-1)).squeeze(-1).chunk(parts, dim=1)
        outputs = []
        for block, norm, part, new in zip(self.blocks, self.norms, inputs.chunk(parts, dim=1), news, strict=True):
            outputs.append(block(part + norm(new).view(*new.shape, *(1,) * (part.ndim - 2)), mask))
        return torch.cat(outputs, dim=1)


class _TransformationLayer(FullFinetuningLayer):
    """Trains a copy of the backbone whose blocks are parted."""

    def new_adapter(self, config: TransformationModule) -> nn.Module:
        network = super().new_adapter(config)
        device = next(network.parameters()).device
        for index, block in enumerate(network.blocks):
            with torch.device(device):
                network.blocks[index] = _PartedBlock(block, config.parts)
        return network


register(TransformationModule, _TransformationLayer)
