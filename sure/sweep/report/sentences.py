"""A sweep's answer in words."""

from collections.abc import Iterator

from sure.leaderboard.comparison import Difference
from sure.leaderboard.entries import words
from sure.record import Result, shown
from sure.sweep import progress
from sure.sweep.report.answers import (
    BASELINES,
    DEFAULT_SIZE,
    Answer,
    baseline_of,
    budgets_of,
    difference_of,
    from_the_best,
    is_open,
)
from sure.task.scoring import NOISE, RESAMPLES


def sentences(answers: list[Answer], runs: list[Result], comparisons: int) -> list[str]:
    """Which method is best at which budget, against the baselines, how settings were chosen and methods compared."""
    found = [*_overall(answers), *_best(answers), *_baselines(answers), *_how_chosen(answers)]
    return [*found, _how_compared(runs, comparisons)] if runs else found


def _overall(answers: list[Answer]) -> Iterator[str]:
    """The best of all methods and budgets, and which are better than the baselines."""
    there = from_the_best(answers)
    if len(there) < 2:
        return
    first, metric = there[0], words(there[0].first.metric)
    is_baseline = first.name in BASELINES and first is baseline_of(answers, first.name)
    label = f"{first.label} ({BASELINES[first.name]})" if is_baseline else first.label
    sentence = (
        f"Of all {len(there)} that have records, {label} has the {'highest' if first.higher_is_better else 'lowest'} "
        f"mean {metric}: {first.score}, with {first.parameters:,} trainable parameters without the head"
    )
    compared = [name for name in BASELINES if any(name in one.differences for one in there)]
    better = [
        f"than {BASELINES[name]}: {listed([one.label for one in there if _is_better(one, name)]) or 'none'}"
        for name in compared
    ]
    yield f"{sentence}.{' Significantly better ' + '; '.join(better) + '.' if better else ''}"


def _is_better(one: Answer, name: str) -> bool:
    found = one.differences.get(name)
    return found is not None and found.verdict(higher_is_better=one.higher_is_better) == "better"


def _best(answers: list[Answer]) -> Iterator[str]:
    """Of each budget, which method is best, and how it differs from the baselines."""
    for budget in budgets_of(answers):
        asked = [one for one in answers if one.budget == budget and one.name not in BASELINES]
        there = from_the_best(asked)
        at = "At their default sizes" if budget == DEFAULT_SIZE else f"At {budget}"
        if asked and not there:
            yield f"{at} no method has a record{' yet' if any(map(is_open, asked)) else ''}."
        if not there:
            continue
        best = [one for one in there if abs(one.mean - there[0].mean) <= NOISE]
        names, metric = [one.method for one in best], words(there[0].first.metric)
        end = "highest" if there[0].higher_is_better else "lowest"
        of = f"{len(there)} methods" if len(there) == len(asked) else f"the {len(there)} of {len(asked)} with a record"
        if len(there) == 1:
            only = "the only method" + (" with a record" if len(asked) > 1 else "")
            sentence = f"{at} {names[0]} is {only}: {metric} {best[0].score}"
        elif len(best) > 1:
            sentence = f"{at} {listed(names)} share the {end} mean {metric} of {of}: {shown(best[0].mean)}"
        else:
            lead = f"{difference_of(best[0], there[1])} from the next, {there[1].method}"
            sentence = f"{at} {names[0]} has the {end} mean {metric} of {of}: {best[0].score}, {lead}"
        yield ". ".join([sentence, *(_against(name, best) for name in BASELINES if baseline_of(answers, name))]) + "."


def _against(name: str, best: list[Answer]) -> str:
    found = [
        f"{f'{one.method} ' if len(best) > 1 else ''}{one.differences[name]}, "
        + _verdict(one.differences[name], higher_is_better=one.higher_is_better)
        for one in best
        if name in one.differences
    ]
    return f"Against {BASELINES[name]}: {'; '.join(found) or 'it has no record'}"


