"""Entries of a board: grouped with what they may be compared with, ranked, and in words."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from pathlib import Path
from statistics import stdev
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, Field

from sure import registry
from sure.leaderboard.comparison import Difference, Sample, compare
from sure.leaderboard.disclosure import Disclosure
from sure.record import BackboneInfo, Cost, Interval, MethodInfo, PluginFile, Provenance, Score, shown
from sure.task.scoring import Sampling, over_seeds

if TYPE_CHECKING:
    from sure.metric import Metric

BOARD = Path("leaderboard")

# Methods that leave the backbone as it is, with which others are compared.
PROBES = ("weighted_sum_probe", "linear_probe")

_HIDDEN = "References are hidden: the board's keeper, who has them, makes the scores on test"

# In tables of more entries, which of them are better than which is not listed.
MOST_COMPARED = 40


class EntryScore(Score):
    """A metric of a configuration: the mean over its seeds, or over the folds, each the mean of its seeds."""

    method: Literal["Wilson", "percentile bootstrap", "undetermined", "Student's t over folds"] | None = None
    # Standard deviation over seeds; None of one.
    deviation: float | None = None

    @classmethod
    def of_seeds(cls, metric: "Metric", values: Sequence[float], draws: np.ndarray, sampling: Sampling) -> "EntryScore":
        """The mean of scores of some seeds, or of one, with `draws`, (resamples,), of that mean."""
        deviation = stdev(values) if len(values) > 1 else None
        return cls(**over_seeds(metric, values, draws, sampling).model_dump(), deviation=deviation)


class EntryRun(BaseModel):
    """A submission behind an entry."""

    submission: str
    seed: int
    fold: int | None
    # The main metric on test.
    score: float | None


class Entry(BaseModel):
    """One row of the leaderboard: the runs of one configuration, which differ in their seeds and folds."""

    rank: int | None
    tied: bool
    # To the first of the table; None of the first, and where the two cannot be compared.
    difference: Difference | None
    # To the frozen probe of the same backbone in the table; None where there is none, and of probes.
    to_probe: Difference | None
    # Submissions of the table that it is significantly better than; None in tables of many, and of failed runs.
    better_than: list[str] | None = None
    task: str
    # Of several folds, of the fingerprints of all.
    fingerprint: str
    synthetic: bool
    backbone: BackboneInfo
    method: MethodInfo
    # What tells it from others of its method and backbone in the table, such as `r=8, learning_rate=0.002`.
    settings: str = ""
    runs: list[EntryRun]
    # None where the corpus is not parted into folds.
    folds: list[int] | None
    folds_there_are: int | None
    # Of the task, as they were given; without the fold.
    options: str
    # Of these, what decides how predictions are counted, where it is not as by default: a table of its own.
    scored_by: str = Field(default="", exclude_if=lambda options: not options)
    metric: str
    test: dict[str, EntryScore]
    # Means over runs.
    validation: dict[str, float]
    interval: Interval | None
    # Of the first run; seconds are means.
    cost: Cost | None
    trainable_parameters_without_head: int | None
    # Of the first run.
    provenance: Provenance
    plugins: list[PluginFile]
    status: Literal["complete", "failed"]
    error: str | None
    # Of the first run.
    submission: str
    # Of all runs: references are those of the task's manifest, and the budget was counted again; else self-reported.
    verified: bool = False
    # What could not be checked, in words, of any run.
    unchecked: list[str] = []
    # Whether the board has no references of the test split: the scores are its keeper's.
    references_hidden: bool = Field(default=False, exclude_if=lambda hidden: not hidden)
    # Of the first run that says anything.
    disclosure: Disclosure | None = None

    @property
    def score(self) -> EntryScore | None:
        """The main metric on the test split; None where the run failed."""
        return self.test.get(self.metric)

    @property
    def seeds(self) -> list[int]:
        return sorted({run.seed for run in self.runs})

    @property
    def over_folds(self) -> bool:
        """Whether the score is a mean over folds."""
        return bool(self.folds) and len(self.folds) > 1

    @property
    def no_better_than_probe(self) -> bool:
        """Whether it has not been found better than the frozen probe of the same backbone."""
        if self.to_probe is None:
            return False
        return self.to_probe.verdict(higher_is_better=self.score.higher_is_better) != "better"


def entry_path(entry: Entry) -> str:
    """Where its page is, relative to the board."""
    return f"entries/{entry.submission}.html"


def title(group: list[Entry]) -> str:
    """What the entries of one group were compared on."""
    first = group[0]
    speech = ", synthetic speech" if first.synthetic else ""
    # What a few shots drew of a corpus has a fingerprint of its own.
    few = "".join(f", {option}" for option in first.options.split() if option.startswith(("shots=", "draw=")))
    few += f", {first.scored_by}" if first.scored_by else ""
    return f"{first.task}{few}{folds(first)}, {words(first.metric)} on test, corpus {first.fingerprint[:8]}{speech}"


def folds(entry: Entry) -> str:
    """`, all 5 folds` or `, fold 2 of 5`; empty where a corpus is not parted."""
    if not entry.folds:
        return ""
    if len(entry.folds) == entry.folds_there_are:
        return f", all {entry.folds_there_are} folds"
    return f", fold{'s' * (len(entry.folds) > 1)} {', '.join(map(str, entry.folds))} of {entry.folds_there_are}"


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names that not all have the same value of."""
    names = dict.fromkeys(chain.from_iterable(settings))
    return [name for name in names if any(each.get(name) != settings[0].get(name) for each in settings)]


