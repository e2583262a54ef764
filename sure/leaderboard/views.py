"""A board as text: for the terminal, Markdown and LaTeX, as CSV and JSON, of the entries that one asks for.

What is shown has been ranked with all entries of its table: leaving some out changes no rank.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from tabulate import DataRow, Line, TableFormat, tabulate

from sure import registry
from sure.errors import SureError
from sure.leaderboard.disclosure import standing
from sure.leaderboard.entries import (
    Entry,
    footnote,
    groups,
    options_differ,
    rank_label,
    score_words,
    title,
)
from sure.leaderboard.overall import BUDGETS, OVERALL_FOOTNOTE, Overall, overall, tasks, told_apart
from sure.record.allowance import parameters_of

# Of a table without shots, in a filter.
ALL_SHOTS = "all"

# What Markdown and LaTeX take for more than text.
_MARKDOWN_SPECIAL = re.compile(r"[\\`*<>|~]|\](?=\()|(?<!\w)_|_(?!\w)")
_LATEX_SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "†": r"$^\dagger$",
    "±": r"$\pm$",
}
_BOOKTABS = TableFormat(
    lineabove=Line(r"\toprule", "", "", ""),
    linebelowheader=Line(r"\midrule", "", "", ""),
    linebetweenrows=None,
    linebelow=Line(r"\bottomrule", "", "", ""),
    headerrow=DataRow("", " & ", r" \\"),
    datarow=DataRow("", " & ", r" \\"),
    padding=0,
    with_header_hide=None,
)

# What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@")


@dataclass(frozen=True)
class Filters:
    """Which entries are shown: those that have one of the values of each field that has any."""

    task: Sequence[str] = ()
    backbone: Sequence[str] = ()
    family: Sequence[str] = ()
    method: Sequence[str] = ()
    # The least and the most trainable parameters without head, each a share (`1%`) or a number (`0.9M`).
    budget: tuple[str | None, str] | None = None
    # Numbers, or `all` for entries that learnt from all utterances.
    shots: Sequence[str] = ()
    # How many an entry has at least.
    seeds: int | None = None

    def __str__(self) -> str:
        """As they are given on the command line."""
        return " ".join(self._said(field.name) for field in fields(self) if getattr(self, field.name))

    def of(self, entries: Iterable[Entry]) -> list[Entry]:
        """Those of the entries that pass. Raises `SureError` where none does, naming what there is."""
        left = everything = list(entries)
        # Nothing can be read.
        if not everything:
            return []
        for name, value_of in _FILTERED.items():
            wanted = [str(value) for value in getattr(self, name)]
            known = sorted({value_of(entry) for entry in everything})
            for value in wanted:
                if value not in known:
                    raise registry.unknown(f"{name} on this board", value, known)
            if wanted:
                left = self._passing(left, name, lambda one, of=value_of, any_of=wanted: of(one) in any_of, value_of)
        if self.budget:
            within = _within(*self.budget)
            left = self._passing(left, "budget", within, _budget)
        if self.seeds:
            left = self._passing(left, "seeds", lambda e: len(e.seeds) >= self.seeds, lambda e: f"{len(e.seeds)}")
        return left

    def _passing(
        self, entries: list[Entry], name: str, passes: Callable[[Entry], bool], said: Callable[[Entry], str]
    ) -> list[Entry]:
        left = [entry for entry in entries if passes(entry)]
        if not left:
            before = [self._said(field.name) for field in fields(self) if getattr(self, field.name)]
            others = " ".join(before[: before.index(self._said(name))])
            there = list(dict.fromkeys(map(said, sorted(entries, key=_size))))
            more = f" and {len(there) - 20} more" if len(there) > 20 else ""
            raise SureError(
                f"{self._said(name)}: no entry{f' of {others}' * bool(others)}; there "
                f"{'are' if len(there) > 1 else 'is'} {', '.join(there[:20])}{more}."
            )
        return left

    def _said(self, name: str) -> str:
        value = getattr(self, name)
        value = [each for each in value if each] if isinstance(value, Sequence) else [value]
        return f"--{name} {' '.join(map(str, value))}"


class _Table(NamedTuple):
    """Entries of one group that are shown, and all of them."""

    shown: list[Entry]
    group: list[Entry]


class _Markup(NamedTuple):
    """How a format writes what a table is made of."""

    # Of text that anyone may have written, already without control characters.
    escape: Callable[[str], str]
    # Of the scores that no other is significantly better than.
    bold: Callable[[str], str]
    style: str | TableFormat
    # From title, table and the lines about it.
    whole: Callable[[str, str, str, Sequence[str]], str]


def render(entries: Iterable[Entry], filters: Filters | None = None, form: str = "table") -> str:
    """Of ranked entries, all of a board or those of a task, what passes the filters.

    `form` is table, csv, json, markdown or latex. Raises `SureError` where nothing passes.
    """
    filters, entries = filters or Filters(), list(entries)
    passed = {entry.submission for entry in filters.of(entries)}
    tables = [_Table([entry for entry in group if entry.submission in passed], group) for group in groups(entries)]
    tables = [table for table in tables if table.shown]
    if form == "csv":
        return _csv(tables)
    if form == "json":
        return _json(tables, filters)
    markup = _MARKUPS[form]
    parts = [_table(table, markup, _note(table, filters)) for table in tables]
    if tasks(entries) > 1 and not (filters.task or filters.budget or filters.shots or filters.seeds):
        systems = {(entry.backbone.model_dump_json(), entry.method.name) for table in tables for entry in table.shown}
        of_systems = [row for row in overall(entries) if (row.backbone.model_dump_json(), row.method) in systems]
        parts.append(_overall_table(of_systems, markup))
    return "\n\n".join(parts)


def printable(text: str) -> str:
    """A record comes from anyone; its text must not steer the terminal, nor swap what is read first."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _note(table: _Table, filters: Filters) -> str:
    if len(table.shown) == len(table.group):
        return ""
    return (
        f"Filtered ({filters}): {len(table.shown)} of {len(table.group)} entries; ranks, differences and † are those "
        "of the whole table."
    )


