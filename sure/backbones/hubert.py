"""HuBERT (Hsu et al. 2021)."""

from torch import Tensor

from sure.backbone.padding import FixedBatchNorm, Padding, zero_padding
from sure.backbones.wav2vec2 import Wav2Vec2


class Hubert(Wav2Vec2):
    """The tree of wav2vec 2.0."""

    def prepare(self) -> None:
        """As wav2vec 2.0; with `conv_pos_batch_norm`, as mHuBERT has it, positions are not told of the padding."""
        super().prepare()
        norm = self.model.encoder.pos_conv_embed.batch_norm
        if norm is not None:
            norm.__class__, norm.padding = _PositionalNorm, self.padding


class _PositionalNorm(FixedBatchNorm):
    """Before the positional convolution, which reads zeros beyond an utterance's ends, whatever the batch is."""

    padding: Padding

    def forward(self, inputs: Tensor) -> Tensor:
        return zero_padding(super().forward(inputs), self.padding.mask)
