"""Prefix-tuning (Li and Liang 2021): learned keys and values before those of every layer's attention.

joined     Att(q, [P_k; K], [P_v; V])
averaged   Att(q, K, V) / 2 + Att(q, [P_k; K], [P_v; V]) / 2, before attention's last projection (Peng et al. 2023)

A prefix goes through no projection, is never masked and has no position: its scores get no position bias.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sure.backbone import Backbone
from sure.errors import SureError
from sure.heads import start_normal
from sure.method import MethodConfig, Preset, Published, register
from sure.method.gating import Gate
from sure.method.sharing import SharingLayer, stack_of
from sure.methods.prompt_tuning import start_as_patches

_ATTENTION = "sure_prefix"


@dataclass
class PrefixTuning(MethodConfig):
    """SURE (Li et al. 2023): 30 positions, dropout 0.1, no reparametrisation.

    With `reparametrise=shared`, keys and values come from an embedding through a two-layer perceptron, of which all
    layers have the embedding and the first map in common and each its part of the second, as Li and Liang have it; with
    `reparametrise=true` each layer has its own of all.
    """

    roles: ClassVar[tuple[str, ...]] = ("attention",)
    presets: ClassVar[dict[str, Preset]] = {
        "sure": Preset("SURE, Li et al. 2023", {}),
        "ast": Preset(
            "prefix-tuning 24 of Cappellazzo et al. 2023 (2312.03694): 12 keys and 12 values in each layer",
            {"positions": 12, "dropout": 0.0, "initialisation": "uniform"},
        ),
        "peng": Preset(
            "PrefixAdapter of Peng et al. 2023 (2210.16032), as in the first author's code, but for the "
            "normalisations, which train there (ln_tuning beside it), and for WavLM's position bias, which that "
            "computes and leaves out of both attentions",
            {"positions": 50, "dropout": 0.0, "mixing": "averaged"},
        ),
        "mam": Preset(
            "the prefix of He et al. 2022 (2110.04366), mix-and-match, 30 positions reparametrised, which stands "
            "beside what is bottleneck_adapter's preset=parallel; that the maps meet at the backbone's width is this "
            "project's reading",
            {"positions": 30, "dropout": 0.0, "reparametrise": "shared"},
        ),
        "unipelt": Preset(
            "the prefix of UniPELT (Mao et al. 2022, 2110.07577) with its gate",
            {"positions": 10, "dropout": 0.0, "reparametrise": "shared", "hidden_dimension": 512, "gate": True},
        ),
    }
    published: ClassVar[tuple[Published, ...]] = (
        Published(1_739_787, "wav2vec2:large", 11, "SURE, Li et al. 2023"),
        Published(
            221_000,
            "audio_spectrogram_transformer:base",
            None,
            "Cappellazzo et al. 2023, table 1",
            "ast",
            rounded=1000,
        ),
    )

    dimension: ClassVar[str] = "positions"

    positions: PositiveInt = field(default=30, metadata={"help": "Number of learned keys and values in each layer."})
    dropout: Annotated[float, Field(ge=0, lt=1)] = field(
        default=0.1, metadata={"help": "Dropout on them, each utterance's own."}
    )
    reparametrise: bool | Literal["shared"] = field(
        default=False,
        metadata={
            "help": "Learn them through Linear, tanh, Linear instead of directly; shared: all layers have "
            "the first map and what it reads in common."
        },
    )
    hidden_dimension: PositiveInt | None = field(
        default=None, metadata={"help": "Size between the two linear maps; the backbone's width unless given."}
    )
    initialisation: Literal["normal", "uniform"] = field(
        default="normal",
        metadata={
            "help": "How keys and values start, or with reparametrise the embedding; normal: N(0, 1); uniform: within "
            "the root of 6 / (3 * 16 * 16 + width) (2312.03694)."
        },
    )
    mixing: Literal["joined", "averaged"] = field(
        default="joined",
        metadata={
            "help": "joined: one attention over prefix and utterance; averaged: its mean with one over the utterance "
            "alone (2210.16032)."
        },
    )
    gate: bool = field(
        default=False,
        metadata={
            "help": "Keys and values times a number from 0 to 1 for each utterance (UniPELT), learned of attention's "
            "input, which is the layer's but in layers that normalise first."
        },
    )

    def targets(self, backbone: Backbone, roles: tuple[str, ...]) -> list[str] | str:
        """Attention; with a gate, of an encoder-decoder that says one thing after another the encoder's."""
        if self.gate:
            roles = backbone.encoder_roles(roles, "prefix_tuning's gate is a mean over time, and would read what")
        return super().targets(backbone, roles)


class _Common(nn.Module):
    """What all layers have in common: an embedding, and the first map of the perceptron."""

    def __init__(self, width: int, hidden: int, config: PrefixTuning) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(config.positions, width))
        self.map = nn.Linear(width, hidden)
        start_normal(self.map)

    def forward(self) -> Tensor:
        """(positions, hidden)."""
        return self.map(self.embedding).tanh()


