"""Speech recognition on ESD, the Emotional Speech Database (Zhou et al. 2021, ICASSP), as SURE has it.

The corpus, its splits and its caveats are those of `esd_emotion`: speakers and sentences are in all splits. The text is
in `<speaker>/<speaker>.txt`, a line per utterance: id, text and emotion, separated by tabs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sure.corpus.folders import listed
from sure.errors import SureError
from sure.task.speech_recognition import SpeechRecognitionTask
from sure.tasks.esd_emotion import ESD

# A few lines of the release lack the tab before the emotion.
_LINE = re.compile(r"(?P<id>\d{4}_\d{6})\s+(?P<text>.*?)(?:\t[^\t]*|\s+(?:Angry|Happy|Neutral|Sad|Surprise))?")
# Lines of the release that are known to be broken, as others report; left out where they have no text at all.
_BROKEN = {
    *("0012_001355", "0013_000431", "0013_000914", "0014_001590", "0015_000137", "0015_000138", "0015_000175"),
    *("0015_000187", "0015_000217", "0015_000668", "0015_000690", "0015_000875", "0015_001015", "0015_001531"),
    "0015_001578",
}


@dataclass
class ESDTranscribed(SpeechRecognitionTask):
    """`<speaker>/<speaker>.txt` beside the folders of emotions."""

    language: str = field(
        default="english", metadata={"help": "english (speakers 0011 to 0020), mandarin (0001 to 0010) or all."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._emotional = ESD(language=self.language)

    @property
    def spoken_language(self) -> str | None:
        return {"english": "en", "mandarin": "zh"}.get(self.language)

    @property
    def words_are_parted(self) -> bool:
        return self.language == "english"

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        texts: dict[Path, dict[str, str]] = {}
        missing = []
        for row in self._emotional.utterances(data_dir):
            path = Path(row["path"])
            folder = next(parent for parent in path.parents if parent.name == row["speaker"])
            if folder not in texts:
                texts[folder] = _transcripts(folder)
            text = texts[folder].get(path.stem)
            if text is not None:
                yield {name: value for name, value in row.items() if name != "label"} | {"text": text}
            elif path.stem not in _BROKEN:
                missing.append(row["id"])
        if missing:
            raise SureError(
                f"{data_dir}: {len(missing)} utterances are not in their speakers' transcripts: {listed(missing)}."
            )


def _transcripts(folder: Path) -> dict[str, str]:
    """Texts by id, of a speaker's folder."""
    table = folder / f"{folder.name}.txt"
    if not table.is_file():
        raise SureError(f"{table}: no such file; ESD's transcripts of a speaker are there.")
    matches = (_LINE.fullmatch(line.strip()) for line in _decoded(table.read_bytes(), folder.name).splitlines())
    return {match["id"]: match["text"] for match in matches if match}


def _decoded(content: bytes, speaker: str) -> str:
    """The release's transcripts are in UTF-8, UTF-16, GB 2312 or Latin-1, whatever their speaker's computer wrote."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("gb18030" if int(speaker) <= 10 else "latin-1", errors="replace")
