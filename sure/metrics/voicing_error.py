"""Voicing decision error: the share of all aligned frames of which one is voiced and the other is not."""

from sure.metric.synthesis import SynthesisMetric


class VoicingError(SynthesisMetric):
    description = "Aligned frames voiced in one utterance alone / all aligned frames."
    higher_is_better = False
    greatest = 1.0
    measure = "voicing_error"
    weight = "frames"
