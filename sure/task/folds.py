"""Classification of clips that a corpus parts into numbered folds, for cross-validation."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sure.corpus import tables
from sure.corpus.folders import listed, subfolders
from sure.errors import SureError
from sure.task.classification import ClassificationTask


@dataclass
class FoldsTask(ClassificationTask):
    """A subclass says how many `folds` there are and which `table` of the corpus names file, fold and label.

    The fold before the test fold validates (before the first comes the last), the others train. The labels are those of
    the training split.
    """

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")

    folds: ClassVar[int]
    table: ClassVar[str]
    # Its columns with the name of a file, its fold and its label.
    columns: ClassVar[tuple[str, str, str]]

    fold: int = field(default=1, metadata={"help": "The fold that is tested; the one before it validates."})

    def __post_init__(self) -> None:
        if not 1 <= self.fold <= self.folds:
            raise SureError(f"--task_options fold={self.fold}: folds are numbered from 1 to {self.folds}.")

    @property
    def cross_validation(self) -> tuple[str, int]:
        """Every fold is tested once."""
        return "fold", self.folds

    @abstractmethod
    def file(self, name: str, fold: int) -> str:
        """Where in the corpus a file lies."""

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        table = data_dir / self.table
        if not table.is_file():
            raise SureError(f"{table}: no such file (found in {data_dir}: {listed(subfolders(data_dir))}).")
        numbers = {str(number): number for number in range(1, self.folds + 1)}
        validation = (self.fold - 2) % self.folds + 1
        for where, row in tables.rows(table, self.columns):
            name, fold, label = (row[column] for column in self.columns)
            if fold not in numbers:
                raise SureError(f"{where}: fold {fold!r}; expected one from 1 to {self.folds}.")
            path = data_dir / self.file(name, numbers[fold])
            if not path.is_file():
                raise SureError(f"{where}: no such file: {path}.")
            split = {self.fold: "test", validation: "validation"}.get(numbers[fold], "train")
            # Who or what made a sound is no speaker.
            yield {"id": name, "path": str(path), "speaker": None, "label": label, "split": split}
