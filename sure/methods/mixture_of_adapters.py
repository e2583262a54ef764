"""Mixtures of adapters, dense and soft (Cappellazzo et al. 2024, 2402.00828): several small bottlenecks share a place.

Dense, for each frame x_t: sum over e of softmax_e(x_t W_r + b_r) A_e(x_t). Soft (as Soft-MoE, Puigcerver et al. 2023):
slots are mixtures of frames, S_j = sum over t of softmax_t(X Phi)_tj x_t; each expert adapts its own; each frame gets
sum over j of softmax_j(X Phi)_tj A(S_j).
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from sure.backbone.padding import Padding
from sure.method import Preset, register
from sure.method.placement import BottleneckConfig, PlacedAdapter, PlacedLayer


@dataclass
class MixtureOfAdapters(BottleneckConfig):
    """Soft by default: 7 experts of width / 128 with a slot each, parallel to attention, GELU; Up starts at zero.

    Departures from the release:

    - Its experts start at zero throughout, from where their weights never learn.
    - With attention as the place it adds the mixture twice, the second time after the feed-forward block.
    - Its soft dispatch reads the padding of a batch, which AST does not have and speech does.
    """

    presets: ClassVar[dict[str, Preset]] = {
        "soft": Preset("Cappellazzo et al. 2024 (2402.00828), Soft-MoA", {}),
        "dense": Preset("Cappellazzo et al. 2024 (2402.00828), Dense-MoA", {"routing": "dense"}),
    }

    placement: list[str] = field(
        default_factory=lambda: ["attention"], metadata={"help": "Parts of each layer that get a mixture."}
    )
    insertion: Literal["sequential", "parallel"] = field(
        default="parallel", metadata={"help": "Whether it reads what its part puts out or what that reads."}
    )
    reduction: PositiveInt = field(
        default=128, metadata={"help": "By how much the width is divided where bottleneck_dimension is not given."}
    )
    routing: Literal["soft", "dense"] = field(
        default="soft", metadata={"help": "soft: experts see mixtures of frames; dense: every expert every frame."}
    )
    experts: PositiveInt = field(default=7, metadata={"help": "Adapters in each place."})
    slots: PositiveInt = field(default=1, metadata={"help": "Mixtures of frames for each expert, if soft."})

    @property
    def reads_ahead(self) -> str:
        """Soft routing mixes all frames, dense none."""
        return "soft mixtures of adapters mix frames" if self.routing == "soft" else ""


class _Mixture(PlacedAdapter):
    def __init__(self, width: int, config: MixtureOfAdapters) -> None:
        super().__init__(width, config)
        experts, size = config.experts, config.bottleneck(width)
        self.soft = config.routing == "soft"
        # Kaiming-uniform with a = sqrt(5), as PyTorch's linear maps.
        bound = 1 / math.sqrt(width)
        self.down = nn.Parameter(torch.empty(experts, width, size).uniform_(-bound, bound))
        self.down_bias = nn.Parameter(torch.zeros(experts, 1, size))
        self.up = nn.Parameter(torch.zeros(experts, size, width))
        self.up_bias = nn.Parameter(torch.zeros(experts, 1, width))
        if self.soft:
            self.slots = nn.Parameter(nn.init.xavier_normal_(torch.empty(width, experts * config.slots)))
        else:
            self.router = nn.Linear(width, experts)

    def change(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        experts = len(self.down)
        if not self.soft:
            weights = self.router(hidden_states).softmax(dim=-1)
            adapted = self._experts(hidden_states.unsqueeze(1).expand(-1, experts, -1, -1))
            return torch.einsum("bte,betd->btd", weights, adapted)
        logits = hidden_states @ self.slots
        dispatched = logits
        if padding.mask is not None:
            dispatched = logits.masked_fill(~padding.mask.unsqueeze(-1), -torch.inf)
        inputs = torch.einsum("bts,btd->bsd", dispatched.softmax(dim=1), hidden_states)
        # (batch, experts * slots, width) -> (batch, experts, slots, width) and back
        adapted = self._experts(inputs.unflatten(1, (experts, -1))).flatten(1, 2)
        return padding.zero(torch.einsum("bts,bsd->btd", logits.softmax(dim=-1), adapted))

    def _experts(self, inputs: Tensor) -> Tensor:
        """(batch, experts, rows, width), in and out."""
        return nn.functional.gelu(inputs @ self.down + self.down_bias) @ self.up + self.up_bias


class _MixtureLayer(PlacedLayer):
    adapter_class = _Mixture


register(MixtureOfAdapters, _MixtureLayer)
