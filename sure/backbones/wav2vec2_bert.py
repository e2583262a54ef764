"""wav2vec2-BERT 2.0, a conformer on log-mel features (Seamless Communication et al. 2023)."""

from typing import ClassVar

from torch import Tensor
from transformers import PreTrainedModel

from sure.backbone import Family
from sure.backbone.padding import Padding


class Wav2Vec2Bert(Family):
    """Two feed-forward blocks a layer, no CNN on the waveform, and as many frames out as in."""

    roles: ClassVar[dict[str, str]] = {
        "layer": r"encoder\.layers\.\d+",
        "attention": r"encoder\.layers\.\d+\.self_attn",
        "query": r"encoder\.layers\.\d+\.self_attn\.linear_q",
        "key": r"encoder\.layers\.\d+\.self_attn\.linear_k",
        "value": r"encoder\.layers\.\d+\.self_attn\.linear_v",
        "output": r"encoder\.layers\.\d+\.self_attn\.linear_out",
        "ffn_in": r"encoder\.layers\.\d+\.ffn[12]\.intermediate_dense",
        "ffn_out": r"encoder\.layers\.\d+\.ffn[12]\.output_dense",
    }
    shortest_batch: ClassVar[int] = 12

    def prepare(self, model: PreTrainedModel, padding: Padding) -> None:
        """Nothing: its convolutions are causal and mask the padding themselves."""

    def frame_mask(self, model: PreTrainedModel, inputs: Tensor, attention_mask: Tensor) -> Tensor:
        return attention_mask.bool()
