"""Speech Commands' lists are its splits; what is told apart is an option."""

from collections import Counter

import numpy as np
import pytest
import soundfile

from sure.errors import SureError
from sure.task import make_task
from tests.factories.corpora import touch, write

COMMANDS = ["down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"]
WORDS = [*COMMANDS, "bed", "four", "marvin"]
TEST_SET = "speech_commands_test_set_v0.01"


@pytest.fixture
def corpus(tmp_path):
    """Three speakers, of whom the second validates and the third tests."""
    folder = tmp_path / "v0.01"
    for word in WORDS:
        touch(folder / word, *(f"{name}_nohash_{take}.wav" for name in ("0a", "1b", "2c") for take in (0, 1)))
    for name, speaker in (("validation_list.txt", "1b"), ("testing_list.txt", "2c")):
        write(folder / name, *(f"{word}/{speaker}_nohash_{take}.wav" for word in WORDS for take in (0, 1)))
    touch(folder, "LICENSE", "README.md", "_background_noise_/README.md", "bed/._0a_nohash_0.wav")
    for name, seconds in (("white_noise", 2.5), ("running_tap", 3.0)):
        soundfile.write(folder / "_background_noise_" / f"{name}.wav", np.zeros(int(seconds * 16_000)), 16_000)
    return folder


@pytest.fixture
def test_set(corpus):
    folder = corpus.parent / TEST_SET
    for label in ("_unknown_", *COMMANDS):
        touch(folder / label, "3d_nohash_0.wav")
    return touch(folder / "_silence_", "noise.wav").parent


def load(folder, **options):
    task = make_task("speech_commands", options)
    return task, task.load(folder)


def test_the_words_of_sure_are_split_by_the_release_s_lists(corpus):
    task, splits = load(corpus)
    assert task.labels == ["down", "four", "go", "left", "no", "off", "on", "right", "stop", "up", "yes"]
    assert {name: set(split["speaker"]) for name, split in splits.items()} == {
        "train": {"0a"},
        "validation": {"1b"},
        "test": {"2c"},
    }
    for split in splits.values():
        assert Counter(split["label"]) == dict.fromkeys(task.labels, 2)
    assert splits["test"]["id"][2] == "four/2c_nohash_0"
    assert splits["test"]["path"][2] == str(corpus / "four" / "2c_nohash_0.wav")


def test_all_words_are_those_that_are_there(corpus):
    task, splits = load(corpus, words="all")
    assert task.labels == sorted(WORDS)
    assert {name: len(split) for name, split in splits.items()} == dict.fromkeys(splits, 2 * len(WORDS))


def test_superb_has_silence_by_the_second_unknown_words_and_a_test_set_of_its_own(corpus, test_set):
    task, splits = load(corpus, words="superb")
    assert task.labels == ["_silence_", "_unknown_", *COMMANDS]
    words = dict.fromkeys(COMMANDS, 2) | {"_unknown_": 6}
    # Of 2.5 seconds two are whole.
    assert Counter(splits["train"]["label"]) == words | {"_silence_": 2}
    assert Counter(splits["validation"]["label"]) == words | {"_silence_": 3}
    assert Counter(splits["test"]["label"]) == dict.fromkeys(task.labels, 1)
    noises = [row for row in splits["train"] if row["label"] == "_silence_"]
    assert [(row["id"], row["start"], row["end"], row["speaker"]) for row in noises] == [
        ("_background_noise_/white_noise/000", 0.0, 1.0, None),
        ("_background_noise_/white_noise/001", 1.0, 2.0, None),
    ]
    # What the release lists for testing is in no split: the test set has its own.
    assert not {"2c"} & set().union(*(split["speaker"] for split in splits.values()))
    assert {row["label"]: row["speaker"] for row in splits["test"]} == dict.fromkeys(task.labels, "3d") | {
        "_silence_": None
    }


def test_superb_s_test_set_may_lie_in_the_corpus_and_is_no_word_of_it(corpus, test_set):
    beside = load(corpus, words="superb")[1]["test"]["id"]
    test_set.rename(corpus / TEST_SET)
    assert load(corpus, words="superb")[1]["test"]["id"] == beside
    assert TEST_SET not in load(corpus, words="all")[0].labels


def test_what_is_missing_is_named(corpus, test_set):
    (test_set / "up").rename(test_set / "upp")
    with pytest.raises(SureError, match=rf"{TEST_SET}: no folder 'up' \(found: _silence_, _unknown_"):
        load(corpus, words="superb")
    test_set.rename(corpus.parent / "elsewhere")
    with pytest.raises(SureError, match=rf"{TEST_SET}: no such folder, nor one in .*words=superb is tested on it"):
        load(corpus, words="superb")
    for path in (corpus / "_background_noise_").glob("*.wav"):
        path.unlink()
    with pytest.raises(SureError, match="_background_noise_: no audio files; words=superb takes its silence from"):
        load(corpus, words="superb")
    (corpus / "stop" / "1b_nohash_1.wav").unlink()
    with pytest.raises(SureError, match=r"validation_list\.txt, line 16: no such file: .*stop/1b_nohash_1\.wav"):
        load(corpus)
    (corpus / "validation_list.txt").unlink()
    with pytest.raises(SureError, match=r"validation_list\.txt: cannot be read"):
        load(corpus)
    (corpus / "four").rename(corpus / "five")
    with pytest.raises(SureError, match=r"no folder 'four' \(found: bed, down, five.*<word>/<speaker>_nohash_"):
        load(corpus)


def test_a_folder_without_words_another_name_and_another_choice_are_refused(corpus, tmp_path):
    touch(corpus, "off/recording.wav")
    with pytest.raises(SureError, match=r"off/recording\.wav: not a name of Speech Commands; expected <speaker>"):
        load(corpus)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SureError, match=r"no folder 'of a word' \(found: nothing\)"):
        load(tmp_path / "empty", words="all")
    with pytest.raises(SureError, match="words=some: Input should be 'sure', 'superb' or 'all'"):
        make_task("speech_commands", {"words": "some"})
