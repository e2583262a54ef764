"""min t-DCF as ASVspoof 2019 defines it: the least tandem detection cost over all thresholds, normalised.

(C1 P_miss + C2 P_fa) / min(C1, C2) (its evaluation plan), without the cost of the verification's own
errors; organisers call it the legacy t-DCF since 2021. Priors are 0.9405 for targets, 0.0095 for non-targets and 0.05
for spoofed speech, a miss costs 1, a false alarm 10. A task tells the error rates of the verification; otherwise it
errs only with spoofed speech, all of which it accepts (`sure.metric.tandem`). 0 is perfect; 1 is what it costs to
accept all or nothing, so it is never more.
"""

import numpy as np

from sure.metric.tandem import TandemMetric


class MinimumTandemCost2019(TandemMetric):
    description = "Least normalised tandem detection cost of ASVspoof 2019."

    def normalised(self, cost: np.ndarray) -> np.ndarray:
        return cost
