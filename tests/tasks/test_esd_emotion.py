"""ESD's folders become the splits of the release, in the release's layout and in the newer one without them."""

from collections import Counter

import pytest

from sure.errors import SureError
from sure.task import make_task

EMOTIONS = ["Angry", "Happy", "Neutral", "Sad", "Surprise"]


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def release(folder, speakers=("0011",), counts=(("train", 3), ("evaluation", 1), ("test", 2))):
    """The layout of the release, with numbers that run through evaluation, test and train as there."""
    for speaker in speakers:
        number = 0
        for emotion in EMOTIONS:
            for split, count in counts:
                for _ in range(count):
                    number += 1
                    touch(folder / speaker / emotion / split / f"{speaker}_{number:06d}.wav")
        (folder / speaker / f"{speaker}.txt").write_text("a transcript beside the folders", encoding="utf-8")
    return folder


def flat(folder, count, speaker="0011"):
    """The newer layout: one folder per emotion."""
    for emotion in EMOTIONS:
        for number in range(1, count + 1):
            touch(folder / speaker / emotion / f"{speaker}_{number:06d}.wav")
    return folder


def load(folder, **options):
    return make_task("esd_emotion", options).load(folder)


def speakers(splits):
    return {speaker for split in splits.values() for speaker in split["speaker"]}


def test_the_folders_of_the_release_are_the_splits(tmp_path):
    splits = load(release(tmp_path))
    assert splits["validation"]["id"] == [
        "0011/Angry/0011_000004",
        "0011/Happy/0011_000010",
        "0011/Neutral/0011_000016",
        "0011/Sad/0011_000022",
        "0011/Surprise/0011_000028",
    ]
    assert Counter(splits["train"]["label"]) == dict.fromkeys(EMOTIONS, 3)
    assert Counter(splits["test"]["label"]) == dict.fromkeys(EMOTIONS, 2)
    assert splits["test"][0] == {
        "id": "0011/Angry/0011_000005",
        "path": str(tmp_path / "0011/Angry/test/0011_000005.wav"),
        "speaker": "0011",
        "label": "Angry",
        "split": "test",
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"0011", "0020"}),
        ({"language": "english"}, {"0011", "0020"}),
        ({"language": "mandarin"}, {"0001", "0010"}),
        ({"language": "all"}, {"0001", "0010", "0011", "0020"}),
    ],
)
def test_a_language_is_its_speakers(options, expected, tmp_path):
    assert speakers(load(release(tmp_path, ("0001", "0010", "0011", "0020")), **options)) == expected


def test_an_unknown_language_is_refused_with_the_right_ones():
    with pytest.raises(SureError, match=r"language=German: choose one of mandarin, english, all"):
        make_task("esd_emotion", {"language": "German"})


def test_without_split_folders_the_first_20_of_350_are_validation_and_the_next_30_test(tmp_path):
    splits = load(flat(tmp_path, 350))
    assert {name: len(split) for name, split in splits.items()} == {"train": 1500, "validation": 100, "test": 150}
    numbers = {
        name: sorted(int(one.rpartition("_")[2]) for one in split["id"] if "/Sad/" in one)
        for name, split in splits.items()
    }
    assert numbers == {
        "validation": list(range(1, 21)),
        "test": list(range(21, 51)),
        "train": list(range(51, 351)),
    }


def test_fewer_files_are_split_in_proportion(tmp_path):
    splits = load(flat(tmp_path, 35))
    assert {name: len(split) // 5 for name, split in splits.items()} == {"train": 30, "validation": 2, "test": 3}


def test_the_folder_that_the_archive_unpacks_into_is_found_with_what_macos_puts_beside_it(tmp_path):
    nested = release(tmp_path / "Emotion Speech Dataset")
    touch(tmp_path / "__MACOSX" / "Emotion Speech Dataset" / "._0011")
    assert load(tmp_path)["test"]["id"] == load(nested)["test"]["id"]


def test_files_that_macos_leaves_and_other_folders_do_not_count(tmp_path):
    expected = load(release(tmp_path))["train"]["id"]
    touch(tmp_path / "0011/Angry/train/._0011_000001.wav")
    touch(tmp_path / "0011/Angry/train/0011.txt")
    (tmp_path / "0011/.git").mkdir()
    (tmp_path / "0021").mkdir()
    (tmp_path / "notes").mkdir()
    assert load(tmp_path)["train"]["id"] == expected


def test_labels_are_sorted_and_a_subset_of_them_can_be_chosen(tmp_path):
    assert make_task("esd_emotion", {}).labels == EMOTIONS
    splits = load(release(tmp_path), labels=["Angry", "Sad"])
    assert set(splits["train"]["label"]) == {"Angry", "Sad"}


def test_a_folder_without_speakers_is_told_what_was_expected_and_found(tmp_path):
    (tmp_path / "english").mkdir()
    (tmp_path / "0021").mkdir()
    with pytest.raises(SureError, match=r"no ESD speaker folders .* found 0021, english\. Expected <speaker>/<Emo"):
        load(tmp_path)
    with pytest.raises(SureError, match=r"no ESD speaker folders .* found nothing"):
        load(tmp_path / "english")


def test_a_language_that_is_not_there_names_the_speakers_that_are(tmp_path):
    with pytest.raises(SureError, match=r"no mandarin speakers of ESD \(found 0011\).*language=english"):
        load(release(tmp_path), language="mandarin")


def test_an_emotion_that_is_missing_or_written_otherwise_is_named(tmp_path):
    release(tmp_path)
    (tmp_path / "0011/Angry").rename(tmp_path / "0011/angry")
    with pytest.raises(SureError, match=r"0011 has no 'Angry' \(found: Happy, .*angry\); expected Angry, Happy"):
        load(tmp_path)


def test_a_missing_split_folder_is_named(tmp_path):
    release(tmp_path)
    for path in (tmp_path / "0011/Happy/evaluation").iterdir():
        path.unlink()
    (tmp_path / "0011/Happy/evaluation").rmdir()
    with pytest.raises(
        SureError, match=r"Happy has no 'evaluation' \(found: test, train\); expected train, evaluation"
    ):
        load(tmp_path)


def test_an_utterance_in_two_splits_is_refused(tmp_path):
    touch(release(tmp_path) / "0011/Sad/test/0011_000019.wav")
    with pytest.raises(SureError, match="1 utterance ids occur twice, the first is '0011/Sad/0011_000019'"):
        load(tmp_path)


def test_an_empty_split_is_named(tmp_path):
    with pytest.raises(SureError, match="no validation utterance for esd_emotion among the 5 found"):
        load(flat(tmp_path, 1))


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SureError, match=r"--data_dir .*nowhere: no such folder"):
        load(tmp_path / "nowhere")
