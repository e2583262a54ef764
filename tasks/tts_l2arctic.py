"""Text-to-speech in the voices of L2-ARCTIC, non-native speakers of English (Zhao et al. 2018).

24 speakers whose first languages are Arabic, Hindi, Korean, Mandarin, Spanish and Vietnamese, about 1,130 of CMU
ARCTIC's sentences and an hour of each, 44.1 kHz, CC BY-NC 4.0 (https://psi.engr.tamu.edu/l2-arctic-corpus/).

Layout: `<speaker>/wav/<sentence>.wav` and `<speaker>/transcript/<sentence>.txt`, or both a folder deeper, as each
speaker's own archive unpacks.

Split: of each speaker's sentences, sorted, the last tenth is the test split, the tenth before it validation, the rest
train. Everyone reads the same sentences, so that nobody's test sentences are learnt in another voice where all speakers
have all of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sure.corpus.folders import audio_files, listed, subfolders
from sure.errors import SureError
from sure.files import read_text
from sure.task.text_to_speech.adaptation import SpeakerAdaptationTask


@dataclass
class L2Arctic(SpeakerAdaptationTask):
    """A sentence's id is preceded by its speaker, such as ABA_arctic_a0001."""

    def speaker_folders(self, data_dir: Path) -> dict[str, Path]:
        speakers = {}
        for name, folder in subfolders(data_dir).items():
            inner = folder / name if (folder / name / "wav").is_dir() else folder
            # The corpus' spontaneous speech (suitcase_corpus) has no sentences of its own.
            if (inner / "wav").is_dir() and (inner / "transcript").is_dir() and name.isupper():
                speakers[name] = inner
        if not speakers:
            raise SureError(
                f"{data_dir}: no <SPEAKER>/ with wav and transcript (found: {listed(subfolders(data_dir))}); expected "
                "L2-ARCTIC's, such as ABA."
            )
        return speakers

    def sentences(self, speaker: str, folder: Path) -> Iterator[tuple[str, Path, str]]:
        for path in audio_files(folder / "wav"):
            text = folder / "transcript" / f"{path.stem}.txt"
            if not text.is_file():
                raise SureError(f"{text}: no such file, although {path} is there.")
            yield f"{speaker}_{path.stem}", path, read_text(text).strip()
