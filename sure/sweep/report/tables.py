"""A sweep's answer in tables, which name the cell of each number."""

from typing import Any

import numpy as np

from sure.leaderboard.entries import words
from sure.sweep import progress
from sure.sweep.report.answers import BASELINES, MARKS, Answer, budgets_of, from_the_best, is_open
from sure.sweep.report.parts import Cells, Part, Table
from sure.sweep.report.sentences import counted, listed
from sure.task.scoring import NOISE


def tables(answers: list[Answer], with_runs: list[Answer], cells: Cells) -> list[Table]:
    """Those that have something to say."""
    found = (
        _at_budgets(answers),
        _differences(with_runs, cells),
        _tried(answers, cells),
        _cost(answers, cells),
        _without_record(answers, cells),
    )
    return [table for table in found if table.rows]


def _at_budgets(answers: list[Answer]) -> Table:
    budgets, rows = budgets_of(answers), []
    best = {budget: from_the_best([one for one in answers if one.budget == budget])[:1] for budget in budgets}
    for method in dict.fromkeys(answer.method for answer in answers):
        by_budget = {one.budget: one for one in answers if one.method == method}
        rows.append([[Part(method)], *(_at_budget(by_budget.get(budget), best[budget]) for budget in budgets)])
    scored = next((answer.first for answer in answers if answer.results), None)
    marks = "; ".join(f"{MARKS[name]} significantly better, worse than {called}" for name, called in BASELINES.items())
    caption = (
        f"Test {words(scored.metric) if scored else 'scores'}, mean ± standard deviation over seeds, with trainable "
        f"parameters without the head and the learning rate. Strong: best of its column. {marks}."
    )
    return Table(caption, ["method", *budgets], rows)


def _at_budget(one: Answer | None, best: list[Answer]) -> list[Part]:
    if one is None:
        return [Part("")]
    if not one.results:
        why = next((row.status.partition(":")[0] for row in one.rows if row.status != "not chosen"), "")
        return [Part("to do" if is_open(one) else why)]
    return [
        Part(f"{one.score} {one.marks}".rstrip(), strong=abs(one.mean - best[0].mean) <= NOISE),
        Part(f"{one.parameters:,} parameters"),
        Part(f"rate {one.first.run.arguments['learning_rate']:g}"),
    ]


def _differences(answers: list[Answer], cells: Cells) -> Table:
    rows, compared = [], [name for name in BASELINES if any(name in one.differences for one in answers)]
    for one in answers:
        row = [[Part(one.method)], [Part(one.budget)], [Part(one.score)]]
        for name in compared:
            found = one.differences.get(name)
            row += [[Part(str(found or ""))], [Part(found.p_words if found else "")]]
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


def _tried(answers: list[Answer], cells: Cells) -> Table:
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
    metrics = listed(sorted({words(one.question.metric) for one in answers}))
    caption = f"Values tried, with the best validation {metrics} until they were dropped or chosen. Strong: chosen."
    return Table(caption, ["method", "budget", "values", "validation", "epochs", "training s"], rows, 3)


def _cost(answers: list[Answer], cells: Cells) -> Table:
    rows, totals = [], np.zeros(5)
    for one in (one for one in answers if not progress.not_begun(one.question, one.rows)):
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
    devices = listed(sorted({f"{run.cost.processes} x {run.cost.device}" for run in runs})) or "no device yet"
    kinds = listed(sorted({run.cost.memory.kind for run in runs if run.cost.memory})) or "not measured"
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


def _without_record(answers: list[Answer], cells: Cells) -> Table:
    rows = []
    for one in answers:
        if to_do := progress.not_begun(one.question, one.rows):
            rows.append([[Part(one.question.name)], [Part(to_do)]])
            continue
        left = [row for row in one.rows if not row.score and row.status != "not chosen"]
        rows += [[[cells.link(row.cell)], [Part(row.status)]] for row in left]
        more = len(one.question.seeds) - 1
        if one.comparison.pending and more:
            follow = f"{counted(more, 'more seed')}, once settings are chosen"
            rows.append([[Part(one.question.name)], [Part(follow)]])
    return Table("What failed, does not apply, or is still to run.", ["cell", "status"], rows, 2)


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
