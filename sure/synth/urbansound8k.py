"""Sound events in UrbanSound8K's layout."""

import csv
import io
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sure import audio
from sure.files import write_atomically
from sure.synth.sounds import RATE, sound
from sure.synth.speakers import unfinished

_FOLDS = 10
_CLASSES = (
    *("air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling", "engine_idling", "gun_shot"),
    *("jackhammer", "siren", "street_music"),
)


def make(output_dir: Path, seed: int = 0, slices: int = 2, seconds: float = 4.0) -> None:
    """A corpus in UrbanSound8K's layout: its 10 classes, so many slices of each in each of 10 folds, 44.1 kHz.

    A slice lasts from a quarter of so many seconds to all of them.
    """
    made = {"corpus": "urbansound8k", "synthesiser": "NumPy", "seed": seed, "slices": slices, "seconds": seconds}
    with unfinished(Path(output_dir), made) as folder:
        if folder is None:
            return
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"])
        generator = np.random.default_rng(seed)
        with tqdm(total=_FOLDS * len(_CLASSES) * slices, unit="slice", disable=None) as progress:
            for fold in range(1, _FOLDS + 1):
                for number, category in enumerate(_CLASSES):
                    for part in range(slices):
                        source = 100_000 + 100 * fold + number
                        name = f"{source}-{number}-0-{part}.wav"
                        length = round(generator.uniform(seconds / 4, seconds), 3)
                        audio.write(folder / "audio" / f"fold{fold}" / name, sound(number, length, generator), RATE)
                        start = seconds * part
                        table.writerow([name, source, start, start + length, 1, fold, number, category])
                        progress.update()
        write_atomically(folder / "metadata" / "UrbanSound8K.csv", text.getvalue())
