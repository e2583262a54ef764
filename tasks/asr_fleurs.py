"""Speech recognition on FLEURS, 102 languages read by native speakers (Conneau et al. 2022, arXiv 2205.12446).

About 10 hours of training speech in each language, 16 kHz; CC BY 4.0 (https://huggingface.co/datasets/google/fleurs).
The text is the release's fourth column, `transcription`. Speakers are not named, so intervals are over utterances.
`--data_dir` is the raw release, a hub id (google/fleurs), its clone, or what `datasets` saved to disk.

Split: the release's own; `dev` is validation.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sure.corpus import manifest
from sure.corpus.folders import listed, subfolders
from sure.errors import SureError
from sure.files import read_text
from sure.task.speech_recognition import SpeechRecognitionTask

if TYPE_CHECKING:
    from datasets import DatasetDict


_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
_COLUMNS = ("id", "file name", "raw transcription", "transcription", "characters", "number of samples", "gender")
# Where FLEURS has a longer code, or that of a variety.
_ISO_639_1 = {"cmn": "zh", "fil": "tl", "nb": "no"}


@dataclass
class FLEURS(SpeechRecognitionTask):
    """`<language>/{train,dev,test}.tsv` and `<language>/audio/{train,dev,test}/*.wav`."""

    language: str = field(
        default="en_us", metadata={"help": "FLEURS' name of a language: its folder, such as en_us, fr_fr, cmn_hans_cn."}
    )

    @property
    def spoken_language(self) -> str:
        name = self.language.partition("_")[0]
        return _ISO_639_1.get(name, name)

    def load(self, data_dir: Path) -> "DatasetDict":
        """As `SpeechRecognitionTask.load`, from any of the places above."""
        from sure.corpus import hub

        data_dir = Path(data_dir)
        if hub.is_dataset(data_dir):
            data_dir = hub.exported(data_dir, self.language, text="transcription")
        return super().load(data_dir)

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        if listing := manifest.find(data_dir):
            yield from manifest.utterances(listing, "text")
            return
        folder = self._folder(data_dir)
        for name, split in _SPLITS.items():
            missing = []
            for number, line in _lines(folder / f"{name}.tsv"):
                cells = line.split("\t")
                if len(cells) != len(_COLUMNS):
                    raise SureError(
                        f"{folder / name}.tsv, line {number}: {len(cells)} columns, expected {len(_COLUMNS)} separated "
                        f"by tabs: {', '.join(_COLUMNS)}."
                    )
                path = folder / "audio" / name / cells[1]
                if not path.is_file():
                    missing.append(cells[1])
                identity = {"id": f"{split}/{path.name}", "path": str(path), "speaker": None}
                yield identity | {"split": split, "text": cells[3]}
            if missing:
                raise SureError(
                    f"{folder / 'audio' / name}: {len(missing)} files of {name}.tsv are not there: {listed(missing)}."
                )

    def _folder(self, data_dir: Path) -> Path:
        """The folder of the language: inside `data_dir`, or `data_dir` itself."""
        # The hub's repository has them in `data`.
        for parent in (data_dir, data_dir / "data"):
            if (parent / self.language / "train.tsv").is_file():
                return parent / self.language
        if not (data_dir / "train.tsv").is_file():
            raise SureError(
                f"{data_dir}: no {self.language}/train.tsv (folders found: {listed(subfolders(data_dir))}); expected "
                "FLEURS' folders of languages, or one of them; --task_options language=... chooses."
            )
        if (name := data_dir.resolve().name) != self.language:
            raise SureError(f"{data_dir} is the folder of {name}, not {self.language}: --task_options language={name}.")
        return data_dir


def _lines(table: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers; quotes mean nothing in these tables."""
    if not table.is_file():
        raise SureError(f"{table}: no such file; expected train.tsv, dev.tsv and test.tsv.")
    yield from ((number, line) for number, line in enumerate(read_text(table).split("\n"), start=1) if line.strip())