def _table(table: _Table, markup: _Markup, note: str) -> str:
    headers = ["rank", "method", "backbone", "score [95 %]", "to the first [95 %]", "trainable", "share", "seconds"]
    headers += ["seeds", "claims"]
    sides = ["left"] * 5 + ["right"] * 4 + ["left"]
    rows = [_row(entry, markup) for entry in table.shown]
    if any(entry.settings for entry in table.group):
        headers.insert(2, "settings")
        sides.insert(2, "left")
        for row, entry in zip(rows, table.shown, strict=True):
            row.insert(2, markup.escape(printable(entry.settings)))
    if options_differ(table.group):
        headers, sides = [*headers, "task options"], [*sides, "left"]
        rows = [[*row, markup.escape(printable(entry.options))] for row, entry in zip(rows, table.shown, strict=True)]
    lines = [line for line in (footnote(table.group), note) if line]
    # Of several tables of one task, each has a label of its own.
    first = table.group[0]
    label = "-".join((first.task, first.fingerprint[:8], *first.scored_by.split()))
    return _whole(title(table.group), label, headers, rows, sides, lines, markup)


def _row(entry: Entry, markup: _Markup) -> list[str]:
    cost = entry.cost
    method = entry.method.name + ("†" if entry.no_better_than_probe else "")
    backbone = entry.backbone.name + ("" if entry.backbone.pretrained else " (untrained backbone)")
    score = markup.escape(score_words(entry))
    cells = [
        rank_label(entry),
        printable(method),
        printable(backbone),
        "",
        str(entry.difference or ""),
        f"{cost.trainable_parameters:,}" if cost else "",
        f"{cost.trainable_share:.2%}" if cost else "",
        f"{cost.training_seconds:.0f}" if cost else "",
        ", ".join(map(str, entry.seeds)),
        standing(entry.verified),
    ]
    cells = [markup.escape(cell) for cell in cells]
    cells[3] = markup.bold(score) if entry.rank == 1 else score
    return cells


def _overall_table(rows: list[Overall], markup: _Markup) -> str:
    headers = ["method", "backbone", "tasks", "mean rank", "SUPERB's score", *BUDGETS, "area"]
    cells = [
        [
            printable(row.method),
            printable(backbone),
            str(row.tasks),
            f"{row.mean_rank:.2f}",
            *(
                "-" if score is None else f"{score:.0f}"
                for score in (row.superb_score, *row.at_budget.values(), row.area)
            ),
        ]
        for row, backbone in zip(rows, told_apart([row.backbone for row in rows]), strict=True)
    ]
    cells = [[markup.escape(cell) for cell in row] for row in cells]
    sides = ["left"] * 2 + ["right"] * (len(headers) - 2)
    return _whole("over all tasks", "overall", headers, cells, sides, [OVERALL_FOOTNOTE], markup)


def _whole(
    heading: str,
    label: str,
    headers: list[str],
    rows: list[list[str]],
    sides: list[str],
    lines: list[str],
    markup: _Markup,
) -> str:
    heading = markup.escape(printable(heading))
    headers = [markup.escape(header) for header in headers]
    text = tabulate(rows, headers, tablefmt=markup.style, disable_numparse=True, colalign=sides)
    if markup.style is _BOOKTABS:
        columns = "".join(side[0] for side in sides)
        text = f"\\begin{{tabular}}{{{columns}}}\n{text}\n\\end{{tabular}}"
    return markup.whole(heading, label, text, [markup.escape(printable(line)) for line in lines])


def _plain(heading: str, label: str, table: str, lines: Sequence[str]) -> str:
    return "\n".join([heading, table, *lines])


def _markdown(heading: str, label: str, table: str, lines: Sequence[str]) -> str:
    bold = "Bold: rank 1." if "**" in table else ""
    below = " ".join([*lines, bold]).strip()
    return f"### {heading}\n\n{table}" + (f"\n\n{below}" if below else "")


