"""Prefix-tuning (Li and Liang 2021): learned keys and values before those of every layer's self-attention."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sure.errors import SureError
from sure.heads import start_normal
from sure.method import AdapterLayer, MethodConfig, Published, register

_ATTENTION = "sure_prefix"


@dataclass
class PrefixTuning(MethodConfig):
    """SURE (Li et al. 2023): 30 positions, dropout 0.1, no reparametrisation.

    With `reparametrise`, each layer's keys and values come from its own embedding through its own two-layer perceptron;
    Li and Liang share both between layers.
    """

    roles: ClassVar[tuple[str, ...]] = ("attention",)
    published: ClassVar[tuple[Published, ...]] = (Published(1_739_787, "wav2vec2:large", 11, "SURE, Li et al. 2023"),)

    dimension: ClassVar[str] = "positions"

    positions: PositiveInt = field(default=30, metadata={"help": "Number of learned keys and values in each layer."})
    dropout: Annotated[float, Field(ge=0, lt=1)] = field(
        default=0.1, metadata={"help": "Dropout on them, each utterance's own."}
    )
    reparametrise: bool = field(
        default=False, metadata={"help": "Learn them through Linear, tanh, Linear instead of directly."}
    )
    hidden_dimension: PositiveInt | None = field(
        default=None, metadata={"help": "Size between the two linear maps; the backbone's width unless given."}
    )


class _Prefix(nn.Module):
    def __init__(self, width: int, heads: int, config: PrefixTuning) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = config.dropout
        if config.reparametrise:
            hidden = config.hidden_dimension or width
            self.embedding = nn.Parameter(torch.randn(config.positions, width))
            self.perceptron = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 2 * width))
            start_normal(self.perceptron[0], self.perceptron[2])
        else:
            self.embedding = nn.Parameter(torch.randn(config.positions, 2 * width))
            self.perceptron = None

    def forward(self, batch: int) -> tuple[Tensor, Tensor]:
        """Keys and values, each of shape (batch, heads, positions, width of a head); each utterance's own dropout."""
        prefix = self.embedding if self.perceptron is None else self.perceptron(self.embedding)
        prefix = nn.functional.dropout(prefix.expand(batch, -1, -1), self.dropout, self.training)
        # (batch, positions, 2 * width) -> (2, batch, heads, positions, width of a head)
        keys, values = prefix.view(*prefix.shape[:2], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return keys, values


class _PrefixLayer(AdapterLayer):
    """Lends its keys and values to the attention module while that runs."""

    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: MethodConfig) -> None:
        if not hasattr(base_layer, "num_heads"):
            raise SureError(
                f"prefix_tuning learns keys and values of attention, which a {type(base_layer).__name__} has not: name "
                "parts that are attention, such as --method_options roles=attention (`sure backbones`)."
            )
        super().__init__(base_layer, model, adapter_name, config)
        # Without a prefix at hand this attention is `sdpa`.
        base_layer.config._attn_implementation = _ATTENTION

    def new_adapter(self, config: PrefixTuning) -> nn.Module:
        # A decoder may have other heads than its encoder.
        return _Prefix(self.model_config.hidden_size, self.base_layer.num_heads, config)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        hidden_states = args[0] if args else kwargs["hidden_states"]
        self.base_layer.prefix = self.sure_adapter[self.active](len(hidden_states)) if self.active else None
        try:
            return self.base_layer(*args, **kwargs)
        finally:
            self.base_layer.prefix = None


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
    if prefix is not None:
        if attention_mask is None and query.shape[2] > 1 and getattr(module, "is_causal", False):
            # A decoder leaves it to `sdpa` to hide what comes later, which would take the prefix for what came first.
            attention_mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=key.device)
            attention_mask = attention_mask.tril(key.shape[2] - query.shape[2])[None, None]
        keys, values = (part.to(key.dtype) for part in prefix)
        key, value = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
        positions = keys.shape[2]
        if attention_mask is not None:
            # What an additive mask adds, or a boolean one says, where everything may be attended.
            unmasked = True if attention_mask.dtype == torch.bool else 0.0
            attention_mask = nn.functional.pad(attention_mask, (positions, 0), value=unmasked)
        if position_bias is not None:
            position_bias = nn.functional.pad(position_bias, (positions, 0))
    return sdpa_attention_forward(module, query, key, value, attention_mask, position_bias=position_bias, **kwargs)


AttentionInterface.register(_ATTENTION, _attend)
AttentionMaskInterface.register(_ATTENTION, sdpa_mask)
register(PrefixTuning, _PrefixLayer)
