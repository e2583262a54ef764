"""HuBERT (Hsu et al. 2021)."""

from sure.backbones import Family


class Hubert(Family):
    """The tree that `Family` describes."""
