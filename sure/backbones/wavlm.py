"""WavLM (Chen et al. 2022)."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from sure.backbone.attention import attend
from sure.backbones.wav2vec2 import Wav2Vec2


class WavLM(Wav2Vec2):
    """The tree of wav2vec 2.0, with an attention of its own.

    `WavLMAttention` hands the weights of its projections to one fused function and never calls the projections, so
    that an adapter around them would be passed over in silence. The attention here computes the same by calling them.
    """

    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        name: values | ({"num_buckets": 16, "max_bucket_distance": 32} if "tiny" in name else {})
        for name, values in Wav2Vec2.sizes.items()
    }

    positions: ClassVar[str | None] = "position_bias"

    def prepare(self) -> None:
        super().prepare()
        # SpecAugment over features reads it, and of the family's configurations WavLM's alone lacks it.
        if not hasattr(self.config, "mask_feature_min_masks"):
            self.config.mask_feature_min_masks = 0
        for layer in self.model.encoder.layers:
            layer.attention.__class__ = _Attention
            layer.attention.config = self.config

    def lengthened_positions(self, positions: Tensor, hidden_states: Tensor, more: int) -> Tensor:
        """(batch * heads, frames, frames), made by the first layer of its embeddings, the same for each utterance."""
        batch, frames, _ = hidden_states.shape
        return self.model.encoder.layers[0].attention.compute_bias(frames, frames).repeat(batch, 1, 1)


class _Attention(WavLMAttention):
    """Attention with gated relative position bias (WavLM, section III-B) through `transformers`' interface."""

    is_causal = False

    def torch_multi_head_self_attention(
        self, hidden_states: Tensor, attention_mask: Tensor | None, gated_position_bias: Tensor
    ) -> tuple[Tensor, None]:
        batch, frames, _ = hidden_states.shape
        query, key, value = (
            projection(hidden_states).view(batch, frames, self.num_heads, self.head_dim).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = attend(
            self,
            query,
            key,
            value,
            None if attention_mask is None else attention_mask.to(torch.bool)[:, None, None, :],
            dropout=self.dropout,
            scaling=self.scaling,
            position_bias=gated_position_bias.view(batch, self.num_heads, frames, frames).to(query.dtype),
        )
        return self.out_proj(attended), None
