"""A sweep's answer in words, tables and pictures, from its folder alone: Markdown, and one page that opens from disk.

Every number is of a record (`result.json`) or, of what left none, of `cell.json`; tables name the cell it is from.
Methods are compared with the frozen probe and with full fine-tuning of the same task and backbone, on the same test
rows. The variance of a difference is that of draws of these rows plus what seeds add on either side, and p-values,
of Student's t with the degrees of freedom of Welch (1947), are corrected by Holm (1979) for all comparisons of a table.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import altair
import jinja2
import numpy as np
import vl_convert

from sure.errors import SureError
from sure.files import write_atomically
from sure.leaderboard import submission
from sure.leaderboard.comparison import Difference, Sample, compare, holm
from sure.leaderboard.entries import words
from sure.record import RESULT, Result
from sure.record.card import caveat
from sure.sweep import progress, schedule
from sure.sweep.plan import CELLS, Question, Study, options_of
from sure.sweep.schedule import StateOf
from sure.sweep.state import CELL
from sure.task.scoring import NOISE, RESAMPLES, Prepared, paired_draws

# With which others are compared, by method.
BASELINES = {"linear_probe": "the frozen probe", "full_finetuning": "full fine-tuning"}
# Significantly better and worse than these.
_MARKS = {"linear_probe": "▲▼", "full_finetuning": "△▽"}
_ONE_SIZE = "one size"
_WIDTH, _HEIGHT = 320, 240
_DOCUMENTS = ("report.md", "report.html")


class Part(NamedTuple):
    """A line in a table's cell; with a target it leads to the file that has its numbers."""

    text: str
    target: str | None = None
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """As it is in both documents; the first `left` columns hold words, those after them numbers."""

    caption: str
    headers: list[str]
    rows: list[list[list[Part]]]
    left: int = 1


@dataclass(frozen=True)
class Plot:
    """A picture and what it shows."""

    file: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Section:
    """The answer for one task and backbone."""

    title: str
    caveat: str
    sentences: list[str]
    plots: list[Plot]
    tables: list[Table]


@dataclass(frozen=True)
class Report:
    """What a sweep has found so far."""

    name: str
    sections: list[Section]
    # Said first of all; empty where nothing is left to do.
    unfinished: str

    def text(self) -> str:
        """The short answer, for a terminal."""
        lines = [self.unfinished] if self.unfinished else []
        for section in self.sections:
            lines += [section.title, *[f"Note: {section.caveat}"] * bool(section.caveat)]
            lines += [f"- {sentence}" for sentence in section.sentences]
        return "\n".join(lines)


@dataclass
class _Answer:
    """A question as far as it is answered."""

    question: Question
    method: str
    budget: str
    rows: list[progress.Row]
    comparison: schedule.Comparison
    # By cell, in the order of seeds.
    results: dict[str, Result]
    # How far the mean over seeds would vary; and by baseline, how it differs from that.
    sample: Sample | None = None
    differences: dict[str, Difference] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.question.settings["method"]

    @property
    def label(self) -> str:
        return self.method if self.budget == _ONE_SIZE else f"{self.method} at {self.budget}"

    @property
    def first(self) -> Result:
        return next(iter(self.results.values()))

    @property
    def scores(self) -> list[float]:
        return [progress.tested(result).value for result in self.results.values()]

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))

    @property
    def higher_is_better(self) -> bool:
        return progress.tested(self.first).higher_is_better

    @property
    def score(self) -> str:
        """`0.512 ± 0.010`, the standard deviation over seeds, which one alone has not."""
        there, asked = len(self.scores), len(self.question.seeds)
        deviation = f" ± {np.std(self.scores, ddof=1):.3f}" if there > 1 else ""
        return f"{self.mean:.3f}{deviation}" + (f" ({there} of {asked} seeds)" if there < asked else "")

    @property
    def parameters(self) -> int:
        """Trainable ones, without the head's."""
        return self.first.cost.trainable_parameters - self.first.cost.head_parameters

    @property
    def marks(self) -> str:
        return "".join(
            _MARKS[name][(found.value > 0) != self.higher_is_better]
            for name, found in self.differences.items()
            if found.significant
        )


