"""wav2vec 2.0 and XLSR (Baevski et al. 2020; Conneau et al. 2021): the tree that most of its successors share."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, Wav2Vec2FeatureExtractor

from sure.backbone import Backbone
from sure.backbone.padding import PaddingAwareGroupNorm

# Two CPU cores train this at about a hundred times real time.
TINY = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "conv_dim": (32, 32, 64, 64, 64, 64, 64),
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 4,
    "mask_time_prob": 0.2,
    "mask_feature_prob": 0.1,
}
# The large models of the family normalise otherwise than the base ones.
LIKE_LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}

# wav2vec 2.0 (Baevski et al. 2020, table 9 of the supplement); `large` as in the XLSR-53 checkpoint that SURE adapts.
BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}


class Wav2Vec2(Backbone):
    """A CNN on the waveform, then transformer layers."""

    roles: ClassVar[dict[str, str]] = {
        "layer": r"encoder\.layers\.\d+",
        "attention": r"encoder\.layers\.\d+\.attention",
        "query": r"encoder\.layers\.\d+\.attention\.q_proj",
        "key": r"encoder\.layers\.\d+\.attention\.k_proj",
        "value": r"encoder\.layers\.\d+\.attention\.v_proj",
        "output": r"encoder\.layers\.\d+\.attention\.out_proj",
        "ffn": r"encoder\.layers\.\d+\.feed_forward",
        "ffn_in": r"encoder\.layers\.\d+\.feed_forward\.intermediate_dense",
        "ffn_out": r"encoder\.layers\.\d+\.feed_forward\.output_dense",
        "norm": r"encoder\.layers\.\d+\.(?:final_)?layer_norm",
        "ffn_norm": r"encoder\.layers\.\d+\.layer_norm",
        "cnn": r"feature_extractor",
        "encoder": r"encoder",
        "cnn_block": r"feature_extractor\.conv_layers\.\d+",
    }
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": TINY | LIKE_LARGE,
        "tiny_like_base": TINY,
        "base": BASE,
        "large": LARGE | LIKE_LARGE,
    }
    shortest_batch: ClassVar[int] = 4000

    @classmethod
    def new_processor(cls, config: PreTrainedConfig) -> Wav2Vec2FeatureExtractor:
        return Wav2Vec2FeatureExtractor(return_attention_mask=True)

    def prepare(self) -> None:
        """A CNN with group normalisation over time, as in wav2vec 2.0 base, is told where the padding is."""
        if getattr(self.config, "do_stable_layer_norm", False):
            # Its layers normalise what a block reads; those of the others what it has given, which the next one reads.
            self.roles = self.roles | {
                "attention_norm": r"encoder\.layers\.\d+\.layer_norm",
                "ffn_norm": r"encoder\.layers\.\d+\.final_layer_norm",
            }
        norm = self.model.feature_extractor.conv_layers[0].layer_norm
        if isinstance(norm, nn.GroupNorm):
            norm.__class__, norm.padding = PaddingAwareGroupNorm, self.padding
            norm.kernel, norm.stride = self.config.conv_kernel[0], self.config.conv_stride[0]

    def frame_mask(self, inputs: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, samples) -> (batch, frames), true where a frame is not padding."""
        frames = int(self.model._get_feat_extract_output_lengths(inputs.shape[1]))
        lengths = self.model._get_feat_extract_output_lengths(attention_mask.sum(dim=-1))
        return torch.arange(frames, device=inputs.device) < lengths.unsqueeze(1)
