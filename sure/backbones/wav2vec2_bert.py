"""wav2vec2-BERT 2.0, a conformer on log-mel features (Seamless Communication et al. 2023)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedConfig, SeamlessM4TFeatureExtractor

from sure.audio import SAMPLE_RATE, at_least
from sure.backbone import Backbone

# The extractor stacks two frames of 10 ms, and standardises them over time, which takes two.
_FRAMES_PER_SECOND = 50
_SHORTEST = round(0.035 * SAMPLE_RATE)


class Wav2Vec2Bert(Backbone):
    """Two feed-forward blocks a layer, no CNN on the waveform, and as many frames out as in.

    Its convolutions are causal and mask the padding themselves.
    """

    roles: ClassVar[dict[str, str]] = {
        "layer": r"encoder\.layers\.\d+",
        "attention": r"encoder\.layers\.\d+\.self_attn",
        "query": r"encoder\.layers\.\d+\.self_attn\.linear_q",
        "key": r"encoder\.layers\.\d+\.self_attn\.linear_k",
        "value": r"encoder\.layers\.\d+\.self_attn\.linear_v",
        "output": r"encoder\.layers\.\d+\.self_attn\.linear_out",
        "ffn": r"encoder\.layers\.\d+\.ffn[12]",
        "ffn_in": r"encoder\.layers\.\d+\.ffn[12]\.intermediate_dense",
        "ffn_out": r"encoder\.layers\.\d+\.ffn[12]\.output_dense",
        "norm": r"encoder\.layers\.\d+\.(?:(?:ffn[12]|self_attn|final)_|conv_module\.(?:depthwise_)?)layer_norm",
        "encoder": r"encoder",
        "attention_norm": r"encoder\.layers\.\d+\.self_attn_layer_norm",
        "ffn_norm": r"encoder\.layers\.\d+\.ffn[12]_layer_norm",
    }
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {
            "hidden_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "intermediate_size": 512,
            "feature_projection_input_dim": 160,
        }
    }
    shortest_batch: ClassVar[int] = 12
    positions: ClassVar[str | None] = "relative_position_embeddings"

    @classmethod
    def new_processor(cls, config: PreTrainedConfig) -> SeamlessM4TFeatureExtractor:
        return SeamlessM4TFeatureExtractor()

    def inputs(self, waveforms: Sequence[np.ndarray]) -> dict[str, Tensor]:
        return super().inputs([at_least(waveform, _SHORTEST) for waveform in waveforms])

    def lengthened_positions(self, positions: Tensor, hidden_states: Tensor, more: int) -> Tensor:
        return self.model.encoder.embed_positions(hidden_states)

    def example(self, seconds: int, device: torch.device) -> dict[str, Tensor]:
        frames = (1, seconds * _FRAMES_PER_SECOND, self.config.feature_projection_input_dim)
        return {"input_features": torch.zeros(frames, device=device)}
