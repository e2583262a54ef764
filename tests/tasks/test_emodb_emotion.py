"""EmoDB's file names say speaker and emotion; the last speakers are the test split."""

from collections import Counter

import pytest

from sure.errors import SureError
from sure.task import make_task
from tests.factories import RECORDINGS

REAL = RECORDINGS / "emodb"


def corpus(folder, speakers=("03", "08", "09", "10", "11", "12"), emotions="WLEAFTN", suffix=".wav"):
    folder.mkdir(parents=True, exist_ok=True)
    for speaker in speakers:
        for emotion in emotions:
            (folder / f"{speaker}a01{emotion}a{suffix}").touch()
    return folder


def load(folder):
    return make_task("emodb_emotion", {}).load(folder)


def test_the_last_two_speakers_are_test_and_the_two_before_them_validation(tmp_path):
    corpus(tmp_path / "wav")
    splits = load(tmp_path)
    assert {name: sorted(set(split["speaker"])) for name, split in splits.items()} == {
        "train": ["03", "08"],
        "validation": ["09", "10"],
        "test": ["11", "12"],
    }
    assert splits["train"]["id"][0] == "03a01Aa"
    assert splits["train"]["path"][0] == str(tmp_path / "wav" / "03a01Aa.wav")


def test_letters_are_the_german_initials_of_the_emotions(tmp_path):
    splits = load(corpus(tmp_path))
    assert {name[5]: label for name, label in zip(splits["test"]["id"], splits["test"]["label"], strict=True)} == {
        "W": "anger",
        "L": "boredom",
        "E": "disgust",
        "A": "fear",
        "F": "happiness",
        "T": "sadness",
        "N": "neutral",
    }
    labels = make_task("emodb_emotion", {}).labels
    assert labels == sorted(set(splits["test"]["label"]))


def test_files_may_lie_in_the_folder_itself_as_flac_and_among_hidden_ones(tmp_path):
    corpus(tmp_path, suffix=".FLAC")
    (tmp_path / "._03a01Fa.FLAC").touch()
    (tmp_path / "readme.txt").touch()
    assert sum(map(len, load(tmp_path).values())) == 42


@pytest.mark.parametrize("name", ["03a01Xa.wav", "recording.wav", "3a01Fa.wav", "03a01Fab.wav"])
def test_another_name_is_refused_with_the_file_and_an_example(name, tmp_path):
    (corpus(tmp_path) / name).touch()
    with pytest.raises(SureError, match=rf"{name}: not an EmoDB name; .* A, E, F, L, N, T, W .* such as 03a01Fa\.wav"):
        load(tmp_path)


def test_a_folder_without_audio_is_told_what_was_expected(tmp_path):
    with pytest.raises(SureError, match=r"no audio files; expected EmoDB's, such as 03a01Fa\.wav"):
        load(tmp_path)


def test_one_utterance_in_two_formats_is_refused(tmp_path):
    (corpus(tmp_path) / "03a01Fa.flac").touch()
    with pytest.raises(SureError, match="1 utterance ids occur twice, the first is '03a01Fa'"):
        load(tmp_path)


def test_four_speakers_leave_nothing_to_train_on(tmp_path):
    with pytest.raises(SureError, match="no train utterance for emodb_emotion among the 28 found"):
        load(corpus(tmp_path, speakers=("03", "08", "09", "10")))


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SureError, match=r"--data_dir .*nowhere: no such folder"):
        load(tmp_path / "nowhere")


@pytest.mark.skipif(not REAL.is_dir(), reason=f"EmoDB is not in {REAL}")
def test_the_real_corpus_has_its_published_numbers():
    splits = load(REAL)
    assert {name: sorted(set(split["speaker"])) for name, split in splits.items()} == {
        "train": ["03", "08", "09", "10", "11", "12"],
        "validation": ["13", "14"],
        "test": ["15", "16"],
    }
    counts = {name: Counter(split["label"]) for name, split in splits.items()}
    assert counts == {
        "train": dict(anger=72, boredom=40, disgust=14, fear=35, happiness=36, neutral=47, sadness=34),
        "validation": dict(anger=28, boredom=18, disgust=16, fear=19, happiness=18, neutral=16, sadness=15),
        "test": dict(anger=27, boredom=23, disgust=16, fear=15, happiness=17, neutral=16, sadness=13),
    }
    # As published (Burkhardt et al. 2005).
    assert sum(counts.values(), Counter()) == dict(
        anger=127, boredom=81, disgust=46, fear=69, happiness=71, neutral=79, sadness=62
    )
    assert sum(map(len, splits.values())) == 535
