"""Sound events in ESC-50's layout."""

import csv
import io
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sure import audio
from sure.files import write_atomically
from sure.synth.sounds import RATE, sound
from sure.synth.speakers import unfinished

_FOLDS = 5
# By its number the class' name; those that make up the release's ESC-10.
_CLASSES = {
    **{0: "dog", 1: "rooster", 10: "rain", 11: "sea_waves", 12: "crackling_fire", 20: "crying_baby", 21: "sneezing"},
    **{38: "clock_tick", 40: "helicopter", 41: "chainsaw"},
}


def make(output_dir: Path, seed: int = 0, clips: int = 4, seconds: float = 5.0) -> None:
    """A corpus in ESC-50's layout: 10 of its 50 classes, so many clips of each in each of 5 folds, 44.1 kHz."""
    made = {"corpus": "esc50", "synthesiser": "NumPy", "seed": seed, "clips": clips, "seconds": seconds}
    with unfinished(Path(output_dir), made) as folder:
        if folder is None:
            return
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["filename", "fold", "target", "category", "esc10", "src_file", "take"])
        generator = np.random.default_rng(seed)
        with tqdm(total=_FOLDS * len(_CLASSES) * clips, unit="clip", disable=None) as progress:
            for fold in range(1, _FOLDS + 1):
                for number, (target, category) in enumerate(_CLASSES.items()):
                    for clip in range(clips):
                        source = 100_000 + 1000 * fold + 10 * number + clip
                        name = f"{fold}-{source}-A-{target}.wav"
                        audio.write(folder / "audio" / name, sound(number, seconds, generator), RATE)
                        table.writerow([name, fold, target, category, True, source, "A"])
                        progress.update()
        write_atomically(folder / "meta" / "esc50.csv", text.getvalue())
