"""`sure budget`."""

import argparse
import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sure import registry
from sure.cli.shared import positive
from sure.errors import SureError

if TYPE_CHECKING:
    from sure.backbone import MissingRole
    from sure.budget import Budget, Budgets
    from sure.method.fitting import OutOfReach

# SURE's emotions, in whose counts the head tells so many apart.
_LABELS = 11

_PLOTS = (".pdf", ".png", ".svg")


def add_to(commands: argparse._SubParsersAction) -> None:
    """Its parser, as a subcommand of `sure`."""
    budget = commands.add_parser("budget", help="compare what methods cost on a backbone, without training or weights")
    budget.add_argument(
        "--backbone",
        default="wav2vec2:large",
        help="hub id, folder with a config.json, or <family>:<size> (default: wav2vec2:large, as SURE has it)",
    )
    budget.add_argument("--backbone_options", nargs="*", default=[], metavar="NAME=VALUE", help="as for `sure train`")
    budget.add_argument(
        "--methods", nargs="+", metavar="METHOD", help="default: every method of SURE; all: those of PEFT too"
    )
    budget.add_argument(
        "--budget",
        nargs="+",
        default=[],
        metavar="SIZE",
        help="trainable parameters without head, as a share of the backbone (1%%) or a number (0.9M): each method with "
        "the largest setting that each of them allows",
    )
    budget.add_argument("--task", help="with this task's head (default: a classifier of --labels)")
    budget.add_argument("--task_options", nargs="*", default=[], metavar="NAME=VALUE", help="as for `sure train`")
    budget.add_argument(
        "--labels",
        type=positive,
        nargs="+",
        metavar="NUMBER",
        help=f"what the head tells apart (default: {_LABELS} labels, as in SURE's counts): needed of a task that has "
        "them from its corpus, such as its characters or training speakers; several numbers for labels in several "
        "columns",
    )
    budget.add_argument(
        "--batch", type=positive, default=8, help="utterances of the training step whose memory is estimated (8)"
    )
    budget.add_argument("--seconds", type=positive, default=10, help="their length (10)")
    budget.add_argument("--format", choices=["table", "csv", "json"], default="table", help="what is printed")
    budget.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    budget.add_argument("--plot", type=Path, metavar="FILE", help=f"also draw them ({', '.join(_PLOTS)})")
    budget.set_defaults(run=_budget)


def _budget(arguments: argparse.Namespace) -> None:
    if arguments.plot and arguments.plot.suffix not in _PLOTS:
        raise SureError(f"--plot {arguments.plot}: name a file that ends in one of {', '.join(_PLOTS)}.")

    with _importing():
        from sure.backbone import MissingRole
        from sure.backbone.loading import ALIASES
        from sure.budget import Batch, Budgets
        from sure.method import by_name
        from sure.method.fitting import OutOfReach
        from sure.record.allowance import parameters_of
        from sure.runner.arguments import parse_options

        labels = tuple(arguments.labels or (() if arguments.task else (_LABELS,)))
        build_head, head = _head(arguments.task, parse_options(arguments.task_options, "--task_options"), labels)
        counting = Budgets(
            arguments.backbone,
            build_head,
            parse_options(arguments.backbone_options, "--backbone_options"),
            Batch(arguments.batch, arguments.seconds),
        )
    methods = arguments.methods or registry.names("method")
    names = by_name.names() if methods == ["all"] else methods
    for budget in arguments.budget or ():
        parameters_of(budget, 1)
    allowed = {name: arguments.budget if by_name.dimensions(name) else [] for name in names}
    # Heads of other tasks have other sizes.
    counted = (ALIASES.get(arguments.backbone, arguments.backbone), *labels, None) if not arguments.task else None
    rows, beyond = [], []
    for (name, sizes), budgets in zip(allowed.items(), _counts(counting, allowed), strict=True):
        published = {(one.backbone, one.labels, one.preset): one.parameters for one in by_name.published(name)}
        if isinstance(budgets, MissingRole):
            beyond.append(f"{name}: {budgets}")
            continue
        for size, found in zip(sizes or [None], budgets, strict=True):
            if isinstance(found, OutOfReach):
                beyond.append(str(found).removeprefix("--method_options "))
            else:
                rows.append(_row(name, size, published.get(counted) if size is None else None, found))
    if arguments.plot:
        _plot(rows, f"{arguments.backbone}, {head}", arguments.plot)
    if arguments.format == "json":
        print(json.dumps(rows, indent=2))
    elif arguments.format == "csv":
        _print_csv(rows)
    else:
        print(f"{arguments.backbone}, {head}")
        _print_table(rows, bool(arguments.budget))
        print(
            f"Training MB: an estimate for a step of Adam with {arguments.batch} utterances of {arguments.seconds} s, "
            "in float32, with\nfused attention: weights, gradients, moments, and what the forward pass keeps."
            + " Measured: the same on this GPU."
            * any(row["measured_bytes"] for row in rows)
        )
    for message in beyond:
        # Other programs read the table alone.
        print(f"Not possible: {message}", file=sys.stdout if arguments.format == "table" else sys.stderr)


