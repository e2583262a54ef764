"""A sweep's answer in pictures."""

from collections.abc import Iterator
from typing import Any

import altair
import numpy as np
import vl_convert

from sure.leaderboard.entries import words
from sure.sweep.report.answers import BASELINES, DEFAULT_SIZE, Answer, baseline_of, budgets_of
from sure.sweep.report.parts import Plot
from sure.sweep.report.sentences import listed

_WIDTH, _HEIGHT = 320, 240
# Around legends: where a picture is shown, letters may be wider than where it was drawn.
_APART = 12


def plots(answers: list[Answer], with_runs: list[Answer], number: int) -> list[Plot]:
    """Those of a section, whose number their files begin with."""
    methods = list(dict.fromkeys(answer.method for answer in answers))
    return [
        Plot(f"{number}-{name}.svg", caption, vl_convert.vegalite_to_svg(chart.to_json()))
        for name, caption, chart in (*_curves(with_runs, methods), *_sensitivity(answers, methods))
    ]


def _curves(answers: list[Answer], methods: list[str]) -> Iterator[tuple[str, str, altair.TopLevelMixin]]:
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
        {"score": one.mean, "called": called}
        for name, called in BASELINES.items()
        if (one := baseline_of(answers, name))
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
    dashed = f" Dashed: {listed([one['called'] for one in across])}." if across else ""
    caption = f"Score against budget: mean test {metric}; bars: ± standard deviation over seeds.{dashed}"
    yield "budgets", caption, _sized(chart)


def _sensitivity(answers: list[Answer], methods: list[str]) -> Iterator[tuple[str, str, altair.TopLevelMixin]]:
    """Validation score of each learning rate tried, for each budget; lines join what trained for as long."""
    for number, budget in enumerate(budgets_of(answers), 1):
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
            legend = {"orient": "bottom", "symbolFillColor": "#888", "padding": _APART}
            marks = marks.encode(shape=altair.Shape("epochs:N", title="epochs").legend(**legend))
        size = budget if budget == DEFAULT_SIZE else f"budget {budget}"
        caption = f"Learning rates, {size}: best validation {metric} with the first seed."
        if several:
            caption += " Scores may be compared at equal epochs only, which lines join: values that lost ended earlier."
        yield f"rates-{number}", caption, _sized(base.mark_line(strokeWidth=2) + marks)


def _colour(points: list[dict[str, Any]], methods: list[str]) -> altair.Color:
    """The same of a method in every picture; the legend names those of this one."""
    shown = list(dict.fromkeys(point["method"] for point in points))
    scheme = "tableau10" if len(methods) <= 10 else "tableau20"
    legend = {"values": shown, "orient": "bottom", "columns": 2, "symbolOpacity": 1, "labelLimit": 160}
    legend |= {"columnPadding": 2 * _APART, "padding": _APART}
    return altair.Color("method:N", title=None).scale(scheme=scheme, domain=methods).legend(**legend)


def _sized(chart: altair.LayerChart) -> altair.LayerChart:
    return chart.properties(width=_WIDTH, height=_HEIGHT, view=altair.ViewBackground(stroke=None))
