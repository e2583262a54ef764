"""F0 error: root mean square difference in cents over all aligned frames that are voiced in both utterances.

1,200 cents are an octave, so that low and high voices count alike. Where no frame is voiced in both, which tells
nothing of pitch, the error is an octave.
"""

import numpy as np

from sure.metric.synthesis import SynthesisMetric


class F0Error(SynthesisMetric):
    description = "Root mean square F0 difference of aligned frames that are voiced in both, in cents."
    higher_is_better = False
    unit = "cents"
    measure = "squared_f0_error"
    weight = "voiced_frames"
    uninformed = 1200.0**2

    def of_sums(self, sums: np.ndarray, totals: np.ndarray) -> np.ndarray:
        return np.sqrt(super().of_sums(sums, totals))
