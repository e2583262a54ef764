"""Scores with confidence intervals, from prediction rows alone: the runner and the leaderboard both call this."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from sure.record import Score
from sure.task import Task

RESAMPLES = 1000

# A bootstrap over fewer clusters than about ten is unreliable (Cameron, Gelbach and Miller 2008, section 1).
FEWEST_SPEAKERS = 10


def score_with_intervals(
    task: Task, rows: Sequence[dict[str, Any]], resamples: int = RESAMPLES
) -> tuple[dict[str, Score], Literal["speaker", "utterance", "trial"]]:
    """Every metric of the task with its 95 % percentile bootstrap interval, and what was resampled.

    Utterances of one speaker are not independent, so speakers are drawn with all their utterances, where every row
    names its speaker and there are at least ten; otherwise rows are drawn. The draws are the same for the same
    rows.
    """
    metrics = {name: task.metric_named(name) for name in task.metrics}
    comparable = task.comparable(rows)
    prepared = {name: metric.prepare(*comparable) for name, metric in metrics.items()}
    speakers = _by_speaker(rows)
    generator = np.random.default_rng(0)
    drawn = defaultdict(list)
    for _ in range(resamples):
        if speakers:
            chosen = np.concatenate([speakers[i] for i in generator.integers(len(speakers), size=len(speakers))])
        else:
            chosen = generator.integers(len(rows), size=len(rows))
        # In the order of the rows, which a task may have sorted for its metrics.
        chosen = np.repeat(np.arange(len(rows)), np.bincount(chosen, minlength=len(rows)))
        for name, metric in metrics.items():
            predictions, references = prepared[name]
            drawn[name].append(metric.score(predictions[chosen], references[chosen]))
    scores = {}
    for name, metric in metrics.items():
        low, high = np.percentile(drawn[name], [2.5, 97.5])
        scores[name] = Score(
            value=metric.score(*prepared[name]),
            low=float(low),
            high=float(high),
            unit=metric.unit,
            higher_is_better=metric.higher_is_better,
        )
    return scores, "speaker" if speakers else task.unit


def _by_speaker(rows: Sequence[dict[str, Any]]) -> list[np.ndarray] | None:
    """Indices of each speaker's rows, or None where speakers are not known or too few."""
    members = defaultdict(list)
    for index, row in enumerate(rows):
        members[row.get("speaker")].append(index)
    if None in members or len(members) < FEWEST_SPEAKERS:
        return None
    return [np.array(indices) for indices in members.values()]
