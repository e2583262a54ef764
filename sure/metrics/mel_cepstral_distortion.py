"""Mel-cepstral distortion (MCD) in dB, aligned by dynamic time warping: 10 sqrt(2) / ln 10 times the distance.

Per utterance the mean over the aligned frames (Kubichek 1993), here the plain mean over utterances. How the cepstra are
made and aligned, on which the value depends, is said in `sure.task.text_to_speech.measures`; compare only what is
measured so.
"""

from sure.metric.synthesis import SynthesisMetric


class MelCepstralDistortion(SynthesisMetric):
    description = "Mean over utterances of the distance between aligned mel-cepstra 1 to 24, in dB."
    higher_is_better = False
    unit = "dB"
    measure = "mel_cepstral_distortion"
