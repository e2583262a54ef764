"""Where in a layer an adapter of hidden states lies and how it is put there, which many methods leave to choose.

With y what a part of the layer makes of its input x, and A the adapter with its scale s and its normalisation:

sequential   y + s A(y); without residual s A(y), and y itself is heard only through the adapter
parallel     y + s A(x); with residual y + x + s A(x)

A gate in the place of s is UniPELT's, of what the adapter reads.
"""

import copy
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from transformers import PreTrainedModel

from sure.backbone import Backbone
from sure.backbone.padding import Padding
from sure.errors import SureError
from sure.method import AdapterLayer, MethodConfig, innermost
from sure.method.gating import Gate

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "quick_gelu": lambda: _QuickGELU()}


@dataclass
class PlacedConfig(MethodConfig):
    """Configuration of a method that puts an adapter of hidden states somewhere in each layer."""

    placement: list[str] = field(
        default_factory=lambda: ["layer"],
        metadata={
            "help": "Parts of each layer that get an adapter: layer, attention, ffn, or several; roles of the backbone."
        },
    )
    insertion: Literal["sequential", "parallel"] = field(
        default="sequential", metadata={"help": "Whether it reads what its part puts out or what that reads."}
    )
    residual: bool | None = field(
        default=None,
        metadata={"help": "Whether what it reads is added to what it gives; if sequential yes, if parallel no."},
    )
    scale: float | Literal["learned", "gated"] = field(
        default=1.0,
        metadata={
            "help": "Factor of what it gives: a number; learned, from 1 on; or gated, a number from 0 to 1 for each "
            "utterance (UniPELT, Mao et al. 2022)."
        },
    )
    norm: Literal["none", "before", "after"] = field(
        default="none", metadata={"help": "A layer normalisation of its own, of what it reads or of what it gives."}
    )
    train_norms: bool | Literal["before"] = field(
        default=False,
        metadata={
            "help": "Whether the normalisations of the adapted layers train too; before: those alone that the adapted "
            "parts read."
        },
    )

    # What it does to time, said of one that reads other frames than its own and has no place in a decoder.
    reads_ahead: ClassVar[str] = ""

    def prepare(self, backbone: Backbone) -> None:
        """What lies beside a block reads its input."""
        if self.insertion == "parallel":
            backbone.note_block_inputs()

    @property
    def roles(self) -> tuple[str, ...]:
        """The parts that get an adapter."""
        return tuple(self.placement)

    def targets(self, backbone: Backbone, roles: tuple[str, ...]) -> list[str] | str:
        """The parts, and the normalisations where those train."""
        ahead = self.reads_ahead or ("a gate is a mean over time" if self.scale == "gated" else "")
        if ahead:
            roles = backbone.encoder_roles(roles, f"{ahead}, and would read what")
        norms = self._norms(backbone, roles)
        # Where the feed-forward block is no module, its last map gives what the block gives.
        roles = tuple(
            f"{role}_out"
            if role.endswith("ffn") and f"{role}_out" in backbone.roles and role not in backbone.roles
            else role
            for role in roles
        )
        return super().targets(backbone, (*roles, *norms))

    def _norms(self, backbone: Backbone, roles: tuple[str, ...]) -> tuple[str, ...]:
        """Those that train beside adapters at these parts."""
        if not self.train_norms:
            return ()
        if self.train_norms == "before":
            for role in roles:
                if f"{role}_norm" not in backbone.roles:
                    raise SureError(
                        f"--method_options train_norms=before: no normalisation of a layer is known to lie before "
                        f"{role} in {backbone.name}. Choose train_norms=true, or other parts (`sure backbones "
                        f"{backbone.family()}`)."
                    )
            return tuple(f"{role}_norm" for role in roles)
        # Of an encoder-decoder's, those of the same side.
        sides = {"encoder": "encoder_", "decoder": "decoder_", "cross": "decoder_"}
        return tuple(sorted({f"{sides.get(role.partition('_')[0], '')}norm" for role in roles}))


@dataclass
class BottleneckConfig(PlacedConfig):
    """Of those that go through fewer dimensions."""

    bottleneck_dimension: PositiveInt | None = field(
        default=None, metadata={"help": "Size between Down and Up; the width / `reduction` unless given."}
    )
    reduction: PositiveInt = field(
        default=2, metadata={"help": "By how much the width is divided where bottleneck_dimension is not given."}
    )

    dimension: ClassVar[str] = "bottleneck_dimension"

    def bottleneck(self, width: int) -> int:
        """Size between Down and Up, at least 1."""
        return self.bottleneck_dimension or max(1, round(width / self.reduction))


class PlacedAdapter(nn.Module):
    """The trainable part of one place; a subclass has the `change` that it makes."""

    def __init__(self, width: int, config: PlacedConfig) -> None:
        super().__init__()
        self.sequential = config.insertion == "sequential"
        self.residual = self.sequential if config.residual is None else config.residual
        self.norm_place = config.norm
        if config.norm != "none":
            self.norm = nn.LayerNorm(width)
        self.gate = Gate(width) if config.scale == "gated" else None
        if not self.gate:
            self.scale = nn.Parameter(torch.ones(())) if config.scale == "learned" else config.scale

    @abstractmethod
    def change(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        """A of the module's docstring, without scale and normalisation: (batch, frames, width), in and out."""

    def forward(self, output: Tensor, source: Tensor, padding: Padding) -> Tensor:
        """The part's output, adapted; `source` is what the adapter reads, all of shape (batch, frames, width)."""
        change = self.change(self.norm(source) if self.norm_place == "before" else source, padding)
        if self.norm_place == "after":
            change = self.norm(change)
        scale = self.gate(source, padding) if self.gate else self.scale
        if not isinstance(scale, float) or scale != 1:
            change = scale * change
        if self.residual:
            change = source + change
        return change if self.sequential else output + change


class PlacedLayer(AdapterLayer):
    """Around a part that gets an adapter, or around a normalisation that trains."""

    adapter_class: ClassVar[type[PlacedAdapter]]

    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: PlacedConfig) -> None:
        # Of a normalisation it has a copy, which trains.
        self.copies_whole = bool(config.train_norms) and isinstance(innermost(base_layer), nn.LayerNorm)
        super().__init__(base_layer, model, adapter_name, config)

    def new_adapter(self, config: PlacedConfig) -> nn.Module:
        if self.copies_whole:
            return copy.deepcopy(self.base_layer).requires_grad_(True)
        return self.adapter_class(self.model_config.hidden_size, config)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.active is None:
            return self.base_layer(*args, **kwargs)
        adapter = self.sure_adapter[self.active]
        if self.copies_whole:
            return adapter(*args, **kwargs)
        output = self.base_layer(*args, **kwargs)
        hidden_states, *more = output if isinstance(output, tuple) else (output,)
        # A map that stands for its block has what the block reads.
        given = vars(self.get_base_layer()).pop("block_input", args[0] if args else kwargs.get("hidden_states"))
        source = hidden_states if adapter.sequential else given
        for states in (hidden_states, source):
            self.check(states)
        adapted = adapter(hidden_states, source, self.padding)
        return (adapted, *more) if isinstance(output, tuple) else adapted


class _QuickGELU(nn.Module):
    def forward(self, hidden_states: Tensor) -> Tensor:
        """x sigmoid(1.702 x)."""
        return hidden_states * torch.sigmoid(1.702 * hidden_states)
