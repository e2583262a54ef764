"""HuBERT (Hsu et al. 2021)."""

from sure.backbones.wav2vec2 import Wav2Vec2


class Hubert(Wav2Vec2):
    """The tree of wav2vec 2.0."""
