"""S2-LoRA (Liu et al. 2023, 2309.11756): B diag(c_i) A x, with A and B shared by all maps and c_i of each map alone.

The paper keeps c_i sparse; how was not seen, and nothing does so here.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from sure.method import register
from sure.method.linear import LinearConfig, LowRank, MergeableLinearLayer
from sure.method.sharing import SharingLayer


@dataclass
class S2Lora(LinearConfig):
    """Rank 8 on query and value. Maps of one size share one A and one B; of several sizes there are several pairs.

    r (inputs + outputs) parameters for each size and r for each map. The rank and the start are this project's: A
    Kaiming, B zero, as LoRA's, and c_i one.
    """

    roles: ClassVar[tuple[str, ...]] = ("query", "value")

    r: PositiveInt = field(default=8, metadata={"help": "Rank."})

    dimension: ClassVar[str] = "r"


class _Coefficients(nn.Module):
    # A and B, held by the first map of a size.
    common: LowRank

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.ones(rank))

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return self.common.b(self.coefficients * self.common.a(inputs))


class _S2LoraLayer(SharingLayer, MergeableLinearLayer):
    def group_of(self, name: str, base_layer: nn.Module, config: S2Lora) -> str:
        return str(tuple(base_layer.weight.shape))

    def new_adapter(self, config: S2Lora) -> nn.Module:
        adapter = _Coefficients(config.r)
        if self.is_first:
            outputs, read = self.base_layer.weight.shape
            adapter.common = LowRank(read, outputs, config.r)
        return adapter

    def change(self, adapter: nn.Module, inputs: Tensor) -> Tensor:
        return adapter(inputs)


register(S2Lora, _S2LoraLayer)
