"""Scores over all tasks of a board: mean rank, SUPERB's score, and scores at a budget of trainable parameters.

A system is a method on a backbone; of its entries in a table, which may differ in size or learning rate, the one with
the best validation score counts, among those within the budget where there is one. All is averaged over the tables of a
task first, then over tasks.

SUPERB's score (Feng et al. 2022, arXiv 2210.08634) puts each task on a line between two reference systems and averages:
1000 / |T| sum_t (s_t(u) - s_t(baseline)) / (s_t(state of the art) - s_t(baseline)). Its references are FBANK features
and the best of the challenge. This project's are of the same backbone: the frozen probe is 0, full fine-tuning 1,000. A
table counts where both are there and full fine-tuning is significantly better than the probe, as otherwise the unit of
the line would be noise.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import log10
from statistics import mean

from pydantic import BaseModel

from sure.leaderboard.entries import PROBES, Entry, better_on_validation, differing, groups
from sure.leaderboard.submission import LONGEST_VALUE, shortened
from sure.record import BackboneInfo

# Largest shares of trainable parameters, head left out, by what they are called.
BUDGETS = {"0.1 %": 0.001, "1 %": 0.01, "5 %": 0.05, "unlimited": 1.0}

# Shares between which the area under the score is taken.
LEAST, MOST = 1e-4, 1.0

FULL = "full_finetuning"

OVERALL_FOOTNOTE = (
    "SUPERB's score: 0 is the frozen probe of the same backbone, 1,000 full fine-tuning; the same within budgets of "
    "trainable parameters, head left out; area: its mean over the logarithm of the budget, 0.01 % to 100 %."
)


class Overall(BaseModel):
    """A method on a backbone over all tasks; scores are None where no table counts."""

    backbone: BackboneInfo
    method: str
    tasks: int
    # Of the systems of each table: 1 + the number of those whose rank there is better.
    mean_rank: float
    # How many tables have both references of SUPERB's score.
    referred: int
    superb_score: float | None
    # The same within each budget, None where the system has nothing so small in one of the tables that count.
    at_budget: dict[str, float | None]
    # The same at every budget, the frozen probe's where it has nothing so small, averaged over the logarithm of the
    # budget from 0.01 % to 100 %.
    area: float | None


def overall(entries: Iterable[Entry]) -> list[Overall]:
    """Every system of a board, those of the most tasks first, then by mean rank."""
    of_systems = defaultdict(list)
    for group in groups(entries):
        systems = defaultdict(list)
        for entry in group:
            if entry.rank is not None:
                systems[entry.backbone.model_dump_json(), entry.method.name].append(entry)
        chosen = {system: within(members) for system, members in systems.items()}
        ranks = sorted(one.rank for one in chosen.values())
        lines = {}
        for (backbone, method), members in systems.items():
            if backbone not in lines:
                lines[backbone] = references(members[0], group)
            rank = 1 + bisect_left(ranks, chosen[backbone, method].rank)
            of_systems[backbone, method].append((rank, members, lines[backbone]))
    rows = [_of_system(tables) for tables in of_systems.values()]
    return sorted(rows, key=lambda row: (-row.tasks, row.mean_rank, row.backbone.name, row.method))


def told_apart(backbones: Sequence[BackboneInfo]) -> list[str]:
    """Their names, and of those that are called the same what differs: options, and the start of the revision."""
    settings = [one.options | {"revision": one.revision[:8]} for one in backbones]
    alike = defaultdict(list)
    for one, each in zip(backbones, settings, strict=True):
        alike[one.name].append(each)
    differ = {name: differing(of_name) for name, of_name in alike.items()}
    names = []
    for one, each in zip(backbones, settings, strict=True):
        said = [f"{name}={shortened(str(each[name]), LONGEST_VALUE)}" for name in differ[one.name] if name in each]
        names.append(f"{one.name} ({', '.join(said)})" if said else one.name)
    return names


def tasks(entries: Iterable[Entry]) -> int:
    """How many tasks have a score."""
    return len({entry.task for entry in entries if entry.score})


def within(entries: Iterable[Entry], budget: float = MOST) -> Entry | None:
    """The entry that is best on validation of those that train at most such a share; None where there is none."""
    fitting = (entry for entry in entries if entry.cost.trainable_share_without_head <= budget)
    return min(fitting, key=better_on_validation, default=None)


def references(entry: Entry, group: list[Entry]) -> tuple[float, float] | None:
    """Scores of the frozen probe and of full fine-tuning of an entry's backbone, where these are worth a line."""
    same = [one for one in group if one.score and one.backbone == entry.backbone]
    probe = within(one for one in same if one.method.name in PROBES)
    full = within(one for one in same if one.method.name == FULL)
    if probe is None or full is None or full.to_probe is None or full.no_better_than_probe:
        return None
    return probe.score.value, full.score.value


def _of_system(tables: list[tuple[int, list[Entry], tuple[float, float] | None]]) -> Overall:
    first = tables[0][1][0]
    referred = [(members, line) for _, members, line in tables if line]

    def at(budget: float) -> float | None:
        found = [(members[0].task, within(members, budget), line) for members, line in referred]
        if any(entry is None for _, entry, _ in found):
            return None
        return _over_tasks((task, _on_line(entry, line)) for task, entry, line in found)

    return Overall(
        backbone=first.backbone,
        method=first.method.name,
        tasks=len({members[0].task for _, members, _ in tables}),
        mean_rank=_over_tasks((members[0].task, rank) for rank, members, _ in tables),
        referred=len(referred),
        superb_score=at(MOST),
        at_budget={name: at(budget) for name, budget in BUDGETS.items()},
        area=_over_tasks((members[0].task, _area(members, line)) for members, line in referred),
    )


def _on_line(entry: Entry, line: tuple[float, float]) -> float:
    """Where a score lies: 0 at the probe's, 1,000 at full fine-tuning's, whichever way is better."""
    probe, full = line
    return 1000 * (entry.score.value - probe) / (full - probe)


def _area(entries: list[Entry], line: tuple[float, float]) -> float:
    """The mean over the logarithm of the budget."""
    budgets = sorted({max(LEAST, entry.cost.trainable_share_without_head) for entry in entries} | {MOST})
    parts = [(log10(end) - log10(start)) * _on_line(within(entries, start), line) for start, end in pairwise(budgets)]
    return sum(parts) / (log10(MOST) - log10(LEAST))


def _over_tasks(values: Iterable[tuple[str, float]]) -> float | None:
    """The mean over tasks of the means over their tables; None of none."""
    of_tasks = defaultdict(list)
    for task, value in values:
        of_tasks[task].append(value)
    return mean(map(mean, of_tasks.values())) if of_tasks else None