def _counts(counting: "Budgets", allowed: dict[str, list[str]]) -> Iterator["list[Budget | OutOfReach] | MissingRole"]:
    """Of each method its budgets, or why it has none; on Linux with a process for every core."""
    import torch

    # Elsewhere a process would begin with the imports, and what has used a GPU cannot be forked.
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" and not torch.cuda.is_available() else 1
    if cores == 1 or len(allowed) == 1:
        yield from (_count(counting, *one) for one in allowed.items())
        return
    _inherited.append(counting)
    try:
        with ProcessPoolExecutor(min(cores, len(allowed)), get_context("fork"), torch.set_num_threads, (1,)) as pool:
            yield from pool.map(_count_inherited, allowed.items())
    finally:
        _inherited.clear()


# What processes that count have from this one, since a function that builds a head cannot be sent to them.
_inherited: list["Budgets"] = []


def _count_inherited(one: tuple[str, list[str]]) -> "list[Budget | OutOfReach] | MissingRole":
    return _count(_inherited[-1], *one)


def _count(counting: "Budgets", name: str, sizes: list[str]) -> "list[Budget | OutOfReach] | MissingRole":
    from sure.backbone import MissingRole

    try:
        return counting.of(name, allowed=sizes)
    except MissingRole as error:
        return error


@contextmanager
def _importing() -> Iterator[None]:
    """Leave what is imported to the end of the process: else the search for garbage takes a fifth of this command."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _head(name: str | None, options: dict[str, Any], labels: tuple[int, ...]) -> tuple[Callable[[int], Any], str]:
    """What builds a task's head from a backbone's width, and words for it. Without a task, a classifier's."""
    from sure.heads import ClassificationHead, CTCHead
    from sure.task import task_with_options
    from sure.task.classification import ClassificationTask
    from sure.task.speaker_verification import SpeakerVerificationTask
    from sure.task.speech_recognition.transcription import TranscriptionTask

    if name is None:
        if options:
            raise SureError("--task_options: of which task? Name it with --task.")
        return lambda width: ClassificationHead(width, *labels), f"head of {_said(labels)} labels"
    task = task_with_options(name, options)
    if isinstance(task, ClassificationTask):
        known = task.labels.values() if isinstance(task.labels, dict) else [task.labels] if task.labels else []
        labels = _labels(task.name, "labels", tuple(map(len, known)), labels, len(task.label_columns))
        return lambda width: ClassificationHead(width, *labels), f"{name}'s head of {_said(labels)} labels"
    if isinstance(task, SpeakerVerificationTask) and not task.reads_every_layer:
        (task.training_speakers,) = _labels(name, "training speakers", (), labels, 1)
        return task.build_head, f"{name}'s head of {_said(labels)} speakers"
    if isinstance(task, TranscriptionTask):
        (tokens,) = _labels(name, "tokens, a blank among them", (), labels, 1)
        return lambda width: CTCHead(width, tokens), f"{name}'s head of {tokens} tokens"
    raise SureError(
        f"--task {name}: the head is counted of tasks that classify, of speech recognition with CTC, and of speaker "
        "verification on the last hidden state."
    )


def _labels(name: str, what: str, known: tuple[int, ...], given: tuple[int, ...], columns: int) -> tuple[int, ...]:
    """How many labels each column of a task has. Raises `SureError` where nobody says it, or two say otherwise."""
    if known and given and known != given:
        raise SureError(f"--labels {_said(given)}: {name} has {_said(known)}; leave --labels out.")
    if not known and len(given) != columns:
        each = "" if columns == 1 else f", a number for each of its {columns} columns"
        raise SureError(f"--task {name} has its {what} from its corpus: say how many with --labels{each}.")
    return known or given


def _said(labels: tuple[int, ...]) -> str:
    return " + ".join(map(str, labels))


