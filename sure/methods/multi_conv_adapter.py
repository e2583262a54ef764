"""MultiConvAdapter (2510.24852): depthwise convolutions of several lengths side by side, after attention.

h + Up(w + g w), w being Down(h) in equal parts, each convolved over time with a kernel of its own, and g a gain for
each channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from sure.backbone.padding import Padding
from sure.errors import SureError
from sure.method import Published, register
from sure.method.placement import BottleneckConfig, PlacedAdapter, PlacedLayer


@dataclass
class MultiConvAdapter(BottleneckConfig):
    """As the released code has it, on XLS-R 300M: 64 channels, kernels 3, 7, 15 and 23, no biases; Up starts at zero.

    This project's reading: a kernel starts as N(0, 0.01) with one added at its centre, and the gains as PyTorch starts
    a convolution of one tap.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published(3_170_000, "wav2vec2:large", None, "MultiConvAdapter, 2510.24852", rounded=10_000),
    )
    reads_ahead: ClassVar[str] = "multi_conv_adapter convolves over time"

    placement: list[str] = field(
        default_factory=lambda: ["attention"], metadata={"help": "Parts of each layer that get an adapter."}
    )
    reduction: PositiveInt = field(
        default=16, metadata={"help": "By how much the width is divided where bottleneck_dimension is not given."}
    )
    kernel_sizes: list[PositiveInt] = field(
        default_factory=lambda: [3, 7, 15, 23],
        metadata={"help": "In frames; each convolves its part of the channels."},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.kernel_sizes:
            raise SureError("--method_options kernel_sizes=[]: multi_conv_adapter convolves with one kernel at least.")

    def bottleneck(self, width: int) -> int:
        """As for every bottleneck; unless given, what the kernels share equally."""
        parts = len(self.kernel_sizes)
        return self.bottleneck_dimension or parts * max(1, round(width / self.reduction / parts))

    def sizes(self, width: int) -> Sequence[int]:
        parts = len(self.kernel_sizes)
        return range(parts, 4 * width + 1, parts)


class _MultiConvAdapter(PlacedAdapter):
    def __init__(self, width: int, config: MultiConvAdapter) -> None:
        super().__init__(width, config)
        channels, parts = config.bottleneck(width), len(config.kernel_sizes)
        if channels % parts:
            raise SureError(
                f"multi_conv_adapter: {parts} kernels share {channels} channels (bottleneck_dimension) equally; choose "
                "a number of channels that they divide."
            )
        part = channels // parts
        self.down = nn.Linear(width, channels, bias=False)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(part, part, kernel, padding="same", groups=part, bias=False) for kernel in config.kernel_sizes
        )
        self.gain = nn.Parameter(torch.empty(channels).uniform_(-1, 1))
        self.up = nn.Linear(channels, width, bias=False)
        for convolution in self.convolutions:
            nn.init.normal_(convolution.weight, std=0.01)
            with torch.no_grad():
                convolution.weight[:, :, (convolution.kernel_size[0] - 1) // 2] += 1
        nn.init.zeros_(self.up.weight)

    def change(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        # (batch, frames, channels) -> (batch, channels, frames) and back
        parts = padding.zero(self.down(hidden_states)).transpose(1, 2).chunk(len(self.convolutions), dim=1)
        convolved = [convolution(part) for convolution, part in zip(self.convolutions, parts, strict=True)]
        convolved = torch.cat(convolved, dim=1).transpose(1, 2)
        return self.up(convolved + self.gain * convolved)


class _MultiConvAdapterLayer(PlacedLayer):
    adapter_class = _MultiConvAdapter


register(MultiConvAdapter, _MultiConvAdapterLayer)
