"""data2vec for audio (Baevski et al. 2022)."""

from typing import Any, ClassVar

from torch import Tensor
from transformers.models.data2vec.modeling_data2vec_audio import Data2VecAudioPositionalConvLayer

from sure.backbone.padding import Padding
from sure.backbones.wav2vec2 import BASE, LARGE, TINY, Wav2Vec2


class Data2VecAudio(Wav2Vec2):
    """The tree of wav2vec 2.0, with a stack of positional convolutions, each of which reads the last one's."""

    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": TINY | {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5},
        "base": BASE,
        "large": LARGE,
    }

    def prepare(self) -> None:
        super().prepare()
        for layer in self.model.encoder.pos_conv_embed.layers:
            layer.__class__ = _PositionalConvLayer
            layer.batch_padding = self.padding


class _PositionalConvLayer(Data2VecAudioPositionalConvLayer):
    """A positional convolution that leaves zeros in the padding, as the next one would find alone."""

    batch_padding: Padding

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.batch_padding.zero(super().forward(hidden_states).transpose(1, 2)).transpose(1, 2)
