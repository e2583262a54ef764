"""HuBERT (Hsu et al. 2021)."""

from sure.backbone import Family


class Hubert(Family):
    """The tree that `Family` describes."""
