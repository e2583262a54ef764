"""Language identification on FLEURS, which of 102 languages is spoken (Conneau et al. 2022, arXiv 2205.12446).

The same sentences read in every language, about 10 hours of training speech in each, 16 kHz; CC BY 4.0
(https://huggingface.co/datasets/google/fleurs). `--data_dir` and layouts are those of `asr_fleurs`, for several
languages: the folder of their folders, a hub id or its clone. Speakers are not named, so intervals are over utterances.

Split: the release's own; `dev` is validation.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sure.corpus.folders import listed, subfolders
from sure.errors import SureError
from sure.task.classification import ClassificationTask
from sure.tasks.asr_fleurs import FLEURS

if TYPE_CHECKING:
    from datasets import DatasetDict


@dataclass
class FLEURSLanguages(ClassificationTask):
    """The labels are FLEURS' names of languages, such as en_us."""

    metrics = ("accuracy", "macro_f1")

    languages: list[str] = field(
        default_factory=list, metadata={"help": "FLEURS' names of those to tell apart; all whose folders are there."}
    )

    def __post_init__(self) -> None:
        self._exported: dict[str, Path] = {}

    def load(self, data_dir: Path) -> "DatasetDict":
        """As `ClassificationTask.load`, from any of the places above."""
        from sure.corpus import hub

        data_dir = Path(data_dir)
        if hub.is_dataset(data_dir):
            if not self.languages:
                raise SureError(f"--data_dir {data_dir}: say which languages, --task_options languages=[en_us,fr_fr].")
            self._exported = {name: hub.exported(data_dir, name, text="transcription") for name in self.languages}
            # What was exported lies side by side.
            data_dir = next(iter(self._exported.values())).parent
        return super().load(data_dir)

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        for language in self.languages or self._found(data_dir):
            for row in FLEURS(language=language).utterances(self._exported.get(language, data_dir)):
                del row["text"]
                yield row | {"id": f"{language}/{row['id']}", "label": language}

    def _found(self, data_dir: Path) -> list[str]:
        # The hub's repository has them in `data`.
        parent = data_dir / "data" if (data_dir / "data").is_dir() else data_dir
        languages = [name for name, folder in subfolders(parent).items() if (folder / "train.tsv").is_file()]
        if not languages:
            raise SureError(
                f"{data_dir}: no <language>/train.tsv (found: {listed(subfolders(data_dir))}); expected FLEURS' "
                "folders of languages."
            )
        return languages
