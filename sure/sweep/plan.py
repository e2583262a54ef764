"""What a sweep consists of: questions, each with values to choose among and seeds, and the cells that answer them.

In the sweep's folder it is `study.json`; how users write it is in `sure.sweep.resolving`.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sure.errors import SureError
from sure.files import locked, write_atomically
from sure.record import Selection
from sure.runner.arguments import INDIFFERENT, parse_options

STUDY = "study.json"
CELLS = "cells"

# A setting of one of the lists of options.
_OPTION = re.compile(r"(task|backbone|method)_options\.(.+)")
_LONGEST_NAME = 200


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Strict):
    """Numbers to choose among."""

    low: float
    high: float
    log: bool = False


class Cell(_Strict):
    """One run: a name, and every setting of `sure train` that is not by default."""

    name: str
    settings: dict[str, Any]

    @property
    def folder(self) -> Path:
        return Path(self.settings["output_dir"])

    def command(self) -> list[str]:
        """The words of `sure train` that run it alone."""
        words = []
        for name, value in self.settings.items():
            words += [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]
        return words


class Step(_Strict):
    """What is to be done with a cell: training up to a share of its steps; or all of it, the test and the record."""

    cell: Cell
    until: float | None = None
    selection: Selection | None = None


class Question(_Strict):
    """A task, a backbone, a method and a budget, with what is chosen on validation."""

    name: str
    # Settings that its task's or backbone's entry has beside options: what differs in them is not compared.
    group: str = ""
    settings: dict[str, Any]
    metric: str
    higher_is_better: bool
    by: Literal["grid", "halving", "optuna"]
    eta: int
    # What is compared; with Optuna, `tries` values out of `ranges`.
    candidates: list[dict[str, Any]]
    ranges: dict[str, Range | list[Any]] = Field(default_factory=dict)
    tries: int | None = None
    # The first is that of the comparison.
    seeds: list[int]

    @property
    def some_values(self) -> dict[str, Any]:
        """The first of those that are compared; of ranges the lowest."""
        if self.candidates:
            return self.candidates[0]
        return {name: one.low if isinstance(one, Range) else one[0] for name, one in self.ranges.items()}

    @property
    def corners(self) -> list[dict[str, Any]]:
        """Of what Optuna chooses from each value that is listed and each end of a range, beside the first of others."""
        ends = {name: [one.low, one.high] if isinstance(one, Range) else one for name, one in self.ranges.items()}
        return [self.some_values | {name: value} for name, values in ends.items() for value in values]

    def cell(self, output_dir: Path, values: dict[str, Any], seed: int) -> Cell:
        settings = dict(self.settings)
        for name, value in values.items():
            settings = with_setting(settings, name, value)
        parts = [self.name, *(f"{short(name)}={said(value)}" for name, value in values.items()), f"seed={seed}"]
        name = file_name("--".join(parts))
        return Cell(name=name, settings=settings | {"seed": seed, "output_dir": str(output_dir / CELLS / name)})


class Study(_Strict):
    """Everything a sweep does."""

    questions: list[Question]

    def write(self, output_dir: Path) -> None:
        """Into the sweep's folder.

        Raises `SureError`, which says what differs, where it holds another study, unless questions or seeds were added.
        """
        path = output_dir / STUDY
        with locked(output_dir, f"--output_dir {output_dir}", wait=True):
            if path.exists():
                before = Study.read(output_dir)
                if differing := list(self._differing(before)):
                    raise SureError(
                        f"{path} is of another study ({'; '.join(differing[:5])}). Cells may be added, not changed: "
                        "choose another --output_dir."
                    )
            write_atomically(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, output_dir: Path) -> "Study":
        """Raises `SureError` where the folder has none."""
        path = Path(output_dir) / STUDY
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise SureError(f"{path}: {error.strerror}; `sure sweep` writes it into its --output_dir.") from None
        except ValidationError as error:
            wrong = error.errors()[0]
            raise SureError(f"{path} is not a study: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}.") from None

    def _differing(self, before: "Study") -> Iterator[str]:
        now = {question.name: question for question in self.questions}
        for old in before.questions:
            new = now.get(old.name)
            if new is None:
                yield f"{old.name} is missing now"
                continue
            for name in sorted(set(old.settings) | set(new.settings)):
                there, here = old.settings.get(name), new.settings.get(name)
                if there != here and name not in INDIFFERENT:
                    yield f"{old.name}: {name} {there!r} there, {here!r} now"
            for name in ("by", "eta", "candidates", "ranges", "tries", "metric"):
                there, here = getattr(old, name), getattr(new, name)
                if there != here:
                    yield f"{old.name}: {name} {there!r} there, {here!r} now"
            if old.seeds[0] != new.seeds[0] or set(old.seeds) - set(new.seeds):
                yield f"{old.name}: seeds {old.seeds} there, {new.seeds} now"


def with_setting(settings: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Settings with one more; `method_options.r` is one of the method's options."""
    if option := _OPTION.fullmatch(name):
        options = f"{option[1]}_options"
        return settings | {options: [*settings.get(options, []), f"{option[2]}={value}"]}
    return settings | {name: value}


def short(name: str) -> str:
    """A setting as names of questions and cells have it: an option by itself."""
    option = _OPTION.fullmatch(name)
    return option[2] if option else name


def said(value: Any) -> str:
    """A value as such names have it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def file_name(text: str) -> str:
    """As a folder may be called; what is too long ends in a digest."""
    name = re.sub(r"[^A-Za-z0-9.,=+%-]+", "_", text).strip(".")
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_LONGEST_NAME]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def options_of(question: Question) -> dict[str, dict[str, Any]]:
    """The options of its task, backbone and method, as a run reads them."""
    return {
        kind: parse_options(question.settings.get(f"{kind}_options", []), f"--{kind}_options")
        for kind in ("task", "backbone", "method")
    }
