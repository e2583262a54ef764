"""LoRA as UniPELT has it (Mao et al. 2022, 2110.07577): g B A x, a gate in the place of LoRA's alpha / r.

The gate reads what its map reads, and each map has its own. It differs between utterances, so that no weight can hold
the change.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import PositiveInt
from torch import Tensor, nn

from sure.backbone import Backbone
from sure.method import register
from sure.method.gating import Gate
from sure.method.linear import LinearConfig, LinearLayer, LowRank


@dataclass
class GatedLora(LinearConfig):
    """Rank 8 on query and value. A mean over frames hears what is yet to come: only the encoder of a model that writes.

    r (inputs + outputs) + inputs + 1 parameters for each map.
    """

    roles: ClassVar[tuple[str, ...]] = ("query", "value")

    r: PositiveInt = field(default=8, metadata={"help": "Rank."})

    dimension: ClassVar[str] = "r"
    reads_ahead: ClassVar[str] = "gated_lora takes a mean over time"

    def targets(self, backbone: Backbone, roles: tuple[str, ...]) -> list[str] | str:
        """The maps of an encoder."""
        return super().targets(backbone, backbone.encoder_roles(roles, f"{self.reads_ahead}, and would read what"))


class _GatedLora(LowRank):
    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__(inputs, outputs, rank)
        self.gate = Gate(inputs)


class _GatedLoraLayer(LinearLayer):
    def new_adapter(self, config: GatedLora) -> nn.Module:
        return _GatedLora(self.base_layer.in_features, self.base_layer.out_features, config.r)

    def change(self, adapter: nn.Module, inputs: Tensor) -> Tensor:
        return adapter.gate(inputs, self.padding) * adapter(inputs)


register(GatedLora, _GatedLoraLayer)