def _verdict(found: Difference, *, higher_is_better: bool) -> str:
    verdict = found.verdict(higher_is_better=higher_is_better)
    p = found.p_words if found.p_words.startswith("<") else f"= {found.p_words}"
    return f"{f'significantly {verdict}' if verdict else 'not significantly different'} (p {p})"


def _baselines(answers: list[Answer]) -> Iterator[str]:
    for name, called in BASELINES.items():
        baseline, called_first = baseline_of(answers, name), called[0].upper() + called[1:]
        if baseline is None:
            yield f"{called_first} ({name}) is not in this study, so nothing is compared with it."
        elif not baseline.results:
            yield f"{called_first} has no record{' yet' if is_open(baseline) else ''}, so nothing is compared with it."
        else:
            against = "".join(
                f"; against {BASELINES[other]} {one}, {_verdict(one, higher_is_better=baseline.higher_is_better)}"
                for other, one in baseline.differences.items()
            )
            yield f"{called_first} has a mean {words(baseline.first.metric)} of {baseline.score}{against}."


def _how_chosen(answers: list[Answer]) -> Iterator[str]:
    compared = [one for one in answers if len(one.question.candidates) != 1]
    traces = [one.comparison.trace for one in compared if one.comparison.trace]
    if traces:
        tried = [tried for trace in traces for tried in trace.tried]
        lost = sum(one.training_seconds for one in tried if not one.chosen)
        by, metrics, seeds = (
            listed(sorted(set(of_each)))
            for of_each in zip(*((one.by, words(one.metric), str(one.seed)) for one in traces), strict=True)
        )
        took = sum(one.training_seconds for one in tried)
        yield (
            f"Settings were chosen on validation {metrics} by {by} with seed {seeds}: {len(tried)} tries in "
            f"{counted(len(traces), 'comparison')} took {took:,.1f} s of training, {lost:,.1f} s of it for values "
            "that lost."
        )
    if len(traces) < len(compared):
        yield f"Comparisons of settings that are not over yet: {len(compared) - len(traces)}."
    edges = [f"{one.label} ({end})" for one in answers if (end := _edge(one))]
    if edges:
        yield f"The rate chosen is an end of those tried, and one beyond may be better, for {listed(edges)}."
    seeds = {tuple(one.question.seeds) for one in answers}
    fewer = any(0 < len(one.results) < len(one.question.seeds) for one in answers)
    for each in sorted(seeds):
        if len(each) > 1:
            means = f"means over {len(each)} seeds ({', '.join(map(str, each))})"
            yield f"Scores are {means}, ± their standard deviation{', unless they name fewer' if fewer else ''}."
        else:
            yield f"Scores are of one seed ({each[0]}), which says nothing of how far others vary."


def _edge(answer: Answer) -> str | None:
    """Which end of the learning rates that were tried was chosen."""
    trace = answer.comparison.trace
    tried = [one for one in trace.tried if "learning_rate" in one.values] if trace else []
    rates = sorted({one.values["learning_rate"] for one in tried})
    chosen = [one.values["learning_rate"] for one in tried if one.chosen]
    if len(rates) < 2 or not chosen:
        return None
    return {rates[0]: "lowest", rates[-1]: "highest"}.get(chosen[0])


def _how_compared(runs: list[Result], comparisons: int) -> str:
    intervals, evaluation = [run.interval for run in runs], progress.evaluation(runs[0])
    drawn = listed(sorted({f"{one.resampled[evaluation]}s" for one in intervals}))
    few = sorted({one.speakers[evaluation] for one in intervals if evaluation in one.speakers})
    for_whom = "".join(f", for {f'these {count} speakers' if count > 1 else 'this speaker'} only" for count in few)
    if any(one.speakers_unknown(evaluation) for one in intervals):
        for_whom += ", speakers unknown"
    return (
        f"Differences are of the same {RESAMPLES:,} draws of the test split's {drawn}{for_whom}; where there are "
        "several seeds, their variance is added. Each 95 % interval is that of its pair alone; significant is what is "
        f"so at 5 % with Holm's correction for {counted(comparisons, 'comparison')} of methods with baselines. The "
        "lead over the next method is no test: both were picked by their scores."
    )


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listed(names: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
