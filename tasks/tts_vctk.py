"""Text-to-speech in the voices of VCTK, 110 speakers of English with many accents (Yamagishi et al. 2019).

About 400 read sentences and 25 minutes of each, 48 kHz, CC BY 4.0 (https://datashare.ed.ac.uk/handle/10283/3443).

Layout: `txt/<speaker>/<utterance>.txt`, and `wav48_silence_trimmed/<speaker>/<utterance>_mic1.flac` (0.92) or
`wav48/<speaker>/<utterance>.wav` (0.80). Recordings without a text do not count; p315 has no texts at all.

Split: of each speaker's utterances, sorted, the last tenth is the test split, the tenth before it validation, the rest
train. The first 24 sentences are the same for everyone; most others are one speaker's alone, though not all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sure.corpus.folders import audio_files, listed, subfolders
from sure.errors import SureError
from sure.files import read_text
from sure.task.text_to_speech.adaptation import SpeakerAdaptationTask

_RECORDINGS = ("wav48_silence_trimmed", "wav48")
_FIRST_MICROPHONE = "_mic1"


@dataclass
class VCTK(SpeakerAdaptationTask):
    """Of the two microphones of release 0.92 the first, which every speaker has."""

    def speaker_folders(self, data_dir: Path) -> dict[str, Path]:
        folder = next((data_dir / name for name in _RECORDINGS if (data_dir / name).is_dir()), None)
        if folder is None or not (data_dir / "txt").is_dir():
            raise SureError(
                f"{data_dir}: no {' or '.join(_RECORDINGS)} with txt beside it (found: {listed(subfolders(data_dir))})."
            )
        with_texts = subfolders(data_dir / "txt")
        speakers = {name: inner for name, inner in subfolders(folder).items() if name in with_texts}
        if not speakers:
            raise SureError(f"{folder}: no speaker of {data_dir / 'txt'} is here.")
        return speakers

    def sentences(self, speaker: str, folder: Path) -> Iterator[tuple[str, Path, str]]:
        trimmed = folder.parent.name == _RECORDINGS[0]
        for path in audio_files(folder):
            if trimmed and not path.stem.endswith(_FIRST_MICROPHONE):
                continue
            name = path.stem.removesuffix(_FIRST_MICROPHONE)
            text = folder.parents[1] / "txt" / speaker / f"{name}.txt"
            if text.is_file():
                yield name, path, read_text(text).strip()
