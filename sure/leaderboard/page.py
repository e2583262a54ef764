"""The leaderboard as one HTML file that opens from disk: its data as JSON, a script that draws them, nothing remote."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from itertools import groupby
from typing import Any

import altair
import jinja2
import vl_convert

from sure.leaderboard.disclosure import standing
from sure.leaderboard.entries import (
    MOST_COMPARED,
    Entry,
    entry_path,
    folds,
    footnote,
    groups,
    options_differ,
    rank_label,
    title,
    words,
)
from sure.leaderboard.overall import BUDGETS, OVERALL_FOOTNOTE, overall, tasks, told_apart
from sure.leaderboard.published import COLUMNS, HEADS_FOOTNOTE, Published, beside
from sure.leaderboard.submission import file_name
from sure.record import BackboneInfo

# Told apart by whoever confuses red and green, on white and (second) on nearly black. As there are as many methods as
# colours and shapes have no common divisor, neighbours differ in both, and the first 56 in one of them.
COLOURS = (
    ("#0068ab", "#62b5f5"),
    ("#c24e00", "#f5985a"),
    ("#007d5b", "#43c9a0"),
    ("#a3478d", "#e59ad2"),
    ("#7d6500", "#d8bd4a"),
    ("#2d3640", "#d5dae0"),
    ("#3f8fc4", "#9fd3f7"),
)
# As Vega names them.
SHAPES = ("circle", "square", "diamond", "cross", "triangle-up", "triangle-down", "triangle-right", "triangle-left")

_WIDTH, _HEIGHT = 560, 320
# Of larger tables, a plot has the best and the front; more would hide one another.
_MOST_DRAWN = 200
_PARAMETERS = (
    altair.X("parameters:Q", title="trainable parameters (log)").scale(type="log").axis(format="~s", grid=False)
)


def page(entries: Iterable[Entry], in_print: Iterable[Published] = ()) -> str:
    """The whole page; the same entries, and the same results in print, give the same text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sure.leaderboard", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    folder = files("sure.leaderboard")
    style = _variables() + (folder / "page.css").read_text(encoding="utf-8")
    script = (folder / "page.js").read_text(encoding="utf-8")
    entries = list(entries)
    # In JSON, "<" stands in texts only. Without it none can end the element that holds them all.
    data = json.dumps(
        _data(entries, list(in_print)), ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).replace("<", "\\u003c")
    return environment.get_template("page.html").render(
        style=style,
        script=script,
        data=data,
        # Nothing else runs, and nothing is fetched.
        policy=f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'",
        plots=sorted({f"{file_name(entry.task)}.svg" for entry in entries if entry.score}),
        empty=not entries,
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _variables() -> str:
    def of(theme: int) -> str:
        return " ".join(f"--method{number}: {pair[theme]};" for number, pair in enumerate(COLOURS))

    return f":root {{ {of(0)} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {of(1)} }} }}\n"


class _Interned:
    """Values that many entries have, each once."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any, shown: Callable[[Any], Any] = lambda value: value) -> int:
        """Where it is among them, as it is to be `shown`."""
        key = json.dumps(value, sort_keys=True)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(shown(value))
        return self._places[key]


def _data(entries: list[Entry], in_print: list[Published]) -> dict[str, Any]:
    """What the page draws. Entries are lists by field, so that ten thousand of them repeat no names."""
    methods = {name: number for number, name in enumerate(_methods(entries))}
    backbones, configs, settings, provenances, claims = (_Interned() for _ in range(5))
    grouped = list(groups(entries))
    tables = []
    for group in grouped:
        first, others = group[0], other_metrics(group)
        front = {entry.submission for entry in pareto_front(group)}
        places = {entry.submission: place for place, entry in enumerate(group)}
        rows = []
        for entry in group:
            score, cost, difference = entry.score, entry.cost, entry.difference
            rows.append(
                {
                    "path": entry_path(entry),
                    "runs": [[run.submission, run.seed, run.fold, _short(run.score)] for run in entry.runs],
                    "rank": entry.rank,
                    "tied": entry.tied,
                    "method": methods[entry.method.name],
                    "backbone": backbones.place(entry.backbone.model_dump(mode="json")),
                    "config": configs.place(entry.method.config, _texts),
                    "provenance": provenances.place(_made_with(entry)),
                    "settings": settings.place(entry.settings),
                    "options": entry.options,
                    "error": entry.error,
                    "front": entry.submission in front,
                    "probe": entry.no_better_than_probe,
                    "better_than": [places[name] for name in entry.better_than or ()],
                    "score": score and _short(score.value),
                    "low": _short(score.low) if score and score.determined else None,
                    "high": _short(score.high) if score and score.determined else None,
                    "deviation": score and _short(score.deviation),
                    "difference": difference
                    and [_short(each) for each in (difference.value, difference.low, difference.high, difference.p)],
                    "validation": _short(entry.validation[entry.metric]) if score else None,
                    "parameters": cost and cost.trainable_parameters,
                    "without_head": entry.trainable_parameters_without_head,
                    "share": cost and _short(cost.trainable_share),
                    "share_without_head": cost and _short(cost.trainable_share_without_head),
                    "seconds": cost and _short(cost.training_seconds),
                    "memory": _short(cost.memory.maximum / 2**20) if cost and cost.memory else None,
                    "adapter": cost and _short(cost.adapter_bytes / 1000),
                    "macs": cost and _short(cost.macs_per_second / 1e9),
                    "standing": standing(entry.verified),
                    "claims": claims.place(_claims(entry)),
                }
                | {
                    f"other{number}": _short(entry.test[name].value) if name in entry.test else None
                    for number, name in enumerate(others)
                }
            )
        lower = {name: not score.higher_is_better for entry in reversed(group) for name, score in entry.test.items()}
        alike = [each[0] for each in grouped if each[0].task == first.task]
        metric = words(first.metric)
        apart = f", {first.fingerprint[:8]}" if len(alike) > 1 else ""
        apart += f", {first.scored_by}" if first.scored_by else ""
        tables.append(
            {
                "id": "-".join((first.task, first.metric, first.fingerprint[:8], *first.scored_by.split())),
                "task": first.task,
                "title": title(group),
                "heading": f"{first.task}: {metric}",
                "label": f"{first.task}{apart}",
                "short": first.task.replace("_", " ") + apart,
                "metric": metric,
                # WER, EER, UAR.
                "metric_short": "".join(word[0].upper() for word in named)
                if len(named := metric.split()) == 3
                else metric,
                "lower": lower.get(first.metric, False),
                "lowers": {"score": lower.get(first.metric, False)}
                | {f"other{number}": lower[name] for number, name in enumerate(others)},
                "folds": folds(first),
                "folded": first.over_folds,
                "fingerprint": first.fingerprint,
                "synthetic": first.synthetic,
                "footnote": footnote(group),
                "others": [words(name) for name in others],
                "options": options_differ(group),
                "compared": all(entry.better_than is not None for entry in group if entry.score),
                "published": [_printed(row) for row in beside(in_print, first.task, first.options)],
                "entries": {name: [row[name] for row in rows] for name in rows[0]},
            }
        )
    over_all = [
        {"method": methods[row.method], "backbone": backbones.place(row.backbone.model_dump(mode="json"))}
        | {name: _short(getattr(row, name)) for name in ("tasks", "mean_rank", "superb_score", "area")}
        | {f"budget{number}": _short(row.at_budget[name]) for number, name in enumerate(BUDGETS)}
        for row in (overall(entries) if tasks(entries) > 1 else ())
    ]
    told = told_apart([BackboneInfo.model_validate(one) for one in backbones.values])
    return {
        "methods": list(methods),
        "colours": len(COLOURS),
        "shapes": SHAPES,
        "backbones": [one | {"told": text} for one, text in zip(backbones.values, told, strict=True)],
        "configs": configs.values,
        "settings": settings.values,
        "provenances": provenances.values,
        "claims": claims.values,
        "budgets": list(BUDGETS.items()),
        "most_compared": MOST_COMPARED,
        "printed_columns": COLUMNS,
        "printed_footnote": HEADS_FOOTNOTE,
        "tables": tables,
        "overall": over_all,
        "overall_footnote": OVERALL_FOOTNOTE,
    }


def _printed(row: Published) -> dict[str, Any]:
    return {
        "cells": row.cells,
        "source": f"{row.paper}, {row.table}",
        "link": row.link,
        "differs": row.differs,
    }


def _methods(entries: Iterable[Entry]) -> list[str]:
    """Of a board; the place of a method decides its colour and shape, whatever is shown of the board."""
    return sorted({entry.method.name for entry in entries})


def _short(value: float | None) -> float | None:
    """More digits than are shown anywhere, fewer than a float has."""
    return value if value is None or isinstance(value, int) else float(f"{value:.6g}")


def _texts(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in config.items()
    ]


def _made_with(entry: Entry) -> list[str]:
    provenance = entry.provenance
    lines = [f"{package} {version}" for package, version in provenance.versions.items()]
    lines.append(f"Python {provenance.python}")
    if provenance.commit:
        lines.append(f"commit {provenance.commit[:12]}")
    return lines + [f"plug-in {plugin.kind} {plugin.name} (SHA-256 {plugin.sha256[:12]})" for plugin in entry.plugins]


def _claims(entry: Entry) -> list[tuple[str, str]]:
    """What nobody has checked, and what its submitter says."""
    said = entry.disclosure.model_dump(exclude_none=True) if entry.disclosure else {}
    unchecked = [("not checked", "; ".join(entry.unchecked))] if entry.unchecked else []
    return unchecked + [(words(name), str(value)) for name, value in said.items()]


def plots(entries: Iterable[Entry]) -> dict[str, str]:
    """By task, its chart as SVG, one above the other where there are several corpora; colours are those of the page."""
    entries = list(entries)
    methods = _methods(entries)
    scored = [group for group in groups(entries) if any(entry.score for entry in group)]
    return {
        task: vl_convert.vegalite_to_svg(altair.vconcat(*(plot(group, methods) for group in of_task)).to_json())
        for task, of_task in groupby(scored, key=lambda group: group[0].task)
    }


def plot(group: list[Entry], methods: list[str]) -> altair.Chart:
    """Test score with its 95 % interval against trainable parameters, and the Pareto front."""
    scored = [entry for entry in group if entry.score]
    on_front = pareto_front(group)
    names = {entry.submission for entry in on_front}
    drawn = scored[:_MOST_DRAWN] + [entry for entry in scored[_MOST_DRAWN:] if entry.submission in names]
    points, front = [_point(entry) for entry in drawn], [_point(entry) for entry in on_front]
    # Names of methods and backbones come from records: they are data here, never part of an expression.
    shown = [name for name in methods if any(point["method"] == name for point in points)]
    numbers = [methods.index(name) for name in shown]
    legend = {"orient": "bottom", "columns": 3, "symbolOpacity": 1}
    base = altair.Chart(_inline(points)).encode(
        x=_PARAMETERS,
        color=altair.Color("method:N", title=None)
        .scale(domain=shown, range=[COLOURS[number % len(COLOURS)][0] for number in numbers])
        .legend(**legend),
    )
    score = altair.Y("score:Q", title=words(group[0].metric)).scale(zero=False)
    line = (
        altair.Chart(_inline(front))
        .mark_line(interpolate="step-after", strokeDash=[4, 3], color="#888")
        .encode(x=_PARAMETERS, y=score)
    )
    bars = base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(y=altair.Y("low:Q", title=""), y2="high:Q")
    marks = base.mark_point(size=70, opacity=1, filled=True).encode(
        y=score,
        shape=altair.Shape("method:N", title=None)
        .scale(domain=shown, range=[SHAPES[number % len(SHAPES)] for number in numbers])
        .legend(**legend),
    )
    subtitle = "bars: 95 % intervals; dashed: Pareto front"
    if len(drawn) < len(scored):
        subtitle += f"; the best {_MOST_DRAWN} of {len(scored):,} entries and the front"
    heading = altair.Title(title(group), subtitle=subtitle, anchor="start")
    return (line + bars + marks).properties(
        width=_WIDTH, height=_HEIGHT, title=heading, view=altair.ViewBackground(stroke=None)
    )


def _inline(points: list[dict[str, Any]]) -> altair.InlineData:
    # As a text: of values there would be many copies.
    return altair.InlineData(json.dumps(points), format=altair.JsonDataFormat(type="json"))


def pareto_front(group: list[Entry]) -> list[Entry]:
    """Entries that no other beats: none has fewer parameters and scores at least as well, or the reverse."""
    front: list[Entry] = []
    # Along rising parameters, what is better than all before it, and what is its equal in both.
    for entry in sorted((entry for entry in group if entry.score), key=lambda entry: (_aims(entry), entry.submission)):
        if not front or _aims(entry)[1] < _aims(front[-1])[1] or _aims(entry) == _aims(front[-1]):
            front.append(entry)
    return front


def _aims(entry: Entry) -> tuple[int, float]:
    """What is to be small."""
    return entry.cost.trainable_parameters, -entry.score.value if entry.score.higher_is_better else entry.score.value


def _point(entry: Entry) -> dict[str, Any]:
    return {
        "method": entry.method.name,
        "backbone": entry.backbone.name,
        "rank": rank_label(entry),
        "seeds": ", ".join(map(str, entry.seeds)),
        # A logarithm has no zero.
        "parameters": max(1, entry.cost.trainable_parameters),
        "score": entry.score.value,
        "low": entry.score.low,
        "high": entry.score.high,
    }


def other_metrics(group: list[Entry]) -> list[str]:
    """Of all entries, in the order in which they come: some tasks score more where they are told to."""
    return [name for name in dict.fromkeys(name for entry in group for name in entry.test) if name != group[0].metric]
