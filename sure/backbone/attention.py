"""Attention through `transformers`' interface, where prefix-tuning finds it, for models that have one of their own."""

from typing import Any

from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    dropout: float,
    scaling: float,
    position_bias: Tensor | None = None,
) -> Tensor:
    """What `module.config` has for attention: query, key, value (batch, heads, frames, width of a head) to
    (batch, frames, width). `position_bias` (batch, heads, frames, frames) is added to the scaled scores."""
    function: Any = ALL_ATTENTION_FUNCTIONS.get_interface(module.config._attn_implementation, sdpa_attention_forward)
    attended, _ = function(
        module,
        query,
        key,
        value,
        mask,
        dropout=dropout if module.training else 0.0,
        scaling=scaling,
        position_bias=position_bias,
    )
    return attended.flatten(2)
