"""Sound events of UrbanSound8K (Salamon, Jacoby and Bello 2014, ACM Multimedia).

8,732 slices of up to 4 seconds in 10 classes of city sounds, of many rates, from Freesound; CC BY-NC 4.0
(https://urbansounddataset.weebly.com/urbansound8k.html).

Layout: `metadata/UrbanSound8K.csv` with the columns slice_file_name, fold and class, and `audio/fold<1..10>/*.wav`.

Split: of the corpus' 10 folds the one that `fold` names is the test split, the one before it (before 1 comes 10)
validation, the others train. What is published is the mean accuracy over the 10 folds; the code of Cappellazzo et al.
(2024, arXiv 2312.03694) has no validation split, and chooses its checkpoint by the test fold. Slices of one recording
are in one fold.
"""

from dataclasses import dataclass

from sure.task.folds import FoldsTask


@dataclass
class UrbanSound8K(FoldsTask):
    """Its 8,732 slices."""

    folds = 10
    table = "metadata/UrbanSound8K.csv"
    columns = ("slice_file_name", "fold", "class")

    def file(self, name: str, fold: int) -> str:
        return f"audio/fold{fold}/{name}"
