"""Word error rate (WER): substitutions, deletions and insertions of words, over the words of the references.

Words are what whitespace separates. The texts are compared as they are: a task normalises both.
"""

import jiwer

from sure.metric.error_rate import ErrorRate


class WordErrorRate(ErrorRate):
    description = "Word errors of the corpus / words of its references."

    def align(self, reference: str, prediction: str) -> jiwer.WordOutput:
        return jiwer.process_words(" ".join(reference.split()), " ".join(prediction.split()))
