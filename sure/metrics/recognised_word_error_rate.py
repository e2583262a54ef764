"""Word error rate of a speech recogniser on synthesised speech, against the text that was to be said.

Errors of all utterances over all words of their texts. It depends on the recogniser, which the record names, and which
makes errors on recorded speech too.
"""

from sure.metric.synthesis import SynthesisMetric


class RecognisedWordErrorRate(SynthesisMetric):
    description = "Words that a recogniser gets wrong in synthesised speech / words of the texts."
    higher_is_better = False
    measure = "word_error_rate"
    weight = "words"