def _row(name: str, size: str | None, published: int | None, found: Any) -> dict[str, Any]:
    import dataclasses

    return (
        {"method": name, "budget": size, "setting": found.setting, "published": published}
        | dataclasses.asdict(found)
        | {
            "share": found.trainable_share,
            "without_head": found.method_parameters,
            "training_bytes_estimated": found.training_bytes,
        }
    )


def _print_csv(rows: list[dict[str, Any]]) -> None:
    import csv

    writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _print_table(rows: list[dict[str, Any]], sized: bool) -> None:
    from tabulate import tabulate

    columns: dict[str, Callable[[dict[str, Any]], str]] = {"method": lambda row: row["method"]}
    if sized:
        columns["budget"] = lambda row: row["budget"] or _own_size(row["method"])
        columns["setting"] = lambda row: row["setting"] or ""
    left = len(columns)
    columns["trainable"] = lambda row: f"{row['trainable_parameters']:,}"
    if any(row["published"] for row in rows):
        columns["published"] = lambda row: f"{row['published']:,}" if row["published"] else ""
    columns["share"] = lambda row: f"{row['share']:.2%}"
    columns["without head"] = lambda row: f"{row['without_head']:,}"
    columns["adapter MB"] = lambda row: f"{row['adapter_bytes'] / 1e6:,.1f}"
    columns["GMAC/s"] = lambda row: f"{row['macs_per_second'] / 1e9:.2f}"
    columns["merged"] = lambda row: f"{row['merged_macs_per_second'] / 1e9:.2f}"
    columns["training MB"] = lambda row: _megabytes(row["training_bytes_estimated"])
    if any(row["measured_bytes"] for row in rows):
        columns["measured"] = lambda row: _megabytes(row["measured_bytes"])
    ordered = sorted(rows, key=lambda row: row["trainable_parameters"])
    table = [[cell(row) for cell in columns.values()] for row in ordered]
    aligned = ["left"] * left + ["right"] * (len(columns) - left)
    # Several methods at once have several settings.
    widths = [None, None, 40] if sized else None
    print(
        tabulate(
            table,
            headers=list(columns),
            colalign=aligned if table else None,
            disable_numparse=True,
            maxcolwidths=widths,
        )
    )


def _own_size(method: str) -> str:
    """What stands in place of a budget, where a method has none to choose its size."""
    from sure.method.of_peft import CHANGED_BY

    return "default" if method in CHANGED_BY else "one size"


def _megabytes(size: int | None) -> str:
    return "not known" if size is None else f"{size / 1e6:,.0f}"


def _plot(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Trainable parameters without head, and the memory of a training step, method by method."""
    import altair

    from sure.files import writing

    sized = any(row["budget"] for row in rows)
    points = [
        {
            "method": row["method"],
            "budget": row["budget"] or (_own_size(row["method"]) if sized else "default"),
            # A logarithm has no zero.
            "parameters": max(1, row["without_head"]),
            "gigabytes": None if row["training_bytes_estimated"] is None else row["training_bytes_estimated"] / 1e9,
        }
        for row in sorted(rows, key=lambda row: row["without_head"])
    ]
    order = list(dict.fromkeys(point["method"] for point in points))
    base = (
        altair.Chart(altair.InlineData(points))
        .mark_circle(size=70, opacity=0.9)
        .encode(
            y=altair.Y("method:N", title=None, sort=order).axis(grid=True),
            color=altair.Color("budget:N", title="budget").legend(orient="bottom"),
        )
    )
    size = altair.X("parameters:Q", title="trainable parameters without head (log)").scale(type="log")
    memory = altair.X("gigabytes:Q", title="memory of a training step, GB (estimate)")
    panels = [
        base.encode(x=size.axis(format="~s", grid=False)),
        base.encode(x=memory, y=altair.Y("method:N", title=None, sort=order).axis(labels=False, grid=True)),
    ]
    chart = altair.hconcat(*(panel.properties(width=320) for panel in panels)).properties(title=title)
    with writing(f"--plot {path}"):
        path.write_bytes(_rendered(chart.to_json(), path.suffix))


def _rendered(chart: str, suffix: str) -> bytes:
    import vl_convert

    if suffix == ".svg":
        return vl_convert.vegalite_to_svg(chart).encode()
    if suffix == ".png":
        return vl_convert.vegalite_to_png(chart, scale=2)
    return vl_convert.vegalite_to_pdf(chart)
