"""Submissions as entries of a board: grouped with what they may be compared with, and ranked."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from sure.leaderboard.submission import folders, read
from sure.record import RESULT, BackboneInfo, Cost, Interval, MethodInfo, PluginFile, Provenance, Result, Score

BOARD = Path("leaderboard")


class Entry(BaseModel):
    """One row of the leaderboard."""

    rank: int | None
    tied: bool
    task: str
    fingerprint: str
    synthetic: bool
    backbone: BackboneInfo
    method: MethodInfo
    seed: int
    # Of the task, as they were given.
    options: str
    metric: str
    test: dict[str, Score]
    validation: dict[str, Score]
    interval: Interval | None
    cost: Cost | None
    trainable_parameters_without_head: int | None
    provenance: Provenance
    plugins: list[PluginFile]
    status: Literal["complete", "failed"]
    error: str | None
    submission: str

    @property
    def score(self) -> Score | None:
        """The main metric on the test split; None where the run failed."""
        return self.test.get(self.metric)


def title(group: list[Entry]) -> str:
    """What the entries of one group were compared on."""
    first = group[0]
    speech = ", synthetic speech" if first.synthetic else ""
    return f"{first.task}, {words(first.metric)} on test, corpus {first.fingerprint[:8]}{speech}"


def words(name: str) -> str:
    """A name as it reads in a sentence: `weighted_f1` is "weighted F1"."""
    return re.sub(r"\bf1\b", "F1", name.replace("_", " "))


def rank_label(entry: Entry) -> str:
    """`1`, or `1=` where the rank is shared; the status where there is no rank."""
    return entry.status if entry.rank is None else f"{entry.rank}{'=' if entry.tied else ''}"


def groups(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Entries that may be compared: one task, one corpus, one metric."""
    for _, group in groupby(sorted(entries, key=_comparable), key=_comparable):
        yield list(group)


def read_entries(board: Path = BOARD) -> list[Entry]:
    """Every submission as a ranked entry, sorted by task, corpus, metric and rank."""
    entries = [_entry(folder.name, read(folder / RESULT)) for folder in folders(board)]
    return [entry for group in groups(entries) for entry in rank(group)]


def rank(group: list[Entry]) -> list[Entry]:
    """Entries of one group in order, with ranks; failed runs come last and have none.

    An entry's rank is 1 + the number of entries whose 95 % interval lies wholly on the better side of its own, so that
    entries which the test set cannot tell from the best share its rank.
    """
    scored = [entry for entry in group if entry.score]
    ranks = {
        entry.submission: 1 + sum(_wholly_better(other.score, entry.score) for other in scored) for entry in scored
    }
    shared = list(ranks.values())
    ranked = []
    for entry in group:
        position = ranks.get(entry.submission)
        tied = position is not None and shared.count(position) > 1
        ranked.append(entry.model_copy(update={"rank": position, "tied": tied}))
    return sorted(ranked, key=_order)


def options_differ(group: list[Entry]) -> bool:
    """Whether entries of a group were made with different options of the task, such as decoders or vocoders."""
    return len({entry.options for entry in group}) > 1


def _comparable(entry: Entry) -> tuple[str, str, str]:
    return entry.task, entry.fingerprint, entry.metric


def _order(entry: Entry) -> tuple[Any, ...]:
    if entry.score is None:
        return True, 0, 0.0, 0, entry.submission
    value = -entry.score.value if entry.score.higher_is_better else entry.score.value
    return False, entry.rank, value, entry.cost.trainable_parameters, entry.submission


def _wholly_better(one: Score, other: Score) -> bool:
    return one.low > other.high if other.higher_is_better else one.high < other.low


def _entry(submission: str, result: Result) -> Entry:
    run, cost = result.run, result.cost
    # A record comes from anyone.
    given = run.arguments.get("task_options")
    return Entry(
        rank=None,
        tied=False,
        task=run.task,
        fingerprint=run.data.fingerprint,
        synthetic=run.data.synthetic,
        backbone=run.backbone,
        method=run.method,
        seed=run.seed,
        options=" ".join(map(str, given)) if isinstance(given, list) else "",
        metric=result.metric,
        test=result.scores.get("test", {}),
        validation=result.scores.get("validation", {}),
        interval=result.interval,
        cost=cost,
        trainable_parameters_without_head=cost and cost.trainable_parameters - cost.head_parameters,
        provenance=result.provenance,
        plugins=run.plugins,
        status=result.status,
        error=result.error,
        submission=submission,
    )
