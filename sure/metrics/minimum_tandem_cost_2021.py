"""min t-DCF as ASVspoof 2021 defines it: the least tandem detection cost over all thresholds, normalised.

(C0 + C1 P_miss + C2 P_fa) / (C0 + min(C1, C2)) (its evaluation plan; Kinnunen et al. 2020, arXiv 2007.05979): unlike
that of 2019 it has the cost C0 of the verification's own errors, which the best detector does not go below. Priors are
0.9405 for targets, 0.0095 for non-targets and 0.05 for spoofed speech, a miss costs 1, a false alarm 10. A task tells
the error rates of the verification; otherwise it errs only with spoofed speech, all of which it accepts
(`sure.metric.tandem`). 1 is what it costs to accept all or nothing, so it is never more.
"""

import numpy as np

from sure.metric.tandem import TandemMetric


class MinimumTandemCost2021(TandemMetric):
    description = "Least normalised tandem detection cost of ASVspoof 2021."

    def normalised(self, cost: np.ndarray) -> np.ndarray:
        own, *weights = self.constants
        return (own + min(weights) * cost) / (own + min(weights))