class _Prefix(nn.Module):
    # Where it is shared, held by the first layer.
    common: _Common

    def __init__(self, width: int, heads: int, config: PrefixTuning) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = config.dropout
        self.averaged = config.mixing == "averaged"
        self.gate = Gate(width) if config.gate else None
        hidden = config.hidden_dimension or width
        self.second = None
        if config.reparametrise == "shared":
            self.second = nn.Linear(hidden, 2 * width)
            start_normal(self.second)
            return
        if config.reparametrise:
            self.embedding = nn.Parameter(torch.randn(config.positions, width))
            self.perceptron = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 2 * width))
            start_normal(self.perceptron[0], self.perceptron[2])
        else:
            self.embedding = nn.Parameter(torch.randn(config.positions, 2 * width))
            self.perceptron = None
        if config.initialisation == "uniform":
            start_as_patches(self.embedding, width)

    def forward(self, batch: int) -> tuple[Tensor, Tensor]:
        """Keys and values, each of shape (batch, heads, positions, width of a head); each utterance's own dropout."""
        if self.second is not None:
            prefix = self.second(self.common())
        else:
            prefix = self.embedding if self.perceptron is None else self.perceptron(self.embedding)
        prefix = nn.functional.dropout(prefix.expand(batch, -1, -1), self.dropout, self.training)
        # (batch, positions, 2 * width) -> (2, batch, heads, positions, width of a head)
        keys, values = prefix.view(*prefix.shape[:2], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return keys, values


class _PrefixLayer(SharingLayer):
    """Lends its keys and values to the attention module while that runs."""

    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: MethodConfig) -> None:
        if not hasattr(base_layer, "num_heads"):
            raise SureError(
                f"prefix_tuning learns keys and values of attention, which a {type(base_layer).__name__} has not: name "
                "parts that are attention, such as --method_options roles=attention (`sure backbones`)."
            )
        super().__init__(base_layer, model, adapter_name, config)
        # Without a prefix at hand this attention is `sdpa`.
        self.get_base_layer().config._attn_implementation = _ATTENTION

    def group_of(self, name: str, base_layer: nn.Module, config: PrefixTuning) -> str:
        return stack_of(name) if config.reparametrise == "shared" else name

    def new_adapter(self, config: PrefixTuning) -> nn.Module:
        width = self.model_config.hidden_size
        # A decoder may have other heads than its encoder.
        adapter = _Prefix(width, self.base_layer.num_heads, config)
        if config.reparametrise == "shared" and self.is_first:
            adapter.common = _Common(width, config.hidden_dimension or width, config)
            if config.initialisation == "uniform":
                start_as_patches(adapter.common.embedding, width)
        return adapter

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        hidden_states = args[0] if args else kwargs["hidden_states"]
        # Other methods may lie between.
        attention = self.get_base_layer()
        attention.prefix = self._prefix(self.sure_adapter[self.active], hidden_states) if self.active else None
        try:
            return self.base_layer(*args, **kwargs)
        finally:
            attention.prefix = None

    def _prefix(self, adapter: _Prefix, hidden_states: Tensor) -> tuple[Tensor, Tensor, bool]:
        """Keys and values, as the adapter gives them, and whether attention is averaged with that without them."""
        keys, values = adapter(len(hidden_states))
        if adapter.gate:
            # (batch, 1, 1) -> (batch, 1, 1, 1)
            gate = adapter.gate(hidden_states, self.padding).unsqueeze(-1)
            keys, values = gate * keys, gate * values
        return keys, values, adapter.averaged


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    position_bias: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """`sdpa` over the module's prefix and the utterance; the prefix is never masked and has no position."""
    prefix = getattr(module, "prefix", None)
    if prefix is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, position_bias=position_bias, **kwargs)
    keys, values, averaged = prefix
    alone = None
    if averaged:
        alone, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, position_bias=position_bias, **kwargs
        )
    if attention_mask is None and query.shape[2] > 1 and getattr(module, "is_causal", False):
        # A decoder leaves it to `sdpa` to hide what comes later, which would take the prefix for what came first.
        attention_mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=key.device)
        attention_mask = attention_mask.tril(key.shape[2] - query.shape[2])[None, None]
    key, value = torch.cat([keys.to(key.dtype), key], dim=2), torch.cat([values.to(value.dtype), value], dim=2)
    positions = keys.shape[2]
    if attention_mask is not None:
        # What an additive mask adds, or a boolean one says, where everything may be attended.
        unmasked = True if attention_mask.dtype == torch.bool else 0.0
        attention_mask = nn.functional.pad(attention_mask, (positions, 0), value=unmasked)
    if position_bias is not None:
        position_bias = nn.functional.pad(position_bias, (positions, 0))
    joined, _ = sdpa_attention_forward(module, query, key, value, attention_mask, position_bias=position_bias, **kwargs)
    return joined if alone is None else (alone + joined) / 2, None


AttentionInterface.register(_ATTENTION, _attend)
AttentionMaskInterface.register(_ATTENTION, sdpa_mask)
register(PrefixTuning, _PrefixLayer)
