"""Text-to-speech in the voices of LibriTTS, audiobooks in English (Zen et al. 2019); also of LibriTTS-R.

2,456 speakers, 585 hours, 24 kHz, CC BY 4.0 (https://www.openslr.org/60/, https://www.openslr.org/141/).

Layout: `<subset>/<speaker>/<chapter>/<utterance>.wav` with `<utterance>.normalized.txt` beside it, in `--data_dir` or
in its folder `LibriTTS` or `LibriTTS_R`; every subset that is there counts (train-clean-100, dev-clean, ...), since
voices are what is learnt.

Split: of each speaker's utterances, sorted, the last tenth is the test split, the tenth before it validation, the rest
train. The last chapters of a speaker are often of another book than the first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sure.corpus.folders import audio_files, listed, subfolders
from sure.errors import SureError
from sure.files import read_text
from sure.task.text_to_speech.adaptation import SpeakerAdaptationTask

_TEXT = ".normalized.txt"


@dataclass
class LibriTTS(SpeakerAdaptationTask):
    """A speaker is in one subset only, so that speakers need no subset before their names."""

    def speaker_folders(self, data_dir: Path) -> dict[str, Path]:
        folder = next((data_dir / name for name in ("LibriTTS", "LibriTTS_R") if (data_dir / name).is_dir()), data_dir)
        speakers: dict[str, Path] = {}
        for subset in subfolders(folder).values():
            for name, inner in subfolders(subset).items():
                if not name.isdecimal():
                    continue
                if name in speakers:
                    raise SureError(f"{inner}: speaker {name} is in {speakers[name]} too; keep one of the two.")
                speakers[name] = inner
        if not speakers:
            raise SureError(
                f"{folder}: no <subset>/<speaker>/ with speakers' numbers (found: {listed(subfolders(folder))}); "
                "expected LibriTTS' train-clean-100 and so on."
            )
        return speakers

    def sentences(self, speaker: str, folder: Path) -> Iterator[tuple[str, Path, str]]:
        for chapter in subfolders(folder).values():
            for path in audio_files(chapter):
                text = path.with_name(f"{path.stem}{_TEXT}")
                if not text.is_file():
                    raise SureError(f"{text}: no such file, although {path.name} is there.")
                yield path.stem, path, read_text(text).strip()
