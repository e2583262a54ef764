"""Results in print: a class of their own, shown beside the runs of a board and never ranked with them.

A board's `published/*.yaml` have one paper each: its tables as they are printed, and of each column the task, options
and metric here that come nearest, with what differs. Figures that were not seen in print, or in the authors' release,
are not there.
"""

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field, model_validator
from tabulate import tabulate

from sure import registry
from sure.errors import SureError
from sure.files import read_text
from sure.leaderboard.entries import BOARD, words

FOLDER = "published"

# Beside trainable parameters, by whether the head's are counted.
_HEADS = {False: "", True: "+", None: "?"}

HEADS_FOOTNOTE = "Trainable parameters as they are printed: without heads, + with them, ? where it is not said."

# Of `Published.cells`.
COLUMNS = ("method", "backbone", "metric", "score", "trainable", "task options")

# Of a hundred parts in print, the decimals of a share that say as much.
_DECIMALS = 6


class Published(BaseModel):
    """A score of a paper, in the unit of the metric here."""

    task: str
    # With which `sure train` has the protocol of the paper.
    options: list[str]
    # As the paper calls it; and the method and preset here that come nearest, None where there is none.
    method: str
    ours: str | None
    backbone: str
    metric: str
    value: float
    # As printed after ±.
    deviation: float | None
    trainable_parameters: int | None
    # Whether those of the task's head are among them; None where that is not known.
    head_counted: bool | None
    paper: str
    arxiv: str
    table: str
    read_in: str
    differs: str

    @computed_field
    @property
    def link(self) -> str:
        return f"https://arxiv.org/abs/{self.arxiv}"

    @property
    def cells(self) -> list[str]:
        """A line of a table, in words."""
        count = self.trainable_parameters
        return [
            self.method,
            self.backbone,
            words(self.metric),
            f"{self.value:g}" + ("" if self.deviation is None else f" ± {self.deviation:g}"),
            "" if count is None else f"{count:,}{_HEADS[self.head_counted]}",
            " ".join(self.options),
        ]


def published(board: Path = BOARD, task: str | None = None) -> list[Published]:
    """What is in print of a task, or of all, in the order of papers and tables, which is no ranking.

    Raises `SureError` for a file that is wrong, with every wrong field.
    """
    rows = [row for path in sorted(Path(board, FOLDER).glob("*.yaml")) for row in _read(path).results()]
    return [row for row in rows if task in (None, row.task)]


def beside(rows: Iterable[Published], task: str, options: str) -> list[Published]:
    """Those of a task, less what has other options than an entry (`words=all shots=8`), or other shots."""
    return [row for row in rows if row.task == task and _goes_with(row, options.split())]


def published_table(rows: list[Published]) -> str:
    """Results of a task as a plain text table, with what differs below; empty where there is none."""
    if not rows:
        return ""
    notes: dict[str, int] = {}
    cells = []
    for row in rows:
        said = f"{row.paper}, arXiv {row.arxiv} ({row.read_in}). Differs: {row.differs}."
        note = notes.setdefault(said, len(notes) + 1)
        cells.append([*row.cells, f"[{note}] {row.table}"])
    headers = [*COLUMNS, "source"]
    table = tabulate(cells, headers, disable_numparse=True, colalign=["left"] * 4 + ["right"] + ["left"] * 2)
    footnotes = [
        textwrap.fill(f"[{note}] {said}", width=119, subsequent_indent="    ", break_on_hyphens=False)
        for said, note in notes.items()
    ]
    if any(row.trainable_parameters for row in rows):
        footnotes.append(HEADS_FOOTNOTE)
    return "\n".join([f"{rows[0].task}, in print: not ranked, for other code made it", table, *footnotes])


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class _Column(_Strict):
    """What a column of a table is here."""

    task: str
    options: list[str] = []
    metric: str
    # Of percent, the metric has shares.
    unit: Literal["percent", "share", "dB", "cents"]
    differs: str = Field(min_length=1)


class _Row(_Strict):
    """A line of a table: a method, and its score in each column."""

    method: str
    ours: str | None
    parameters: int | None = Field(gt=0)
    # None: as in the rest of the table.
    head_counted: bool | None = None
    values: list[float | None]
    deviations: list[float | None] = []


class _Table(_Strict):
    table: str
    backbone: str
    head_counted: bool | None = None
    columns: list[_Column] = Field(min_length=1)
    rows: list[_Row] = Field(min_length=1)

    @model_validator(mode="after")
    def _as_wide(self) -> "_Table":
        for row in self.rows:
            if len(row.values) != len(self.columns) or len(row.deviations) not in (0, len(self.columns)):
                raise ValueError(f"{row.method} has {len(row.values)} values, of {len(self.columns)} columns")
        return self


class _Paper(_Strict):
    paper: str
    arxiv: str = Field(pattern=r"^\d{4}\.\d{4,5}$")
    read_in: str
    tables: list[_Table] = Field(min_length=1)

    def results(self) -> list[Published]:
        """Its scores, one by one."""
        return [
            Published(
                task=column.task,
                options=column.options,
                method=row.method,
                ours=row.ours,
                backbone=table.backbone,
                metric=column.metric,
                value=_in_unit(value, column),
                deviation=None if deviation is None else _in_unit(deviation, column),
                trainable_parameters=row.parameters,
                head_counted=table.head_counted if row.head_counted is None else row.head_counted,
                paper=self.paper,
                arxiv=self.arxiv,
                table=table.table,
                read_in=self.read_in,
                differs=column.differs,
            )
            for table in self.tables
            for row in table.rows
            for column, value, deviation in zip(
                table.columns, row.values, row.deviations or [None] * len(table.columns), strict=True
            )
            if value is not None
        ]


def _read(path: Path) -> _Paper:
    """A paper. Raises `SureError` naming the file and every wrong field, and for an unknown task or metric."""
    try:
        paper = _Paper.model_validate(yaml.safe_load(read_text(path)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise SureError(f"{path}{f', line {mark.line + 1}' if mark else ''}: not YAML.") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise SureError(f"{path} has no results in print: {wrong}.") from None
    for table in paper.tables:
        for column in table.columns:
            for kind, name in (("task", column.task), ("metric", column.metric)):
                if name not in (known := registry.names(kind)):
                    raise SureError(f"{path}: {registry.unknown(kind, name, known)}")
    return paper


def _in_unit(value: float, column: _Column) -> float:
    return round(value / 100, _DECIMALS) if column.unit == "percent" else value


def _goes_with(row: Published, options: list[str]) -> bool:
    theirs, ours = (dict(option.partition("=")[::2] for option in given) for given in (row.options, options))
    return theirs.get("shots") == ours.get("shots") and all(
        ours.get(name, value) == value for name, value in theirs.items()
    )
