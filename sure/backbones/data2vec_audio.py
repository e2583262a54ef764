"""data2vec for audio (Baevski et al. 2022)."""

from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.data2vec.modeling_data2vec_audio import Data2VecAudioPositionalConvLayer

from sure.backbone import Family
from sure.backbone.padding import Padding


class Data2VecAudio(Family):
    """The tree that `Family` describes, with a stack of positional convolutions, each of which reads the last one's."""

    def prepare(self, model: PreTrainedModel, padding: Padding) -> None:
        super().prepare(model, padding)
        for layer in model.encoder.pos_conv_embed.layers:
            layer.__class__ = _PositionalConvLayer
            layer.batch_padding = padding


class _PositionalConvLayer(Data2VecAudioPositionalConvLayer):
    """A positional convolution that leaves zeros in the padding, as the next one would find alone."""

    batch_padding: Padding

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.batch_padding.zero(super().forward(hidden_states).transpose(1, 2)).transpose(1, 2)