def _latex(heading: str, label: str, table: str, lines: Sequence[str]) -> str:
    bold = "Bold: rank 1." if r"\textbf" in table else ""
    caption = " ".join([f"{heading[:1].upper()}{heading[1:]}.", *lines, bold]).strip()
    name = re.sub(r"[^A-Za-z0-9-]+", "-", label).strip("-")
    return (
        "% \\usepackage{booktabs,adjustbox}\n"
        f"\\begin{{table}}\n\\centering\n\\caption{{{caption}}}\n\\label{{tab:{name}}}\n"
        f"\\begin{{adjustbox}}{{max width=\\textwidth}}\n{table}\n\\end{{adjustbox}}\n\\end{{table}}"
    )


def _escaped_in_latex(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(character, character) for character in text)


_MARKUPS = {
    "table": _Markup(str, str, "simple", _plain),
    "markdown": _Markup(
        lambda text: _MARKDOWN_SPECIAL.sub(r"\\\g<0>", text), lambda text: f"**{text}**", "github", _markdown
    ),
    "latex": _Markup(_escaped_in_latex, lambda text: f"\\textbf{{{text}}}", _BOOKTABS, _latex),
}


def _flat(entry: Entry, ranked: int) -> dict[str, Any]:
    """An entry as a row of a spreadsheet: what it is, its marks, its numbers, unrounded."""
    score, cost, difference = entry.score, entry.cost, entry.difference
    return {
        "task": entry.task,
        "options": entry.options,
        "corpus": entry.fingerprint,
        "synthetic": entry.synthetic,
        "metric": entry.metric,
        "higher_is_better": score.higher_is_better if score else None,
        # Among how many, whatever of them is shown.
        "rank": entry.rank,
        "ranked_entries": ranked,
        "tied": entry.tied,
        "no_better_than_probe": entry.no_better_than_probe,
        "method": entry.method.name,
        "settings": entry.settings,
        "backbone": entry.backbone.name,
        "family": entry.backbone.family,
        "pretrained": entry.backbone.pretrained,
        "score": score.value if score else None,
        "low": score.low if score and score.determined else None,
        "high": score.high if score and score.determined else None,
        "interval": score.method if score else None,
        "deviation_over_seeds": score.deviation if score else None,
        "to_the_first": difference.value if difference else None,
        "to_the_first_low": difference.low if difference else None,
        "to_the_first_high": difference.high if difference else None,
        "to_the_first_p": difference.p if difference else None,
        "trainable_parameters": cost.trainable_parameters if cost else None,
        "trainable_share": cost.trainable_share if cost else None,
        "trainable_parameters_without_head": entry.trainable_parameters_without_head,
        "trainable_share_without_head": cost.trainable_share_without_head if cost else None,
        "training_seconds": cost.training_seconds if cost else None,
        "seeds": " ".join(map(str, entry.seeds)),
        "folds": " ".join(map(str, entry.folds or ())),
        "status": entry.status,
        "claims": standing(entry.verified),
        "unchecked": "; ".join(entry.unchecked),
        "submission": entry.submission,
    }


def _csv(tables: list[_Table]) -> str:
    rows = []
    for table in tables:
        ranked = sum(entry.rank is not None for entry in table.group)
        rows += [_flat(entry, ranked) for entry in table.shown]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue().rstrip("\n")


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(_FORMULA) else printable(value)


def _json(tables: list[_Table], filters: Filters) -> str:
    given = {field.name: getattr(filters, field.name) for field in fields(filters) if getattr(filters, field.name)}
    content = {
        "filters": given,
        "tables": [
            {
                "title": title(table.group),
                "about": footnote(table.group),
                # Ranks are among these, whatever of them is shown.
                "entries_in_table": len(table.group),
                "entries": [
                    entry.model_dump(mode="json") | {"no_better_than_probe": entry.no_better_than_probe}
                    for entry in table.shown
                ],
            }
            for table in tables
        ],
    }
    return json.dumps(content, indent=2)


def _shots(entry: Entry) -> str:
    given = [option.partition("=")[2] for option in entry.options.split() if option.startswith("shots=")]
    return given[-1] if given else ALL_SHOTS


_FILTERED: dict[str, Callable[[Entry], str]] = {
    "task": lambda entry: entry.task,
    "backbone": lambda entry: entry.backbone.name,
    "family": lambda entry: entry.backbone.family,
    "method": lambda entry: entry.method.name,
    "shots": _shots,
}


def _within(least: str | None, most: str) -> Callable[[Entry], bool]:
    def passes(entry: Entry) -> bool:
        if entry.cost is None:
            return False
        all_parameters = entry.cost.total_parameters - entry.cost.head_parameters
        low = parameters_of(least, all_parameters) if least else 0
        return low <= entry.trainable_parameters_without_head <= parameters_of(most, all_parameters)

    # Said before any entry is looked at.
    for limit in (least, most):
        if limit:
            parameters_of(limit, 1)
    return passes


def _budget(entry: Entry) -> str:
    if entry.cost is None:
        return entry.status
    return f"{entry.trainable_parameters_without_head:,} ({entry.cost.trainable_share_without_head:.3%})"


def _size(entry: Entry) -> int:
    return entry.trainable_parameters_without_head or 0
