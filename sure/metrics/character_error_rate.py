"""Character error rate (CER): substitutions, deletions and insertions of characters, over those of the references.

Characters are Unicode code points, the single spaces between words included.
"""

import jiwer

from sure.metric.error_rate import ErrorRate


class CharacterErrorRate(ErrorRate):
    description = "Character errors of the corpus / characters of its references."

    def align(self, reference: str, prediction: str) -> jiwer.CharacterOutput:
        return jiwer.process_characters(" ".join(reference.split()), " ".join(prediction.split()))
