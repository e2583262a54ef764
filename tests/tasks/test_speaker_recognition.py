"""Who speaks, on VCTK, on ESD and on VoxCeleb1: every speaker is a label and in every split."""

from collections import Counter

import pytest

from sure.errors import SureError
from sure.task import make_task
from tests.factories.corpora import touch, write


def load(name, folder, **options):
    task = make_task(name, options)
    return task, task.load(folder)


def vctk(folder, speaker, count):
    return touch(folder, *(f"wav48/{speaker}/{speaker}_{number:03d}.wav" for number in range(1, count + 1)))


def test_of_each_speaker_s_sorted_files_the_last_tenth_is_test_and_the_one_before_it_validation(tmp_path):
    vctk(tmp_path, "p225", 10)
    vctk(tmp_path, "p226", 29)
    task, splits = load("sr_vctk", tmp_path)
    assert task.labels == ["p225", "p226"]
    assert all(split["label"] == split["speaker"] for split in splits.values())
    assert {name: Counter(split["label"]) for name, split in splits.items()} == {
        "train": {"p225": 8, "p226": 25},
        "validation": {"p225": 1, "p226": 2},
        "test": {"p225": 1, "p226": 2},
    }
    assert splits["test"]["id"] == ["p225/p225_010", "p226/p226_028", "p226/p226_029"]
    assert splits["validation"]["id"] == ["p225/p225_009", "p226/p226_026", "p226/p226_027"]


def test_of_two_microphones_the_first_counts(tmp_path):
    for speaker in ("p225", "p226"):
        names = (f"{speaker}_{number:03d}_mic{mic}.flac" for number in range(10) for mic in (1, 2))
        touch(tmp_path / "wav48_silence_trimmed" / speaker, *names)
    _, splits = load("sr_vctk", tmp_path)
    assert splits["test"]["id"] == ["p225/p225_009_mic1", "p226/p226_009_mic1"]


def test_a_speaker_of_fewer_than_ten_files_and_another_layout_are_refused(tmp_path):
    with pytest.raises(SureError, match="neither wav48_silence_trimmed nor wav48 here"):
        load("sr_vctk", touch(tmp_path / "other", "wav16/p225/1.wav"))
    with pytest.raises(SureError, match="wav48/p226: 9 recordings; at least 10 of a speaker are needed"):
        load("sr_vctk", vctk(vctk(tmp_path, "p225", 10), "p226", 9))


def test_esd_s_speakers_have_its_splits_in_every_emotion(tmp_path):
    for speaker in ("0001", "0011", "0012"):
        for emotion in ("Angry", "Happy", "Neutral", "Sad", "Surprise"):
            for split in ("train", "evaluation", "test"):
                touch(tmp_path / speaker / emotion / split, f"{speaker}_{emotion}_{split}.wav")
    task, splits = load("sr_esd", tmp_path)
    assert task.labels == ["0011", "0012"]
    for split in splits.values():
        assert Counter(split["label"]) == {"0011": 5, "0012": 5}
    assert load("sr_esd", tmp_path, language="all")[0].labels == ["0001", "0011", "0012"]
    with pytest.raises(SureError, match="language=german: choose one of mandarin, english, all"):
        make_task("sr_esd", {"language": "german"})


def test_voxceleb1_is_split_by_the_authors_list(tmp_path):
    lines = [f"{split} id{speaker}/video{split}/0000{split}.wav" for speaker in (10001, 10270) for split in (3, 1, 2)]
    listing = write(tmp_path / "iden_split.txt", *lines, "")
    for line in lines:
        name = line[2:]
        touch(tmp_path / ("dev" if "id10001" in name else "test") / "wav", name)
    task, splits = load("sr_voxceleb1", tmp_path)
    assert task.labels == ["id10001", "id10270"]
    assert {name: split["id"][:] for name, split in splits.items()} == {
        name: [f"id{speaker}/video{split}/0000{split}.wav" for speaker in (10001, 10270)]
        for name, split in (("train", 1), ("validation", 2), ("test", 3))
    }
    assert splits["test"]["path"][1] == str(tmp_path / "test/wav/id10270/video3/00003.wav")
    (tmp_path / "test").rename(tmp_path / "tested")
    with pytest.raises(SureError, match=r"line 4: no such file: id10270/video3/00003\.wav in .*dev/wav"):
        load("sr_voxceleb1", tmp_path)
    write(listing, "4 id10001/video/00001.wav")
    with pytest.raises(SureError, match=r"iden_split\.txt, line 1: '4 id10001.*expected 1, 2 or 3"):
        load("sr_voxceleb1", tmp_path)
    (tmp_path / "dev").rename(tmp_path / "developed")
    with pytest.raises(SureError, match="neither dev/wav and test/wav nor wav here"):
        load("sr_voxceleb1", tmp_path)
    listing.unlink()
    with pytest.raises(SureError, match=r"no such list; it is at https://www\.robots"):
        load("sr_voxceleb1", tmp_path)
