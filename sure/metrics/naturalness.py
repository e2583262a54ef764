"""Naturalness: the mean opinion score, from 1 to 5, that a trained model predicts for synthesised speech.

The mean over utterances. It depends on the model that listens, which the record names.
"""

from sure.metric.synthesis import SynthesisMetric


class Naturalness(SynthesisMetric):
    description = "Mean opinion score (1 to 5) that a model predicts for synthesised speech, mean over utterances."
    higher_is_better = True
    unit = "mean opinion score"
    least, greatest = 1.0, 5.0
    measure = "naturalness"
