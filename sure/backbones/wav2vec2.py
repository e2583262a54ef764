"""wav2vec 2.0 and XLSR (Baevski et al. 2020; Conneau et al. 2021)."""

from sure.backbone import Family


class Wav2Vec2(Family):
    """The tree that `Family` describes."""
