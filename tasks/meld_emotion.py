"""Emotion classification on MELD, utterances of the series Friends (Poria et al. 2019).

English, about 13,700 utterances, 7 emotions; GPL-3.0 annotations (https://affective-meld.github.io/), audio cut from
the released video clips into `dia<dialogue>_utt<utterance>.wav`.

Split: the release's csv files. Main characters speak in all splits.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sure.audio import SUFFIXES
from sure.corpus import tables
from sure.corpus.folders import listed, subfolders
from sure.errors import SureError
from sure.task import learned
from sure.task.classification import ClassificationTask

_LABELS = ["anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"]
# Split: csv file, names of the audio folder (the last is that of the release's video clips).
_SPLITS = {
    "train": ("train_sent_emo.csv", ("train", "train_splits")),
    "validation": ("dev_sent_emo.csv", ("dev", "validation", "dev_splits_complete")),
    "test": ("test_sent_emo.csv", ("test", "output_repeated_splits_test")),
}
# The release has no usable clip of these.
_GAPS = {("train", "dia125_utt3"), ("validation", "dia110_utt7")}


@dataclass
class MELD(ClassificationTask):
    """`{train,dev,test}_sent_emo.csv` and one folder of audio files per split."""

    labels: list[str] = field(default_factory=lambda: list(_LABELS), metadata=learned("Its emotions."))

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        for split, (table, names) in _SPLITS.items():
            file = next(
                (data_dir / sub / table for sub in ("", "data/MELD") if (data_dir / sub / table).is_file()), None
            )
            folder = next((data_dir / name for name in names if (data_dir / name).is_dir()), None)
            if file is None or folder is None:
                raise SureError(
                    f"{data_dir}: no {table if file is None else ' or '.join(names) + ' folder'} for the {split} split "
                    f"(folders found: {listed(subfolders(data_dir))}); expected MELD's three csv files and a folder of "
                    "wav files for each."
                )
            yield from self._rows(split, file, folder)

    def _rows(self, split: str, file: Path, folder: Path) -> Iterator[dict[str, Any]]:
        audio = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
        missing = []
        for _, row in tables.rows(file, ("Dialogue_ID", "Utterance_ID", "Speaker", "Emotion")):
            clip = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
            if clip in audio:
                identity = {"id": f"{split}/{clip}", "path": str(audio[clip]), "speaker": row["Speaker"]}
                yield identity | {"label": row["Emotion"], "split": split}
            elif (split, clip) not in _GAPS:
                missing.append(clip)
        if missing:
            raise SureError(f"{folder}: {len(missing)} utterances of {file.name} have no audio: {listed(missing)}.")
