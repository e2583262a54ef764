"""S2-LoRA (Liu et al. 2023, 2309.11756): B diag(c_i) A x, with A and B shared by all maps and c_i of each map alone.

The paper keeps c_i sparse; how was not seen, and nothing does so here.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from transformers import PreTrainedModel

from sure.method import register
from sure.method.linear import LinearConfig, LowRank, MergeableLinearLayer


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
    """c_i of one map; where it is the first of its size (`shared` is None), A and B too."""

    def __init__(self, read: int, outputs: int, rank: int, shared: LowRank | None) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.ones(rank))
        if shared is None:
            self.first = shared = LowRank(read, outputs, rank)
        # In a tuple it is no part of the others, so that it trains, is counted and is saved once.
        self.shared = (shared,)

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        (shared,) = self.shared
        return shared.b(self.coefficients * shared.a(inputs))


class _S2LoraLayer(MergeableLinearLayer):
    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: S2Lora) -> None:
        self.around = (model,)
        super().__init__(base_layer, model, adapter_name, config)

    def add(self, adapter_name: str, config: S2Lora) -> None:
        size = self.base_layer.weight.shape
        self.before = tuple(
            layer.sure_adapter[adapter_name].shared[0]
            for layer in self.around[0].modules()
            if isinstance(layer, _S2LoraLayer)
            and layer.base_layer.weight.shape == size
            and adapter_name in layer.sure_adapter
        )
        super().add(adapter_name, config)

    def new_adapter(self, config: S2Lora) -> nn.Module:
        outputs, read = self.base_layer.weight.shape
        return _Coefficients(read, outputs, config.r, self.before[0] if self.before else None)

    def change(self, adapter: nn.Module, inputs: Tensor) -> Tensor:
        return adapter(inputs)


register(S2Lora, _S2LoraLayer)
