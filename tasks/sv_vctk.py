"""Speaker verification on VCTK, read sentences by 110 speakers of English with many accents (Yamagishi et al. 2019).

About 44,000 utterances, 44 hours, 48 kHz, CC BY 4.0 (https://datashare.ed.ac.uk/handle/10283/3443). There is no
published list of trials.

Layout: `wav48_silence_trimmed/<speaker>/*_mic1.flac` (0.92), or `wav48/<speaker>/*.wav` (0.80).

Split: speakers are sorted; the last fifth is the test split, the tenth before it validation, the rest train, two
speakers at least in each. Trials: by rule (`sure.task.speaker_verification.trials`). Everyone reads the same first
sentences and in the same room, so that scores are better than on speech in the wild.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sure.corpus.folders import audio_files, listed, subfolders
from sure.errors import SureError
from sure.task.speaker_verification import SpeakerVerificationTask

_FEWEST = 2


@dataclass
class VCTK(SpeakerVerificationTask):
    """Of the two microphones of release 0.92 the first, which every speaker has."""

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        speakers = recordings(data_dir)
        test, validation = max(_FEWEST, len(speakers) // 5), max(_FEWEST, len(speakers) // 10)
        if len(speakers) < test + validation + _FEWEST:
            raise SureError(
                f"{data_dir}: {len(speakers)} speakers with *.wav (0.80) or *_mic1.flac (0.92); at least "
                f"{test + validation + _FEWEST} are needed."
            )
        for index, (speaker, paths) in enumerate(speakers.items()):
            from_the_end = len(speakers) - index
            split = "test" if from_the_end <= test else "validation" if from_the_end <= test + validation else "train"
            for path in paths:
                yield {"id": f"{speaker}/{path.stem}", "path": str(path), "speaker": speaker, "split": split}


def recordings(data_dir: Path) -> dict[str, list[Path]]:
    """By speaker, sorted, the recordings; of two microphones the first. Raises `SureError` for another layout."""
    name = next((name for name in ("wav48_silence_trimmed", "wav48") if (data_dir / name).is_dir()), None)
    if name is None:
        raise SureError(
            f"{data_dir}: neither wav48_silence_trimmed nor wav48 here (found: {listed(subfolders(data_dir))})."
        )
    found = {
        speaker: [path for path in audio_files(folder) if name == "wav48" or path.stem.endswith("_mic1")]
        for speaker, folder in subfolders(data_dir / name).items()
    }
    return {speaker: paths for speaker, paths in found.items() if paths}
