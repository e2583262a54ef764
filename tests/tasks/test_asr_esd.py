"""ESD's transcripts, in the encodings that the release has them in, beside empty recordings."""

import pytest

from sure.errors import SureError
from sure.task import make_task
from tests.factories.corpora import touch, write

EMOTIONS = ("Angry", "Happy", "Neutral", "Sad", "Surprise")
SPLITS = ("train", "evaluation", "test")


def esd(folder, speaker="0011", text="The nine, the eggs.", encoding="utf-8", line="{name}\t{text}\t{emotion}"):
    lines = []
    for emotion in EMOTIONS:
        for split in SPLITS:
            name = f"{speaker}_{len(lines) + 1:06d}"
            touch(folder, f"{speaker}/{emotion}/{split}/{name}.wav")
            lines.append(line.format(name=name, text=text, emotion=emotion))
    write(folder / speaker / f"{speaker}.txt", *lines, encoding=encoding)
    return folder


def load(folder, **options):
    return make_task("asr_esd", options).load(folder)


def test_splits_and_speakers_are_those_of_the_emotion_task(tmp_path):
    splits = load(esd(tmp_path))
    emotional = make_task("esd_emotion", {}).load(tmp_path)
    for name, split in splits.items():
        for column in ("id", "path", "speaker"):
            assert split[column][:] == emotional[name][column][:]
        assert set(split["text"]) == {"the nine the eggs"}
        assert "label" not in split.column_names


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_english_transcripts_are_read_in_every_encoding_of_the_release(encoding, tmp_path):
    splits = load(esd(tmp_path, text="Café, isn't it?", encoding=encoding))
    assert splits["test"]["text"][0] == "café isn't it"


@pytest.mark.parametrize("encoding", ["gb2312", "utf-16"])
def test_so_are_mandarin_ones(encoding, tmp_path):
    line = "{name}\t{text}\t中立"
    splits = load(esd(tmp_path, "0001", "打远一看\uff0c它们。", encoding, line), language="mandarin")
    assert splits["test"]["text"][0] == "打远一看它们"


@pytest.mark.parametrize("line", ["{name}\t{text} {emotion}", "{name}  {text}\t{emotion}", "{name}\t{text}"])
def test_lines_that_lack_a_tab_are_understood(line, tmp_path):
    assert set(load(esd(tmp_path, line=line))["train"]["text"]) == {"the nine the eggs"}


def test_a_missing_transcript_is_named_and_the_known_gaps_are_left_out(tmp_path):
    touch(esd(tmp_path), "0011/Sad/train/0011_000350.wav")
    with pytest.raises(SureError, match=r"1 utterances are not in their speakers' transcripts: 0011/Sad/0011_000350"):
        load(tmp_path)
    (tmp_path / "0011/Sad/train/0011_000350.wav").unlink()
    touch(esd(tmp_path, "0012"), "0012/Sad/train/0012_001355.wav")
    assert not any("0012_001355" in name for name in load(tmp_path)["train"]["id"])
    (tmp_path / "0012/0012.txt").unlink()
    with pytest.raises(SureError, match=r"0012\.txt: no such file"):
        load(tmp_path)


def test_an_unknown_language_is_named():
    with pytest.raises(SureError, match="language=french: choose one of mandarin, english, all"):
        make_task("asr_esd", {"language": "french"})
