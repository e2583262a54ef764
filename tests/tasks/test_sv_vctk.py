"""VCTK's two releases; the last speakers are tested."""

import pytest

from sure.errors import SureError
from sure.task import make_task


def corpus(folder, speakers=20, utterances=3, names=("{}_{:03d}_mic1.flac", "{}_{:03d}_mic2.flac")):
    for number in range(speakers):
        speaker = f"p{225 + number}"
        (folder / speaker).mkdir(parents=True)
        for utterance in range(1, utterances + 1):
            for name in names:
                (folder / speaker / name.format(speaker, utterance)).touch()


def load(folder):
    task = make_task("sv_vctk", {})
    return task, task.load(folder)


def test_the_last_fifth_of_speakers_is_test_the_tenth_before_validation_by_the_first_microphone(tmp_path):
    corpus(tmp_path / "wav48_silence_trimmed")
    task, splits = load(tmp_path)
    speakers = [f"p{225 + number}" for number in range(20)]
    assert {name: sorted(set(split["speaker"])) for name, split in splits.items()} == {
        "train": speakers[:14],
        "validation": speakers[14:16],
        "test": speakers[16:],
    }
    assert splits["test"]["id"][0] == "p241/p241_001_mic1"
    assert all(path.endswith("_mic1.flac") for split in splits.values() for path in split["path"])
    # Three pairs a speaker, and as many with others.
    assert len(task.trials["test"]) == 4 * 3 * 2
    assert len(task.trials["validation"]) == 2 * 3 * 2


def test_the_older_release_has_wav_files_with_plain_names(tmp_path):
    corpus(tmp_path / "wav48", names=("{}_{:03d}.wav",))
    _, splits = load(tmp_path)
    assert splits["train"]["id"][0] == "p225/p225_001"


def test_a_speaker_without_the_first_microphone_is_left_out(tmp_path):
    corpus(tmp_path / "wav48_silence_trimmed")
    (tmp_path / "wav48_silence_trimmed" / "p999").mkdir()
    (tmp_path / "wav48_silence_trimmed" / "p999" / "p999_001_mic2.flac").touch()
    assert "p999" not in set(load(tmp_path)[1]["test"]["speaker"])


def test_five_speakers_are_too_few(tmp_path):
    corpus(tmp_path / "wav48_silence_trimmed", speakers=5)
    with pytest.raises(SureError, match=r"5 speakers with \*\.wav .* \*_mic1\.flac \(0\.92\); at least 6 are needed"):
        load(tmp_path)


def test_a_folder_that_is_not_vctk_is_told_what_was_expected(tmp_path):
    (tmp_path / "wav16").mkdir()
    with pytest.raises(SureError, match=r"neither wav48_silence_trimmed nor wav48 here \(found: wav16\)"):
        load(tmp_path)