def report(output_dir: Path, folder: Path, state_of: StateOf, attempts: int) -> Report:
    """What a sweep's folder says; `folder` is where the report will lie, from which links lead to cells.

    Raises `SureError` where there is no study, and for records and predictions that cannot be read.
    """
    study = Study.read(output_dir)
    now = (study, output_dir, state_of, attempts)
    rows, groups = defaultdict(list), defaultdict(list)
    for row in progress.rows(*now):
        rows[row.question].append(row)
    for question in study.questions:
        comparison, known = schedule.compare(question, output_dir, state_of, attempts), rows[question.name]
        results = {row.cell: submission.read(output_dir / CELLS / row.cell / RESULT) for row in known if row.score}
        results = dict(sorted(results.items(), key=lambda one: question.seeds.index(one[1].run.seed)))
        groups[_group(question)].append(_Answer(question, *_names(question), known, comparison, results))
    cells = _Cells(output_dir, folder)
    sections = [_section(title, answers, cells, number) for number, (title, answers) in enumerate(groups.items(), 1)]
    ended, total = progress.ended(*now), progress.total(*now)
    unfinished = f"Not finished: {ended} of {total} cells have ended, and this is what they say so far."
    return Report(output_dir.resolve().name, sections, unfinished if ended < total else "")


def write(found: Report, folder: Path) -> list[Path]:
    """`report.md` with its plots beside it, and `report.html`, which needs nothing else; gives these two."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sure.sweep", "."),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["markdown"] = _markdown
    folder.mkdir(parents=True, exist_ok=True)
    for plot in (plot for section in found.sections for plot in section.plots):
        write_atomically(folder / plot.file, plot.svg)
    for name in _DOCUMENTS:
        write_atomically(folder / name, environment.get_template(name).render(report=found))
    return [folder / name for name in _DOCUMENTS]


class _Cells:
    """The folders of cells, and links to what they hold."""

    def __init__(self, output_dir: Path, folder: Path) -> None:
        self.output_dir, self._folder = output_dir, folder

    def record(self, cell: str) -> Path:
        return self.output_dir / CELLS / cell / RESULT

    def link(self, cell: str, text: str | None = None) -> Part:
        """To the record, or where there is none to `cell.json`."""
        there = next((path for name in (RESULT, CELL) if (path := self.record(cell).with_name(name)).exists()), None)
        return Part(text or cell, there and quote(Path(os.path.relpath(there, self._folder)).as_posix()))


def _names(question: Question) -> tuple[str, str]:
    """Of its method with options, and of its budget."""
    budget = str(options_of(question)["method"].get("budget", _ONE_SIZE))
    given = [one for one in question.settings.get("method_options", []) if not one.startswith("budget=")]
    return " ".join([question.settings["method"], *given]), budget


def _group(question: Question) -> str:
    settings = question.settings
    return " with ".join(
        " ".join([str(settings[kind]), *settings.get(f"{kind}_options", [])]) for kind in ("task", "backbone")
    )


def _section(title: str, answers: list[_Answer], cells: _Cells, number: int) -> Section:
    twice = [label for label, count in Counter(answer.label for answer in answers).items() if count > 1]
    for answer in answers:
        if answer.label in twice:
            # Told apart by settings other than the method's.
            answer.method = answer.question.name.partition("--budget=")[0]
    with_runs = [answer for answer in answers if answer.results]
    corpora = {result.run.data.fingerprint: cell for one in with_runs for cell, result in one.results.items()}
    if len(corpora) > 1:
        raise SureError(f"{cells.output_dir}: cells were run on different corpora: {', '.join(corpora.values())}.")
    title = ", ".join([title, *(f"corpus {fingerprint[:8]}" for fingerprint in corpora)])
    _draw(with_runs, cells)
    comparisons = _compare(with_runs)
    runs = [result for answer in with_runs for result in answer.results.values()]
    sentences = [*_best(answers), *_baselines(answers), *_how_chosen(answers)]
    if runs:
        sentences.append(_how_compared(runs, comparisons))
    methods = list(dict.fromkeys(answer.method for answer in answers))
    charts = [*_curves(with_runs, methods), *_sensitivity(answers, methods)]
    return Section(
        title=title,
        caveat=caveat(result.run for result in runs),
        sentences=sentences,
        plots=[
            Plot(f"{number}-{name}.svg", caption, vl_convert.vegalite_to_svg(chart.to_json()))
            for name, caption, chart in charts
        ],
        tables=[
            table
            for table in (
                _at_budgets(answers),
                _differences(with_runs, cells),
                _tried(answers, cells),
                _cost(answers, cells),
                _without_record(answers, cells),
            )
            if table.rows
        ],
    )


def _draw(answers: list[_Answer], cells: _Cells) -> None:
    """Say of every answer how far its score would vary, by draws of the same test rows for all."""
    runs = []
    for answer in answers:
        for cell, result in answer.results.items():
            task = submission.task_of(cells.record(cell), result)
            rows = submission.rows_of(cells.record(cell), result, task, progress.evaluation(result))
            runs.append((task.metric, Prepared.of(task, rows, [task.metric])))
    if not runs:
        return
    try:
        sampling, drawn = paired_draws([prepared for _, prepared in runs])
    except (SureError, TypeError, ValueError) as error:
        raise SureError(f"{cells.output_dir}: test predictions cannot be compared: {error}") from None
    draws = iter(of[metric] for (metric, _), of in zip(runs, drawn, strict=True))
    for answer in answers:
        of_mean = np.mean([next(draws) for _ in answer.results], axis=0)
        answer.sample = Sample.of_draws("test", sampling, of_mean, answer.scores)


def _compare(answers: list[_Answer]) -> int:
    """Every answer with the baselines, of which full fine-tuning is compared with the probe; gives how many pairs."""
    pairs = [
        (answer, name, baseline)
        for name in BASELINES
        if (baseline := _baseline(answers, name))
        for answer in answers
        if answer is not baseline and answer is not _baseline(answers, "linear_probe")
    ]
    found = [_difference(answer, baseline) for answer, _, baseline in pairs]
    corrected = holm(np.array([one.p for one in found]))
    for (answer, name, _), difference, p in zip(pairs, found, corrected.tolist(), strict=True):
        answer.differences[name] = difference.model_copy(update={"p": p})
    return len(pairs)


def _baseline(answers: list[_Answer], name: str) -> _Answer | None:
    """The first that was asked for: of a probe with several sets of options the others are methods."""
    return next((answer for answer in answers if answer.name == name), None)


def _difference(one: _Answer, other: _Answer) -> Difference:
    """With an uncorrected p-value."""
    return compare([one.mean, other.mean], [one.sample, other.sample]).of(0, 1)


def _verdict(found: Difference, *, higher_is_better: bool) -> str:
    if not found.significant:
        return f"not significantly different (p {_p(found.p)})"
    return f"significantly {'better' if (found.value > 0) == higher_is_better else 'worse'} (p {_p(found.p)})"


def _budgets(answers: list[_Answer]) -> list[str]:
    return sorted(dict.fromkeys(answer.budget for answer in answers), key=lambda budget: budget == _ONE_SIZE)


def _best(answers: list[_Answer]) -> Iterator[str]:
    """Of each budget, which method is best, and how it differs from the baselines."""
    for budget in _budgets(answers):
        asked = [one for one in answers if one.budget == budget and one.name not in BASELINES]
        there = _from_the_best(asked)
        at = "Of methods of one size," if budget == _ONE_SIZE else f"At {budget}"
        if asked and not there:
            yield f"{at} no method has a record{' yet' if any(map(_open, asked)) else ''}."
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
            sentence = f"{at} {_and(names)} share the {end} mean {metric} of {of}: {best[0].mean:.3f}"
        else:
            lead = f"{_difference(best[0], there[1])} from the next, {there[1].method}"
            sentence = f"{at} {names[0]} has the {end} mean {metric} of {of}: {best[0].score}, {lead}"
        yield ". ".join([sentence, *(_against(name, best) for name in BASELINES if _baseline(answers, name))]) + "."


def _from_the_best(answers: list[_Answer]) -> list[_Answer]:
    """Those with a record."""
    scored = [one for one in answers if one.results]
    return sorted(scored, key=lambda one: -one.mean if one.higher_is_better else one.mean)


def _against(name: str, best: list[_Answer]) -> str:
    found = [
        f"{f'{one.method} ' if len(best) > 1 else ''}{one.differences[name]}, "
        + _verdict(one.differences[name], higher_is_better=one.higher_is_better)
        for one in best
        if name in one.differences
    ]
    return f"Against {BASELINES[name]}: {'; '.join(found) or 'it has no record'}"


def _baselines(answers: list[_Answer]) -> Iterator[str]:
    for name, called in BASELINES.items():
        baseline, called_first = _baseline(answers, name), called[0].upper() + called[1:]
        if baseline is None:
            yield f"{called_first} ({name}) is not in this study, so nothing is compared with it."
        elif not baseline.results:
            yield f"{called_first} has no record{' yet' if _open(baseline) else ''}, so nothing is compared with it."
        else:
            against = "".join(
                f"; against {BASELINES[other]} {one}, {_verdict(one, higher_is_better=baseline.higher_is_better)}"
                for other, one in baseline.differences.items()
            )
            yield f"{called_first} has a mean {words(baseline.first.metric)} of {baseline.score}{against}."


def _open(answer: _Answer) -> bool:
    """Whether something is left to do."""
    return not answer.rows or any(not row.ended for row in answer.rows)


def _how_chosen(answers: list[_Answer]) -> Iterator[str]:
    compared = [one for one in answers if len(one.question.candidates) != 1]
    traces = [one.comparison.trace for one in compared if one.comparison.trace]
    if traces:
        tried = [tried for trace in traces for tried in trace.tried]
        lost = sum(one.training_seconds for one in tried if not one.chosen)
        by, metrics, seeds = (
            _and(sorted(set(of_each)))
            for of_each in zip(*((one.by, words(one.metric), str(one.seed)) for one in traces), strict=True)
        )
        took = sum(one.training_seconds for one in tried)
        yield (
            f"Settings were chosen on validation {metrics} by {by} with seed {seeds}: {len(tried)} tries in "
            f"{_counted(len(traces), 'comparison')} took {took:,.1f} s of training, {lost:,.1f} s of it for values "
            "that lost."
        )
    if len(traces) < len(compared):
        yield f"Comparisons of settings that are not over yet: {len(compared) - len(traces)}."
    edges = [f"{one.label} ({end})" for one in answers if (end := _edge(one))]
    if edges:
        yield f"The rate chosen is an end of those tried, and one beyond may be better, for {_and(edges)}."
    seeds = {tuple(one.question.seeds) for one in answers}
    fewer = any(0 < len(one.results) < len(one.question.seeds) for one in answers)
    for each in sorted(seeds):
        if len(each) > 1:
            means = f"means over {len(each)} seeds ({', '.join(map(str, each))})"
            yield f"Scores are {means}, ± their standard deviation{', unless they name fewer' if fewer else ''}."
        else:
            yield f"Scores are of one seed ({each[0]}), which says nothing of how far others vary."


def _edge(answer: _Answer) -> str | None:
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
    drawn = _and(sorted({f"{one.resampled[evaluation]}s" for one in intervals}))
    few = sorted({one.speakers[evaluation] for one in intervals if evaluation in one.speakers})
    for_whom = "".join(f", for {f'these {count} speakers' if count > 1 else 'this speaker'} only" for count in few)
    if any(one.speakers_unknown(evaluation) for one in intervals):
        for_whom += ", speakers unknown"
    return (
        f"Differences are of the same {RESAMPLES:,} draws of the test split's {drawn}{for_whom}; where there are "
        "several seeds, their variance is added. Each 95 % interval is that of its pair alone; significant is what is "
        f"so at 5 % with Holm's correction for {_counted(comparisons, 'comparison')} of methods with baselines. The "
        "lead over the next method is no test: both were picked by their scores."
    )


def _at_budgets(answers: list[_Answer]) -> Table:
    budgets, rows = _budgets(answers), []
    best = {budget: _from_the_best([one for one in answers if one.budget == budget])[:1] for budget in budgets}
    for method in dict.fromkeys(answer.method for answer in answers):
        by_budget = {one.budget: one for one in answers if one.method == method}
        rows.append([[Part(method)], *(_at_budget(by_budget.get(budget), best[budget]) for budget in budgets)])
    scored = next((answer.first for answer in answers if answer.results), None)
    marks = "; ".join(f"{_MARKS[name]} significantly better, worse than {called}" for name, called in BASELINES.items())
    caption = (
        f"Test {words(scored.metric) if scored else 'scores'}, mean ± standard deviation over seeds, with trainable "
        f"parameters without the head and the learning rate. Strong: best of its column. {marks}."
    )
    return Table(caption, ["method", *budgets], rows)


def _at_budget(one: _Answer | None, best: list[_Answer]) -> list[Part]:
    if one is None:
        return [Part("")]
    if not one.results:
        why = next((row.status.partition(":")[0] for row in one.rows if row.status != "not chosen"), "")
        return [Part("to do" if _open(one) else why)]
    return [
        Part(f"{one.score} {one.marks}".rstrip(), strong=abs(one.mean - best[0].mean) <= NOISE),
        Part(f"{one.parameters:,} parameters"),
        Part(f"rate {one.first.run.arguments['learning_rate']:g}"),
    ]


def _differences(answers: list[_Answer], cells: _Cells) -> Table:
    rows, compared = [], [name for name in BASELINES if any(name in one.differences for one in answers)]
    for one in answers:
        row = [[Part(one.method)], [Part(one.budget)], [Part(one.score)]]
        for name in compared:
            found = one.differences.get(name)
            row += [[Part(str(found))], [Part(_p(found.p).removeprefix("= "))]] if found else [[Part("")], [Part("")]]
        cost = one.first.cost
        row += [[Part(f"{one.parameters:,}")], [Part(f"{cost.trainable_share_without_head:.3%}")]]
        of_seeds = [
            cells.link(cell, f"seed {result.run.seed}: {progress.tested(result)}")
            for cell, result in one.results.items()
        ]
        rows.append([*row, of_seeds])
    headers = ["method", "budget", "score"]
    for name in compared:
        headers += [f"minus {BASELINES[name]} [95 %]", "p"]
    headers += ["trainable without head", "share", "records, with their own intervals [95 %]"]
    return Table("Differences from the baselines, p-values with Holm's correction, and the records.", headers, rows, 2)


def _tried(answers: list[_Answer], cells: _Cells) -> Table:
    rows = []
    for one in answers:
        for tried in one.comparison.trace.tried if one.comparison.trace else ():
            cell = one.question.cell(cells.output_dir, tried.values, one.question.seeds[0]).name
            validation = "failed" if tried.validation is None else f"{tried.validation:.3f}"
            cells_of_row = [validation, f"{tried.epochs:g}", f"{tried.training_seconds:,.1f}"]
            rows.append(
                [
                    [Part(one.method)],
                    [Part(one.budget)],
                    [cells.link(cell, ", ".join(f"{name} {_value(value)}" for name, value in tried.values.items()))],
                    *([Part(text, strong=tried.chosen)] for text in cells_of_row),
                ]
            )
    metrics = _and(sorted({words(one.question.metric) for one in answers}))
    caption = f"Values tried, with the best validation {metrics} until they were dropped or chosen. Strong: chosen."
    return Table(caption, ["method", "budget", "values", "validation", "epochs", "training s"], rows, 3)


def _cost(answers: list[_Answer], cells: _Cells) -> Table:
    rows, totals = [], np.zeros(5)
    for one in (one for one in answers if one.rows):
        costs = [result.cost for result in one.results.values()]
        other = sum(row.training_seconds for row in one.rows if not row.score)
        sums = [
            len(one.rows),
            sum(row.training_seconds for row in one.rows),
            other,
            sum(cost.evaluation_seconds for cost in costs),
            sum(cost.cached.seconds for cost in costs if cost.cached),
        ]
        totals += sums
        memory = max((cost.memory.maximum for cost in costs if cost.memory), default=None)
        rows.append(
            [
                [Part(one.method)],
                [Part(one.budget)],
                *([Part(text)] for text in _seconds(sums)),
                [Part("" if memory is None else f"{memory / 2**20:,.0f}")],
                [Part(f"{max(cost.adapter_bytes for cost in costs) / 1000:,.1f}" if costs else "")],
            ]
        )
    if rows:
        rows.append([[Part("all")], [Part("")], *([Part(text)] for text in _seconds(totals)), [Part("")], [Part("")]])
    runs = [result for answer in answers for result in answer.results.values()]
    devices = _and(sorted({f"{run.cost.processes} x {run.cost.device}" for run in runs})) or "no device yet"
    kinds = _and(sorted({run.cost.memory.kind for run in runs if run.cost.memory})) or "not measured"
    if "resident set" in kinds:
        kinds += " of a process, which runs one cell after another"
    caption = (
        f"Cost of all cells, on {devices}; memory: {kinds}. Cells without a record, such as values that lost, leave no "
        "seconds of evaluation and of computing frozen states, and no memory."
    )
    headers = ["method", "budget", "cells", "training s", "of it without record", "evaluation s", "frozen states s"]
    return Table(caption, [*headers, "peak MiB", "adapter kB"], rows, 2)


def _seconds(sums: Any) -> list[str]:
    return [f"{sums[0]:.0f}", *(f"{value:,.1f}" for value in sums[1:])]


def _without_record(answers: list[_Answer], cells: _Cells) -> Table:
    rows = []
    for one in answers:
        left = [row for row in one.rows if not row.score and row.status != "not chosen"]
        rows += [[[cells.link(row.cell)], [Part(row.status)]] for row in left]
        more = len(one.question.seeds) - 1
        if one.comparison.pending and more:
            follow = f"{_counted(more, 'more seed')}, once settings are chosen"
            rows.append([[Part(one.question.name)], [Part(follow)]])
    return Table("What failed, does not apply, or is still to run.", ["cell", "status"], rows, 2)


def _curves(answers: list[_Answer], methods: list[str]) -> Iterator[tuple[str, str, altair.TopLevelMixin]]:
    """Test score against trainable parameters, a line per method; baselines are lines across."""
    points = [
        {
            "method": one.method,
            "budget": one.budget,
            "parameters": one.parameters,
            "score": one.mean,
            "low": one.mean - (np.std(one.scores, ddof=1) if len(one.scores) > 1 else 0),
            "high": one.mean + (np.std(one.scores, ddof=1) if len(one.scores) > 1 else 0),
        }
        for one in answers
        # A logarithm has no zero.
        if one.name not in BASELINES and one.parameters
    ]
    if not points:
        return
    metric = words(answers[0].first.metric)
    across = [
        {"score": one.mean, "called": called} for name, called in BASELINES.items() if (one := _baseline(answers, name))
    ]
    base = altair.Chart(altair.InlineData(points)).encode(
        x=altair.X("parameters:Q", title="trainable parameters without head (log)")
        .scale(type="log", nice=False, padding=15)
        .axis(format="~s", grid=False, tickCount=4),
        y=altair.Y("score:Q", title=metric).scale(zero=False),
        color=_colour(points, methods),
    )
    chart = (
        base.mark_line(strokeWidth=2)
        + base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(y=altair.Y("low:Q", title=metric), y2="high:Q")
        + base.mark_circle(size=70, opacity=1)
    )
    if across:
        rules = altair.Chart(altair.InlineData(across)).encode(y=altair.Y("score:Q", title=metric).scale(zero=False))
        chart += rules.mark_rule(strokeDash=[4, 3], color="#888")
        chart += rules.mark_text(align="left", dy=-5, fontSize=10).encode(x=altair.value(4), text="called:N")
    dashed = f" Dashed: {_and([one['called'] for one in across])}." if across else ""
    caption = f"Score against budget: mean test {metric}; bars: ± standard deviation over seeds.{dashed}"
    yield "budgets", caption, _sized(chart)


def _sensitivity(answers: list[_Answer], methods: list[str]) -> Iterator[tuple[str, str, altair.TopLevelMixin]]:
    """Validation score of each learning rate tried, for each budget; lines join what trained for as long."""
    for number, budget in enumerate(_budgets(answers), 1):
        points = [
            {
                "method": one.method,
                "rate": tried.values["learning_rate"],
                "validation": tried.validation,
                "epochs": f"{tried.epochs:g}",
                # Values of other settings that were compared with it.
                "others": ", ".join(f"{key} {value}" for key, value in tried.values.items() if key != "learning_rate"),
            }
            for one in answers
            if one.budget == budget and one.comparison.trace
            for tried in one.comparison.trace.tried
            if tried.validation is not None and tried.values.get("learning_rate", 0) > 0
        ]
        if not points:
            continue
        metric = words(next(one.question.metric for one in answers if one.budget == budget))
        base = altair.Chart(altair.InlineData(points)).encode(
            x=altair.X("rate:Q", title="learning rate (log)")
            .scale(type="log", nice=False, padding=15)
            .axis(format="~g", grid=False, values=sorted({point["rate"] for point in points}), labelOverlap=True),
            y=altair.Y("validation:Q", title=f"validation {metric}").scale(zero=False),
            color=_colour(points, methods),
            detail=["epochs:N", "others:N"],
        )
        several = len({point["epochs"] for point in points}) > 1
        marks = base.mark_point(size=60, filled=True, opacity=1)
        if several:
            legend = {"orient": "bottom", "symbolFillColor": "#888"}
            marks = marks.encode(shape=altair.Shape("epochs:N", title="epochs").legend(**legend))
        size = budget if budget == _ONE_SIZE else f"budget {budget}"
        caption = f"Learning rates, {size}: best validation {metric} with the first seed."
        if several:
            caption += " Scores may be compared at equal epochs only, which lines join: values that lost ended earlier."
        yield f"rates-{number}", caption, _sized(base.mark_line(strokeWidth=2) + marks)


def _colour(points: list[dict[str, Any]], methods: list[str]) -> altair.Color:
    """The same of a method in every picture; the legend names those of this one."""
    shown = list(dict.fromkeys(point["method"] for point in points))
    scheme = "tableau10" if len(methods) <= 10 else "tableau20"
    legend = {"values": shown, "orient": "bottom", "columns": 2, "symbolOpacity": 1, "labelLimit": 160}
    return altair.Color("method:N", title=None).scale(scheme=scheme, domain=methods).legend(**legend)


def _sized(chart: altair.LayerChart) -> altair.LayerChart:
    return chart.properties(width=_WIDTH, height=_HEIGHT, view=altair.ViewBackground(stroke=None))


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _and(names: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _markdown(text: str) -> str:
    """Text as it is: what a name or an error holds is no markup. Underscores within words are none either."""
    return re.sub(r"([\\`*<>|\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))
