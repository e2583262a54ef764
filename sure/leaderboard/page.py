"""The leaderboard as one HTML file that opens from disk: Vega-Altair charts, DataTables tables, nothing remote."""

import json
from collections.abc import Iterable
from importlib.resources import files
from itertools import groupby
from typing import Any

import altair
import jinja2
import vl_convert

from sure.leaderboard.entries import Entry, folds, footnote, groups, options_differ, rank_label, title, words
from sure.leaderboard.overall import BUDGETS, OVERALL_FOOTNOTE, overall, tasks
from sure.leaderboard.submission import file_name

_WIDTH, _HEIGHT = 560, 320
_PARAMETERS = (
    altair.X("parameters:Q", title="trainable parameters (log)").scale(type="log").axis(format="~s", grid=False)
)
_TOOLTIP = [
    "method:N",
    "backbone:N",
    "rank:N",
    "seeds:N",
    altair.Tooltip("score:Q", format=".3f"),
    altair.Tooltip("low:Q", format=".3f", title="95 % from"),
    altair.Tooltip("high:Q", format=".3f", title="to"),
    altair.Tooltip("parameters:Q", format=",", title="trainable parameters"),
]


def page(entries: Iterable[Entry]) -> str:
    """The whole page; the same entries give the same text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sure.leaderboard", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["words"] = words
    environment.globals |= {"rank_label": rank_label, "footnote": footnote, "folds": folds}
    entries = list(entries)
    datatables = files("itables") / "html"
    return environment.get_template("page.html").render(
        sections=[_section(group) for group in groups(entries)],
        overall=overall(entries) if tasks(entries) > 1 else [],
        budgets=list(BUDGETS),
        overall_footnote=OVERALL_FOOTNOTE,
        libraries={
            "vega": vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"),
            "datatables": (datatables / "dt_bundle.js").read_text(encoding="utf-8"),
            "style": (datatables / "dt_bundle.css").read_text(encoding="utf-8"),
        },
    )


def plots(entries: Iterable[Entry]) -> dict[str, str]:
    """By task, its chart as SVG, one above the other where there are several corpora."""
    scored = [group for group in groups(entries) if any(entry.score for entry in group)]
    return {
        task: vl_convert.vegalite_to_svg(altair.vconcat(*map(plot, of_task)).to_json())
        for task, of_task in groupby(scored, key=lambda group: group[0].task)
    }


def plot(group: list[Entry]) -> altair.Chart:
    """Test score with its 95 % interval against trainable parameters, and the Pareto front."""
    points = [_point(entry) for entry in group if entry.score]
    front = [_point(entry) for entry in pareto_front(group)]
    # Names of methods and backbones come from records: they are data here, never part of an expression.
    base = altair.Chart(altair.InlineData(points)).encode(
        x=_PARAMETERS, color=altair.Color("method:N", title=None).legend(orient="bottom", columns=3, symbolOpacity=1)
    )
    score = altair.Y("score:Q", title=words(group[0].metric)).scale(zero=False)
    line = (
        altair.Chart(altair.InlineData(front))
        .mark_line(interpolate="step-after", strokeDash=[4, 3], color="#888")
        .encode(x=_PARAMETERS, y=score)
    )
    bars = base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(y=altair.Y("low:Q", title=""), y2="high:Q")
    circles = base.mark_circle(size=90, opacity=1).encode(y=score, tooltip=_TOOLTIP)
    heading = altair.Title(title(group), subtitle="bars: 95 % intervals; dashed: Pareto front", anchor="start")
    return (line + bars + circles).properties(
        width=_WIDTH, height=_HEIGHT, title=heading, view=altair.ViewBackground(stroke=None)
    )


def pareto_front(group: list[Entry]) -> list[Entry]:
    """Entries that no other beats: none has fewer parameters and scores at least as well, or the reverse."""
    scored = [entry for entry in group if entry.score]
    front = [entry for entry in scored if not any(_dominates(other, entry) for other in scored)]
    return sorted(front, key=lambda entry: (entry.cost.trainable_parameters, entry.submission))


def _dominates(one: Entry, other: Entry) -> bool:
    mine, theirs = _aims(one), _aims(other)
    return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))


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


def _section(group: list[Entry]) -> dict[str, Any]:
    scored = any(entry.score for entry in group)
    chart = json.loads(plot(group).properties(width="container", title="").to_json()) if scored else None
    return {
        "first": group[0],
        "entries": group,
        "chart": chart,
        "svg": f"{file_name(group[0].task)}.svg",
        "front": {entry.submission for entry in pareto_front(group)},
        "others": other_metrics(group),
        "options": options_differ(group),
    }
