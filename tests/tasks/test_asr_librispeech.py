"""LibriSpeech's layout, made of empty files."""

import pytest

from sure.errors import SureError
from sure.task import make_task
from tests.factories.corpora import touch, write


def librispeech(folder, *subsets):
    for number, subset in enumerate(subsets or ("train-clean-100", "dev-clean", "test-clean", "test-other"), start=1):
        for chapter in (10, 11):
            names = [f"{number}-{chapter}-{utterance:04d}" for utterance in range(2)]
            texts = [f"{name} THE {subset} ISN'T LONG" for name in names]
            write(folder / subset / str(number) / str(chapter) / f"{number}-{chapter}.trans.txt", *texts)
            touch(folder / subset / str(number) / str(chapter), *(f"{name}.flac" for name in names))
    return folder


def load(folder, **options):
    return make_task("asr_librispeech", options).load(folder)


@pytest.mark.parametrize("root", ["", "LibriSpeech"])
def test_subsets_are_splits(root, tmp_path):
    librispeech(tmp_path / root)
    splits = load(tmp_path)
    assert {name: len(split) for name, split in splits.items()} == {"train": 4, "validation": 4, "test": 4}
    assert splits["train"][0] == {
        "id": "1-10-0000",
        "path": str(tmp_path / root / "train-clean-100/1/10/1-10-0000.flac"),
        "speaker": "1",
        "split": "train",
        "text": "the trainclean100 isn't long",
    }
    assert set(splits["test"]["speaker"]) == {"3"}


def test_options_choose_other_subsets(tmp_path):
    librispeech(tmp_path)
    assert set(load(tmp_path, test="test-other")["test"]["speaker"]) == {"4"}


def refused(folder, message, **options):
    with pytest.raises(SureError, match=message):
        load(folder, **options)


def test_mistakes_are_named(tmp_path):
    librispeech(tmp_path)
    refused(tmp_path, "test=test-dirty: choose one of test-clean, test-other", test="test-dirty")
    refused(tmp_path, r"train-clean-360: no such folder \(found: dev-clean, test-clean", train="train-clean-360")
    (tmp_path / "dev-clean/2/11/2-11-0001.flac").unlink()
    refused(tmp_path, r"2-11-0001\.flac: no such file, although its chapter")
    (tmp_path / "dev-clean/2/10/2-10.trans.txt").unlink()
    refused(tmp_path, r"2-10\.trans\.txt: no such file")
