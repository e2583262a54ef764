"""Slot filling on Audio SNIPS, as SURE and SUPERB (Yang et al. 2021) have it.

English requests to a voice assistant, "add Diana Ross to my workout playlist" (Coucke et al. 2018, arXiv 1805.10190),
spoken by 16 voices of Amazon Polly (https://github.com/aws-samples/aws-lex-noisy-spoken-language-understanding, under
the licence there); `s3prl/preprocess/snips_prepare_data.sh` of https://github.com/s3prl/s3prl fetches and packs it.

Layout: `all.iob.snips.txt` with lines such as `Amy-snips-valid-7 BOS PLAY DIANA ROSS EOS`, a tab, `O O artist artist
PlayMusic`, where O stands for BOS and the intent for EOS; and `{train,valid,test}/Amy-snips-valid-7.wav` (or .mp3).

Split: SUPERB's, by requests and by voices. Of `train` those of Ivy, Joanna, Joey, Justin, Kendra, Kimberly, Matthew and
Salli; of `valid` of Aditi, Amy, Geraint and Nicole; of `test` of Brian, Emma, Raveena and Russell. Other voices of a
folder are left out, where SURE's release takes all 16 in every split.

A slot is the words next to one another that have one tag: `PLAY B-artist DIANA ROSS E-artist`. Words are in upper case,
without accents, & is AND, and what is neither letter nor apostrophe is left out, for which SUPERB has an unknown token.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from sure.corpus.folders import listed, subfolders
from sure.corpus.manifest import SPLITS
from sure.errors import SureError
from sure.files import read_text
from sure.task.speech_recognition.tokens import SLOTS, Units
from sure.task.speech_recognition.transcription import TranscriptionTask

VOICES = {
    "train": ("Ivy", "Joanna", "Joey", "Justin", "Kendra", "Kimberly", "Matthew", "Salli"),
    "valid": ("Aditi", "Amy", "Geraint", "Nicole"),
    "test": ("Brian", "Emma", "Raveena", "Russell"),
}
_TABLE = "all.iob.snips.txt"
_NO_SLOT = "O"
# What Unicode does not take apart.
_LETTERS = str.maketrans({"Æ": "A", "Ð": "D", "Ø": "O", "&": " AND "} | dict.fromkeys("\u2018\u2019`", "'"))


@dataclass
class Snips(TranscriptionTask):
    """Characters and the tags of slots, `B-artist` and `E-artist`, are the tokens."""

    metrics: ClassVar[tuple[str, ...]] = ("slot_type_f1", "slot_value_cer")
    units: ClassVar[Units] = SLOTS

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        table = data_dir / _TABLE
        if not table.is_file():
            raise SureError(f"{table}: no such file (found in {data_dir}: {listed(subfolders(data_dir))}).")
        missing = []
        for number, line in enumerate(read_text(table).split("\n"), start=1):
            if not line.strip():
                continue
            name, _, said = line.strip().partition(" ")
            speaker, _, split = name.rpartition("-")[0].partition("-snips-")
            if split not in VOICES:
                raise SureError(f"{table}, line {number}: {name!r} is no name such as Amy-snips-valid-7.")
            if speaker not in VOICES[split]:
                continue
            path = data_dir / split / f"{name}.wav"
            path = path if path.is_file() else path.with_suffix(".mp3")
            if not path.is_file():
                missing.append(f"{split}/{name}.wav")
            row = {
                "id": name,
                "path": str(path),
                "speaker": speaker,
                "split": SPLITS[split],
            }
            yield row | {"text": _with_slots(said, f"{table}, line {number}")}
        if missing:
            raise SureError(f"{data_dir}: {len(missing)} recordings of {_TABLE} are not there: {listed(missing)}.")


def _with_slots(said: str, where: str) -> str:
    """`BOS PLAY DIANA ROSS EOS`, a tab and `O O artist artist PlayMusic` as `PLAY B-artist DIANA ROSS E-artist`."""
    words, _, tags = (part.split() for part in said.partition("\t"))
    if len(words) != len(tags) or words[:1] != ["BOS"] or words[-1] != "EOS":
        raise SureError(f"{where}: expected BOS, words, EOS, a tab and a tag for each; found {said!r}.")
    bare = ((" ".join(_bare(word).split()), tag) for word, tag in zip(words[1:-1], tags[1:-1], strict=True))
    parts = []
    for tag, members in groupby((pair for pair in bare if pair[0]), key=lambda pair: pair[1]):
        value = " ".join(word for word, _ in members)
        parts.append(value if tag == _NO_SLOT else f"B-{tag} {value} E-{tag}")
    return " ".join(parts)


def _bare(word: str) -> str:
    decomposed = unicodedata.normalize("NFKD", word.upper().translate(_LETTERS))
    return "".join(letter for letter in decomposed if letter in " '" or (letter.isascii() and letter.isalpha()))
