"""Mixtures of adapters: several small bottlenecks share a place.

Dense and soft they are those of Cappellazzo et al. 2024 (2402.00828); where experts choose their frames, AdapterMix'
(Mehrish et al. 2023, 2305.18028).

Dense, for each frame x_t: sum over e of softmax_e(x_t W_r + b_r) A_e(x_t). Soft (as Soft-MoE, Puigcerver et al. 2023):
slots are mixtures of frames, S_j = sum over t of softmax_t(X Phi)_tj x_t; each expert adapts its own; each frame gets
sum over j of softmax_j(X Phi)_tj A(S_j). By the experts' choice (Zhou et al. 2022, 2202.09368), p being the weights of
dense mixtures: each expert chooses, of an utterance's T frames, the k = c T / N with the highest p_te, and each frame
gets the sum of p_te A_e(x_t) over those that chose it.
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from sure.backbone.padding import Padding
from sure.method import Preset, register
from sure.method.placement import ACTIVATIONS, BottleneckConfig, PlacedAdapter, PlacedLayer


@dataclass
class MixtureOfAdapters(BottleneckConfig):
    """Soft by default: 7 experts of width / 128 with a slot each, parallel to attention, GELU; Up starts at zero.

    Departures from the release:

    - Its experts start at zero throughout, from where their weights never learn.
    - With attention as the place it adds the mixture twice, the second time after the feed-forward block.
    - Its soft dispatch reads the padding of a batch, which AST does not have and speech does.

    Of AdapterMix it is the release that is known here. There k counts the padding of a batch, chosen like any frame;
    here k is of an utterance alone, and at least 1. There the softmax is made and not applied: frames are chosen
    and weighted by logits, and what an expert reads is added to what it gives (`variant=released`). Its Up starts as
    N(0, 0.02), here at zero as in the other mixtures.
    """

    presets: ClassVar[dict[str, Preset]] = {
        # Without train_norms=before, which layers that normalise last refuse: none of theirs lies before attention.
        "soft": Preset(
            "Cappellazzo et al. 2024 (2402.00828), Soft-MoA, but for the normalisation before attention, which trains "
            "in the release and, in layers that normalise first, with train_norms=before",
            {},
        ),
        "dense": Preset("the same, Dense-MoA", {"routing": "dense"}),
        "adapter_mix": Preset(
            "AdapterMix, Mehrish et al. 2023 (2305.18028), in sizes of its release, which has it in the decoder alone "
            "(roles=decoder_ffn)",
            {"routing": "expert_choice", "placement": ["ffn"], "insertion": "sequential"}
            | {"experts": 10, "bottleneck_dimension": 128, "activation": "relu"},
        ),
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
    routing: Literal["soft", "dense", "expert_choice"] = field(
        default="soft",
        metadata={
            "help": "soft: experts see mixtures of frames; dense: every expert every frame; expert_choice: each the "
            "frames it chooses."
        },
    )
    experts: PositiveInt = field(default=7, metadata={"help": "Adapters in each place."})
    slots: PositiveInt = field(default=1, metadata={"help": "Mixtures of frames for each expert, if soft."})
    capacity: PositiveFloat = field(
        default=0.8, metadata={"help": "Experts that a frame has on average, if they choose (c)."}
    )
    activation: Literal["relu", "gelu", "silu"] = field(default="gelu", metadata={"help": "Between Down and Up."})
    variant: Literal["paper", "released"] = field(
        default="paper",
        metadata={
            "help": "released: as AdapterMix' code has it, experts that choose do so by logits, which weigh what they "
            "read and give."
        },
    )

    @property
    def reads_ahead(self) -> str:
        """Soft routing mixes all frames, experts choose among all of them; dense routing knows of one at a time."""
        return {
            "soft": "soft mixtures of adapters mix frames",
            "dense": "",
            "expert_choice": "experts choose among all frames",
        }[self.routing]


class _Mixture(PlacedAdapter):
    def __init__(self, width: int, config: MixtureOfAdapters) -> None:
        super().__init__(width, config)
        experts, size = config.experts, config.bottleneck(width)
        self.routing, self.released = config.routing, config.variant == "released"
        self.capacity = Fraction(config.capacity).limit_denominator(1000) / experts
        self.activation = ACTIVATIONS[config.activation]()
        # Kaiming-uniform with a = sqrt(5), as PyTorch's linear maps.
        bound = 1 / math.sqrt(width)
        self.down = nn.Parameter(torch.empty(experts, width, size).uniform_(-bound, bound))
        self.down_bias = nn.Parameter(torch.zeros(experts, 1, size))
        self.up = nn.Parameter(torch.zeros(experts, size, width))
        self.up_bias = nn.Parameter(torch.zeros(experts, 1, width))
        if self.routing == "soft":
            slots = nn.init.xavier_normal_(torch.empty(width, experts, config.slots))
            self.slots = nn.Parameter(slots.flatten(1))
        else:
            self.router = nn.Linear(width, experts)

    def change(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        if self.routing == "soft":
            return self._soft(hidden_states, padding)
        logits = self.router(hidden_states)
        if self.routing == "expert_choice":
            return self._chosen(hidden_states, logits if self.released else logits.softmax(dim=-1), padding.mask)
        adapted = self._experts(hidden_states.unsqueeze(1).expand(-1, len(self.down), -1, -1))
        return torch.einsum("bte,betd->btd", logits.softmax(dim=-1), adapted)

    def _soft(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        logits = hidden_states @ self.slots
        dispatched = logits
        if padding.mask is not None:
            dispatched = logits.masked_fill(~padding.mask.unsqueeze(-1), -torch.inf)
        inputs = torch.einsum("bts,btd->bsd", dispatched.softmax(dim=1), hidden_states)
        # (batch, experts * slots, width) -> (batch, experts, slots, width) and back
        adapted = self._experts(inputs.unflatten(1, (len(self.down), -1))).flatten(1, 2)
        return padding.zero(torch.einsum("bts,bsd->btd", logits.softmax(dim=-1), adapted))

    def _chosen(self, hidden_states: Tensor, weights: Tensor, mask: Tensor | None) -> Tensor:
        """`weights` (batch, frames, experts): how much each expert wants of each frame, and gives to it."""
        frames, width = hidden_states.shape[1:]
        if mask is None:
            mask = torch.ones(1, frames, dtype=torch.bool, device=hidden_states.device)
        # Of two frames that are alike the first, in a batch as alone.
        wanted = weights.transpose(1, 2).masked_fill(~mask.unsqueeze(1), -torch.inf)
        wanted, places = wanted.sort(dim=-1, descending=True, stable=True)
        # (1 or batch, 1, 1) of each utterance, and what none exceeds
        lengths = mask.sum(dim=1).view(-1, 1, 1)
        chosen = torch.minimum(self._share(lengths).clamp(min=1), lengths)
        most = min(max(1, self._share(frames)), frames)
        wanted = wanted[..., :most].masked_fill(torch.arange(most, device=mask.device) >= chosen, 0.0)
        # (batch, experts * most, width): the frames that are chosen, and what they are given
        places = places[..., :most].flatten(1).unsqueeze(-1).expand(-1, -1, width)
        inputs = hidden_states.gather(1, places).unflatten(1, (-1, most))
        given = self._experts(inputs) + (inputs if self.released else 0)
        given = (given * wanted.unsqueeze(-1)).flatten(1, 2).to(hidden_states.dtype)
        return torch.zeros_like(hidden_states).scatter_add(1, places, given)

    def _share(self, frames: int | Tensor) -> int | Tensor:
        """c T / N without its fraction; in whole numbers, since any rounding is to be the same everywhere."""
        return frames * self.capacity.numerator // self.capacity.denominator

    def _experts(self, inputs: Tensor) -> Tensor:
        """(batch, experts, rows, width), in and out."""
        return self.activation(inputs @ self.down + self.down_bias) @ self.up + self.up_bias


class _MixtureLayer(PlacedLayer):
    adapter_class = _Mixture


register(MixtureOfAdapters, _MixtureLayer)
