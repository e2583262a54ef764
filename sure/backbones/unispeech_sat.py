"""UniSpeech-SAT (Chen et al. 2022)."""

from sure.backbone import Family


class UniSpeechSat(Family):
    """The tree that `Family` describes."""
