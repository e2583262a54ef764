"""Bottleneck adapter (Houlsby et al. 2019) as SURE places it: once per layer, after the feed-forward residual.

h + Up(ReLU(Down(h))), on the output of each layer.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import PositiveInt
from torch import Tensor, nn

from sure.method import AdapterLayer, MethodConfig, Published, register


@dataclass
class BottleneckAdapter(MethodConfig):
    """SURE (Li et al. 2023): AdapterHub's `Adapter`, half the width."""

    published: ClassVar[tuple[Published, ...]] = (Published(25_467_915, "wav2vec2:large", 11, "SURE, Li et al. 2023"),)

    bottleneck_dimension: PositiveInt | None = field(
        default=None, metadata={"help": "Size between Down and Up; half the backbone's width unless given."}
    )


class _Bottleneck(nn.Module):
    def __init__(self, width: int, bottleneck_dimension: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck_dimension)
        self.up = nn.Linear(bottleneck_dimension, width)
        # AdapterHub's "bert" initialisation, which SURE keeps: close to the identity, not equal to it.
        for linear in (self.down, self.up):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return hidden_states + self.up(self.down(hidden_states).relu())


class _BottleneckLayer(AdapterLayer):
    def new_adapter(self, config: BottleneckAdapter) -> nn.Module:
        width = self.model_config.hidden_size
        return _Bottleneck(width, config.bottleneck_dimension or width // 2)


register(BottleneckAdapter, _BottleneckLayer)
