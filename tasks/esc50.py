"""Sound events of ESC-50, Environmental Sound Classification (Piczak 2015, ACM Multimedia).

2,000 clips of 5 seconds in 50 classes from dog to hand saw, 44.1 kHz, from Freesound; CC BY-NC
(https://github.com/karolpiczak/ESC-50).

Layout: `meta/esc50.csv` with the columns filename, fold and category, and `audio/*.wav`.

Split: of the corpus' 5 folds the one that `fold` names is the test split, the one before it (before 1 comes 5)
validation, the others train, as in the code of Cappellazzo et al. (2024, arXiv 2312.03694). What is published is the
mean accuracy over the 5 folds. Clips of one recording are in one fold.
"""

from dataclasses import dataclass

from sure.task.folds import FoldsTask


@dataclass
class ESC50(FoldsTask):
    """Its 2,000 clips."""

    folds = 5
    table = "meta/esc50.csv"
    columns = ("filename", "fold", "category")

    def file(self, name: str, fold: int) -> str:
        return f"audio/{name}"