def words(name: str) -> str:
    """A name as it reads in a sentence: `weighted_f1` is "weighted F1"."""
    return re.sub(r"\bf1\b", "F1", name.replace("_", " "))


def footnote(group: list[Entry]) -> str:
    """How the intervals and ranks of a group were made, and for whom they hold."""
    scored = [entry for entry in group if entry.score]
    hidden = [_HIDDEN] if any(entry.references_hidden for entry in group) else []
    if not scored:
        return "".join(f"{sentence}." for sentence in hidden)
    methods = ", ".join(sorted({entry.score.method for entry in scored if entry.score.determined}))
    made = f"95 % intervals{f' ({methods})' if methods else ''} and ranks: "
    if scored[0].over_folds:
        made += f"{len(scored[0].folds)} folds; an interval covers test sample, training sample and seed"
        if len(scored[0].folds) < scored[0].folds_there_are:
            made += "; these are not all folds: not ranked with entries that have them all"
    else:
        drawn = {f"{entry.interval.resamples:,} draws of {entry.interval.resampled['test']}s" for entry in scored}
        made += " or ".join(sorted(drawn))
        for speakers in sorted({entry.interval.speakers.get("test", 0) for entry in scored} - {0}):
            made += f", for {f'these {speakers} speakers' if speakers > 1 else 'this speaker'} only"
        if any(entry.interval.speakers_unknown("test") for entry in scored):
            made += ", speakers unknown"
        if not all(entry.score.determined for entry in scored):
            made += "; no interval where every draw gives the same score"
        several = {len(entry.seeds) > 1 for entry in scored}
        covers = {False: "covers the test sample, not the seed", True: "covers test sample and seed"}
        if len(several) == 1:
            made += f"; an interval {covers[several.pop()]}"
        else:
            made += f"; an interval of one seed {covers[False]}, one of several {covers[True]}"
    sentences = [made, *hidden]
    if any(entry.score.deviation is not None for entry in scored):
        sentences.append("±: standard deviation over seeds")
    if len(scored) > 1:
        pairs = len(scored) * (len(scored) - 1) // 2
        sentences.append(
            "Rank 1: the first and all that are not significantly worse, by paired differences (5 %, Holm's correction "
            f"for {pairs:,} pair{'s' * (pairs > 1)}; the interval of a difference is that of the pair alone)"
        )
    if any(entry.no_better_than_probe for entry in scored):
        sentences.append("†: not significantly better than the frozen probe of the same backbone")
    if any(name.startswith("minimum_") for name in scored[0].test):
        sentences.append(
            "Intervals of minimum costs are too narrow and too low: a minimum over thresholds is lower of few speakers"
        )
    return ". ".join(sentences) + "."


