"""How a run learnt: training loss and validation score by step, from what the trainer logged."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sure.record import LearningPoint

# Of the training loss, which may have been logged at every step of many thousands.
_MOST_LOSSES = 200


def learning_curve(history: Iterable[Mapping[str, Any]], metric: str) -> list[LearningPoint]:
    """By step, from the log history of a trainer, which goes on where a run was resumed.

    Of a long history each loss is the mean over as many steps, so that there are at most 200.
    """
    # Losses of each span of steps, each with the number of steps that it is the mean of.
    losses, validation, epochs = defaultdict(list), {}, {}
    logged = [row for row in history if isinstance(row.get("step"), int)]
    last = max((row["step"] for row in logged if "loss" in row), default=0)
    before = 0
    for row in logged:
        step = row["step"]
        epochs[step] = row.get("epoch") or 0.0
        if math.isfinite(loss := row.get("loss", math.nan)):
            span = math.ceil(step * _MOST_LOSSES / last) if last > _MOST_LOSSES else step
            losses[span].append((step, max(1, step - before), loss))
            before = step
        if math.isfinite(value := row.get(f"eval_{metric}", math.nan)):
            validation[step] = value
    means = {
        members[-1][0]: sum(steps * loss for _, steps, loss in members) / sum(steps for _, steps, _ in members)
        for members in losses.values()
    }
    return [
        LearningPoint(epoch=epochs[step], step=step, training_loss=means.get(step), validation=validation.get(step))
        for step in sorted(means.keys() | validation.keys())
    ]
