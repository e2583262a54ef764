"""Phoneme error rate (PER): substitutions, deletions and insertions of phonemes, over those of the references.

Phonemes are what whitespace separates, with their stress where the lexicon marks it, as in SUPERB (Yang et al. 2021).
"""

from sure.metrics.word_error_rate import WordErrorRate


class PhonemeErrorRate(WordErrorRate):
    description = "Phoneme errors of the corpus / phonemes of its references."
