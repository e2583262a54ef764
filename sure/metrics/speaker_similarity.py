"""Speaker similarity: cosine between the speaker embeddings of what was synthesised and of the recording.

The mean over utterances, between -1 and 1. It depends on the model that embeds, which the record names.
"""

from sure.metric.synthesis import SynthesisMetric


class SpeakerSimilarity(SynthesisMetric):
    description = "Cosine between the speaker embeddings of synthesised and recorded utterance, mean over utterances."
    higher_is_better = True
    unit = "cosine"
    least, greatest = -1.0, 1.0
    measure = "speaker_similarity"
