"""Convpass (Jie and Deng 2022, 2207.07039), over time: s Up(drop(q(Conv(q(Down(x)))))), q(a) = a sigmoid(1.702 a).

Beside attention and beside the feed-forward block. The original convolves over an image's patches with a 3 x 3 kernel.
"""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from sure.backbone.padding import Padding
from sure.method import Preset, register
from sure.method.placement import ACTIVATIONS, BottleneckConfig, PlacedAdapter, PlacedLayer


@dataclass
class Convpass(BottleneckConfig):
    """Kernel 3, 8 channels, dropout 0.1; it starts as the identity, as Up is zero.

    The paper tunes `scale` (0.01 to 100) and `initialisation` for each data set. The copy in the release of 2312.03694
    computes its convolution and goes on without (`variant=released`): its kernel never learns.
    """

    presets: ClassVar[dict[str, Preset]] = {
        "convpass": Preset("Jie and Deng 2022 (2207.07039)", {}),
        "convpass_attn": Preset("Jie and Deng 2022 (2207.07039): at attention alone", {"placement": ["attention"]}),
    }
    reads_ahead: ClassVar[str] = "convpass convolves over time"

    placement: list[str] = field(
        default_factory=lambda: ["attention", "ffn"], metadata={"help": "Parts of each layer that get an adapter."}
    )
    insertion: Literal["sequential", "parallel"] = field(
        default="parallel", metadata={"help": "Whether it reads what its part puts out or what that reads."}
    )
    bottleneck_dimension: PositiveInt | None = field(
        default=8, metadata={"help": "Size between Down and Up; None: the width / `reduction`."}
    )
    kernel_size: PositiveInt = field(default=3, metadata={"help": "In frames."})
    dropout: Annotated[float, Field(ge=0, lt=1)] = field(default=0.1, metadata={"help": "Before Up."})
    initialisation: Literal["xavier", "identity"] = field(
        default="xavier", metadata={"help": "Of the kernel; identity: one at its centre."}
    )
    variant: Literal["paper", "released"] = field(
        default="paper", metadata={"help": "released: without its convolution, as in the release of 2312.03694."}
    )


class _Convpass(PlacedAdapter):
    def __init__(self, width: int, config: Convpass) -> None:
        super().__init__(width, config)
        channels = config.bottleneck(width)
        self.released = config.variant == "released"
        self.down = nn.Linear(width, channels)
        self.convolution = nn.Conv1d(channels, channels, config.kernel_size, padding="same")
        self.up = nn.Linear(channels, width)
        self.activation = ACTIVATIONS["quick_gelu"]()
        self.dropout = nn.Dropout(config.dropout)
        nn.init.xavier_uniform_(self.down.weight)
        nn.init.zeros_(self.up.weight)
        for part in (self.down, self.convolution, self.up):
            nn.init.zeros_(part.bias)
        if config.initialisation == "xavier":
            nn.init.xavier_uniform_(self.convolution.weight)
        else:
            nn.init.zeros_(self.convolution.weight)
            with torch.no_grad():
                self.convolution.weight[:, :, (config.kernel_size - 1) // 2] = torch.eye(channels)

    def change(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        down = self.activation(self.down(hidden_states))
        if not self.released:
            # (batch, frames, channels) -> (batch, channels, frames) and back
            down = self.activation(self.convolution(padding.zero(down).transpose(1, 2)).transpose(1, 2))
        return self.up(self.dropout(down))


class _ConvpassLayer(PlacedLayer):
    adapter_class = _Convpass


register(Convpass, _ConvpassLayer)
