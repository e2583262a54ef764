"""Transcribed recordings of one's own; how manifests are read is tested with `audio_classification`."""

import pytest

from sure.errors import SureError
from sure.task import make_task
from tests.factories.corpora import touch, write


def load(folder):
    return make_task("asr_manifest", {}).load(folder)


def test_a_manifest_has_texts_splits_speakers_and_times(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    lines = ["path,text,split,speaker,start,end", 'a.wav,"Yes, it is.",train,anna,0,1.5', "a.wav,No,dev,anna,1.5,"]
    write(tmp_path / "manifest.csv", *lines, "b.wav,7,test,,,")
    splits = load(tmp_path)
    assert {name: split["text"][:] for name, split in splits.items()} == {
        "train": ["yes it is"],
        "validation": ["no"],
        "test": ["7"],
    }
    assert splits["train"][0] == {
        "id": "a.wav[0-1.5]",
        "path": str(tmp_path / "a.wav"),
        "speaker": "anna",
        "start": 0.0,
        "end": 1.5,
        "split": "train",
        "text": "yes it is",
    }


@pytest.mark.parametrize("count", [3, 60])
def test_splits_are_made_where_there_are_none(count, tmp_path):
    names = [f"{number}.wav" for number in range(count)]
    touch(tmp_path, *names)
    write(tmp_path / "metadata.csv", "file_name,text", *(f"{name},word" for name in names))
    assert all(len(split) for split in load(tmp_path).values())


def test_mistakes_are_named(tmp_path):
    with pytest.raises(SureError, match=r"no manifest \(manifest.csv, .* here, found nothing"):
        load(tmp_path)
    touch(tmp_path, "a.wav")
    write(tmp_path / "manifest.csv", "path,label", "a.wav,yes")
    with pytest.raises(SureError, match=r"line 2: no 'text'; expected the columns path,text\["):
        load(tmp_path)
