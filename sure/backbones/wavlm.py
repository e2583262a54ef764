"""WavLM (Chen et al. 2022)."""

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from sure.backbone import Family
from sure.backbone.padding import Padding


class WavLM(Family):
    """The tree that `Family` describes, with an attention of its own.

    `WavLMAttention` hands the weights of its projections to one fused function and never calls the projections, so
    that an adapter around them would be passed over in silence. The attention here computes the same by calling them.
    """

    def prepare(self, model: PreTrainedModel, padding: Padding) -> None:
        super().prepare(model, padding)
        for layer in model.encoder.layers:
            layer.attention.__class__ = _Attention
            layer.attention.config = model.config


class _Attention(WavLMAttention):
    """Attention with gated relative position bias (WavLM, section III-B) through `transformers`' interface."""

    is_causal = False

    def torch_multi_head_self_attention(
        self, hidden_states: Tensor, attention_mask: Tensor | None, gated_position_bias: Tensor
    ) -> tuple[Tensor, None]:
        batch, frames, width = hidden_states.shape
        heads = (batch, frames, self.num_heads, self.head_dim)
        query, key, value = (
            projection(hidden_states).view(heads).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, sdpa_attention_forward)
        attended, _ = attend(
            self,
            query,
            key,
            value,
            None if attention_mask is None else attention_mask.to(torch.bool)[:, None, None, :],
            dropout=self.dropout if self.training else 0.0,
            scaling=self.scaling,
            position_bias=gated_position_bias.view(batch, self.num_heads, frames, frames).to(query.dtype),
        )
        return self.out_proj(attended.reshape(batch, frames, width)), None
