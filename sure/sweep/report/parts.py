"""What a report consists of, in both of its documents, and links to the cells that its numbers are from."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from sure.record import RESULT
from sure.sweep.plan import CELLS
from sure.sweep.state import CELL


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


class Cells:
    """The folders of cells, and links to what they hold."""

    def __init__(self, output_dir: Path, folder: Path) -> None:
        self.output_dir, self._folder = output_dir, folder

    def record(self, cell: str) -> Path:
        return self.output_dir / CELLS / cell / RESULT

    def link(self, cell: str, text: str | None = None) -> Part:
        """To the record, or where there is none to `cell.json`."""
        there = next((path for name in (RESULT, CELL) if (path := self.record(cell).with_name(name)).exists()), None)
        return Part(text or cell, there and quote(Path(os.path.relpath(there, self._folder)).as_posix()))