def rank_label(entry: Entry) -> str:
    """`1`, or `1=` where the rank is shared; where there is no rank, why."""
    if entry.rank is not None:
        return f"{entry.rank}{'=' if entry.tied else ''}"
    if entry.status == "failed":
        return "failed"
    return "not ranked" if entry.score else "not scored"


def score_words(entry: Entry) -> str:
    """`0.512 ± 0.010 (3 seeds) [0.430, 0.590]`; empty where the run failed."""
    return "" if entry.score is None else mean_words(entry.score, len(entry.seeds))


def mean_words(score: EntryScore, seeds: int) -> str:
    """A score that is a mean over so many seeds, as `score_words` has it."""
    if score.deviation is None:
        return str(score)
    value, _, limits = str(score).partition(" ")
    return f"{value} ± {shown(score.deviation, score.value)} ({seeds} seeds) {limits}"


def groups(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Entries that may be compared: one task, one corpus, one way of counting, one metric."""
    for _, group in groupby(sorted(entries, key=comparable), key=comparable):
        yield list(group)


def refuse_unknown(task: str | None, on_board: Iterable[str]) -> None:
    """Raises `SureError` for a task that is none of those on a board."""
    if task is not None and task not in (tasks := sorted(set(on_board))):
        raise registry.unknown("task on this board", task, tasks)


def rank(group: list[Entry], samples: Mapping[str, Sample]) -> list[Entry]:
    """Entries of one group in the order of their scores, with ranks; failed runs come last and have none.

    Rank 1 have the first and all that are not significantly worse than it (`sure.leaderboard.comparison`); any other
    has 1 + the number of entries that are significantly better. `samples` has, by submission, what says how far its
    score would vary. Nothing is known of entries that were scored on different rows.
    """
    ordered = sorted(group, key=_order)
    scored = [entry for entry in ordered if entry.score]
    if not scored:
        return ordered
    values = [entry.score.value for entry in scored]
    compared = compare(values, [samples[entry.submission] for entry in scored])
    worse = compared.value < 0 if scored[0].score.higher_is_better else compared.value > 0
    worse &= compared.significant
    ranks = [1 + int(row.sum()) if row[0] else 1 for row in worse]
    of_rank, probes = Counter(ranks), _probes(scored)
    ranked = []
    for place, entry in enumerate(scored):
        probe = None if entry.method.name in PROBES else probes.get(entry.backbone.model_dump_json())
        ranked.append(
            entry.model_copy(
                update={
                    "rank": ranks[place],
                    "tied": of_rank[ranks[place]] > 1,
                    "difference": compared.of(place, 0) if place else None,
                    "to_probe": None if probe is None else compared.of(place, probe),
                    "better_than": [scored[other].submission for other in worse[:, place].nonzero()[0]]
                    if len(scored) <= MOST_COMPARED
                    else None,
                }
            )
        )
    return ranked + ordered[len(scored) :]


def options_differ(group: list[Entry]) -> bool:
    """Whether entries of a group were made with different options of the task, such as decoders or vocoders."""
    return len({entry.options for entry in group}) > 1


def better_on_validation(entry: Entry) -> tuple[float, str]:
    """A key that is least for the entry that whoever may not look at the test split would choose."""
    value = entry.validation[entry.metric]
    return -value if entry.score.higher_is_better else value, entry.submission


def _probes(scored: list[Entry]) -> dict[str, int]:
    """By backbone, as JSON, where its frozen probe is among the entries, of several the best on validation."""
    of_backbones = defaultdict(list)
    for place, entry in enumerate(scored):
        if entry.method.name in PROBES:
            of_backbones[entry.backbone.model_dump_json()].append(place)
    return {
        backbone: min(places, key=lambda place: better_on_validation(scored[place]))
        for backbone, places in of_backbones.items()
    }


def comparable(entry: Entry) -> tuple[str, ...]:
    """What is the same of entries of one group."""
    return entry.task, entry.fingerprint, entry.scored_by, entry.metric


def _order(entry: Entry) -> tuple[Any, ...]:
    if entry.score is None:
        return True, 0.0, 0, entry.submission
    value = -entry.score.value if entry.score.higher_is_better else entry.score.value
    return False, value, entry.cost.trainable_parameters, entry.submission
