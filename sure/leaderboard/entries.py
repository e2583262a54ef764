"""Submissions as entries of a board: grouped with what they may be compared with, and ranked."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from sure import registry
from sure.leaderboard.submission import folders, naming, read, rows_of, score, task_of
from sure.record import (
    RESULT,
    BackboneInfo,
    Cost,
    Interval,
    MethodInfo,
    PluginFile,
    Provenance,
    Result,
    Score,
)
from sure.task.scoring import NOISE, TAILS, by_id, interval, paired_draws

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
    # What a few shots drew of a corpus has a fingerprint of its own.
    few = "".join(f", {option}" for option in first.options.split() if option.startswith(("shots=", "draw=")))
    return f"{first.task}{few}, {words(first.metric)} on test, corpus {first.fingerprint[:8]}{speech}"


def words(name: str) -> str:
    """A name as it reads in a sentence: `weighted_f1` is "weighted F1"."""
    return re.sub(r"\bf1\b", "F1", name.replace("_", " "))


def footnote(group: list[Entry]) -> str:
    """How the intervals and ranks of a group were made, and for whom they hold."""
    scored = [entry for entry in group if entry.score]
    if not scored:
        return ""
    methods = ", ".join(sorted({entry.score.method for entry in scored if entry.score.determined}))
    drawn = sorted({f"{entry.interval.resamples:,} draws of {entry.interval.resampled['test']}s" for entry in scored})
    text = f"95 % intervals{f' ({methods})' if methods else ''} and ranks: {' or '.join(drawn)}"
    for speakers in sorted({entry.interval.speakers["test"] for entry in scored if "test" in entry.interval.speakers}):
        text += f", for {f'these {speakers} speakers' if speakers > 1 else 'this speaker'} only"
    if any(entry.interval.speakers_unknown("test") for entry in scored):
        text += ", speakers unknown"
    if not all(entry.score.determined for entry in scored):
        text += "; no interval where every draw gives the same score"
    return text + "."


def rank_label(entry: Entry) -> str:
    """`1`, or `1=` where the rank is shared; the status where there is no rank."""
    return entry.status if entry.rank is None else f"{entry.rank}{'=' if entry.tied else ''}"


def groups(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Entries that may be compared: one task, one corpus, one metric."""
    for _, group in groupby(sorted(entries, key=_comparable), key=_comparable):
        yield list(group)


def read_entries(board: Path = BOARD, task: str | None = None) -> list[Entry]:
    """Every submission, or those of one task, as a ranked entry; sorted by task, corpus, metric and score.

    Raises `SureError` for a record or predictions that cannot be read, and where plug-ins that score them are not
    there.
    """
    results = {folder: read(folder / RESULT) for folder in folders(board)}
    refuse_unknown(task, (result.run.task for result in results.values()))
    entries = [_entry(folder, result) for folder, result in results.items() if task in (None, result.run.task)]
    by_submission = {folder.name: (folder, result) for folder, result in results.items()}
    ranked = []
    for group in groups(entries):
        ranked += rank(group, _draws(by_submission[entry.submission] for entry in group if entry.score))
    return ranked


def refuse_unknown(task: str | None, on_board: Iterable[str]) -> None:
    """Raises `SureError` for a task that is none of those on a board."""
    if task is not None and task not in (tasks := sorted(set(on_board))):
        raise registry.unknown("task on this board", task, tasks)


def rank(group: list[Entry], draws: Mapping[str, tuple[Any, np.ndarray]]) -> list[Entry]:
    """Entries of one group in the order of their scores, with ranks; failed runs come last and have none.

    An entry is better than another where the 95 % interval of the difference of their scores lies wholly above 0. Both
    were scored on the same rows, so that the differences are those of the same draws: `draws` has, by submission, what
    was drawn, and the main metric of each draw. Nothing is known of entries that were scored on different rows.

    An entry's rank is 1 + the number of entries that are better, or the rank of the entry before it where that is
    higher: ranks never fall down the table. An entry with a wide interval may therefore rank behind one from which the
    test set cannot tell it; never before one that scores better.
    """
    ranked: list[Entry] = []
    for entry in sorted(group, key=_order):
        position = None
        if entry.score:
            better = sum(_better(draws[one.submission], draws[entry.submission], entry.score) for one in ranked)
            position = max(1 + better, ranked[-1].rank if ranked else 1)
        ranked.append(entry.model_copy(update={"rank": position}))
    ranks = [entry.rank for entry in ranked if entry.rank]
    return [entry.model_copy(update={"tied": ranks.count(entry.rank) > 1}) for entry in ranked]


def options_differ(group: list[Entry]) -> bool:
    """Whether entries of a group were made with different options of the task, such as decoders or vocoders."""
    return len({entry.options for entry in group}) > 1


def _comparable(entry: Entry) -> tuple[str, str, str]:
    return entry.task, entry.fingerprint, entry.metric


def _order(entry: Entry) -> tuple[Any, ...]:
    if entry.score is None:
        return True, 0.0, 0, entry.submission
    value = -entry.score.value if entry.score.higher_is_better else entry.score.value
    return False, value, entry.cost.trainable_parameters, entry.submission


def _better(one: tuple[Any, np.ndarray], other: tuple[Any, np.ndarray], score: Score) -> bool:
    """Whether the first is, of two entries' draws."""
    (drawn, mine), (also_drawn, theirs) = one, other
    if drawn != also_drawn:
        return False
    difference = mine - theirs if score.higher_is_better else theirs - mine
    return bool(np.quantile(difference, TAILS[0]) > NOISE)


def _draws(submissions: Iterable[tuple[Path, Result]]) -> dict[str, tuple[Any, np.ndarray]]:
    """By submission, the ids of its rows, and the main metric on test of each draw."""
    # Other ids should not be: `disagreements` refuses them.
    same_rows = defaultdict(list)
    for folder, result in submissions:
        task = task_of(folder / RESULT, result)
        rows = by_id(rows_of(folder / RESULT, result, task, "test"))
        same_rows[tuple(str(row["id"]) for row in rows)].append((folder, task, rows))
    draws = {}
    for ids, members in same_rows.items():
        with naming(members[0][0].parent):
            of_each = paired_draws([(task, rows) for _, task, rows in members])
        draws |= {folder.name: (ids, of_one) for (folder, _, _), of_one in zip(members, of_each, strict=True)}
    return draws


def _entry(folder: Path, result: Result) -> Entry:
    run, cost = result.run, result.cost
    scores, intervals = result.scores, result.interval
    if result.made_earlier:
        # A board makes its intervals as it does everybody's.
        record = folder / RESULT
        task = task_of(record, result)
        rows = {name: rows_of(record, result, task, name) for name in ("validation", "test")}
        scored = score(record, result, task, rows)
        scores, intervals = {name: of.scores for name, of in scored.items()}, interval(scored)
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
        test=scores.get("test", {}),
        validation=scores.get("validation", {}),
        interval=intervals,
        cost=cost,
        trainable_parameters_without_head=cost and cost.trainable_parameters - cost.head_parameters,
        provenance=result.provenance,
        plugins=run.plugins,
        status=result.status,
        error=result.error,
        submission=folder.name,
    )
