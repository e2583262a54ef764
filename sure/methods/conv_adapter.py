"""ConvAdapter (SURE, Li et al. 2023): depthwise convolutions over time with squeeze-and-excitation, after each layer.

h + SE(Conv3(Conv2(ReLU(Conv1(LN(h)))))), all convolutions without bias, grouped by the bottleneck dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from sure.backbone.padding import Padding
from sure.errors import SureError
from sure.method import Published, register
from sure.method.placement import PlacedAdapter, PlacedConfig, PlacedLayer


@dataclass
class ConvAdapter(PlacedConfig):
    """As in SURE's release, on wav2vec 2.0 large: 1024 -> 512 -> 512 -> 1024 channels.

    It starts far from the identity, as in the release, whose `from_pretrained` makes every new module anew:
    convolutions from a normal distribution of variance 2 / fan-in (He et al. 2015), squeeze-and-excitation from
    N(0, 0.02). With `initialisation=near_identity` all start as PyTorch has them, several times smaller.

    Departures:

    - The release's squeeze and its convolutions read the padding of a batch; here padding counts as silence after the
      end, so that an utterance's representation does not depend on its batch.
    - The paper's table says 2,952,539 trainable parameters with a head of 11 labels. The release has 3,669,003, and so
      has this; no change of one number was found that gives the table's.
    """

    published: ClassVar[tuple[Published, ...]] = (
        Published(
            2_952_539,
            "wav2vec2:large",
            11,
            "SURE, Li et al. 2023",
            difference="the code that SURE released has 3,669,003 too; no change of one number gives the table's",
        ),
    )

    bottleneck_dimension: PositiveInt | None = field(
        default=None, metadata={"help": "Channels of the middle convolution; half the backbone's width unless given."}
    )
    kernel_sizes: list[PositiveInt] = field(
        default_factory=lambda: [3, 5, 3], metadata={"help": "Three odd kernel sizes, in frames."}
    )
    reduction: PositiveInt = field(
        default=16, metadata={"help": "Squeeze-and-excitation: width / reduction channels between."}
    )
    initialisation: Literal["released", "near_identity"] = field(
        default="released",
        metadata={"help": "released: as SURE's release starts; near_identity: changes hidden states little at first."},
    )

    norm: Literal["none", "before", "after"] = field(
        default="before", metadata={"help": "A layer normalisation of what it reads (before) or of what it gives."}
    )

    # Of its bottleneck's grouped convolutions all sizes cost about the same.
    dimension: ClassVar[str] = "reduction"
    reads_ahead: ClassVar[str] = "conv_adapter convolves over time"

    def sizes(self, width: int) -> Sequence[int]:
        # Of reductions with as many channels between, the smallest.
        return sorted({width // (width // reduction + 1) + 1 for reduction in range(1, width + 1)}, reverse=True)


class SqueezeExcitation(nn.Module):
    """x * sigmoid(W2 ReLU(W1 mean(x))) over time (Hu et al. 2018, equations 2 to 4), without biases."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(width, width // reduction, bias=False)
        self.excite = nn.Linear(width // reduction, width, bias=False)

    def forward(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        weights = self.excite(self.squeeze(padding.mean(hidden_states)).relu()).sigmoid()
        return hidden_states * weights.unsqueeze(1)


class _ConvAdapter(PlacedAdapter):
    def __init__(self, width: int, config: ConvAdapter) -> None:
        super().__init__(width, config)
        middle = config.bottleneck_dimension or width // 2
        if width % middle or width < config.reduction or len(config.kernel_sizes) != 3:
            raise SureError(
                f"conv_adapter: bottleneck_dimension ({middle}) must divide the width ({width}), reduction "
                f"({config.reduction}) must not exceed it, and kernel_sizes must be three ({config.kernel_sizes})."
            )
        channels = (width, middle, middle, width)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, kernel, padding="same", groups=middle, bias=False)
            for before, after, kernel in zip(channels, channels[1:], config.kernel_sizes, strict=False)
        )
        self.squeeze_excitation = SqueezeExcitation(width, config.reduction)
        if config.initialisation == "released":
            for convolution in self.convolutions:
                nn.init.kaiming_normal_(convolution.weight)
            for linear in (self.squeeze_excitation.squeeze, self.squeeze_excitation.excite):
                nn.init.normal_(linear.weight, std=0.02)

    def change(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        for index, convolution in enumerate(self.convolutions):
            # (batch, frames, width) -> (batch, width, frames) and back
            hidden_states = convolution(padding.zero(hidden_states).transpose(1, 2)).transpose(1, 2)
            if index == 0:
                hidden_states = hidden_states.relu()
        return self.squeeze_excitation(hidden_states, padding)


class _ConvAdapterLayer(PlacedLayer):
    adapter_class = _ConvAdapter


register(ConvAdapter, _ConvAdapterLayer)
