"""CREMA-D, RAVDESS and MSP-IMPROV: names and tables say who feels what, and no actor is in two splits."""

import pytest

from sure.corpus.splits import by_last_speakers
from sure.errors import SureError
from sure.task import make_task
from tests.factories.corpora import touch, write


def load(name, folder):
    task = make_task(name, {})
    return task, task.load(folder)


def speakers(splits):
    return {name: sorted(set(split["speaker"])) for name, split in splits.items()}


def test_the_last_fifth_of_speakers_tests_and_the_one_before_it_validates():
    splits = by_last_speakers(["b", "a", "b", "c"])
    assert splits == {"a": "train", "b": "validation", "c": "test"}
    # As CREMA-D's and RAVDESS' docstrings have them.
    of_crema_d = by_last_speakers(str(actor) for actor in range(1001, 1092))
    assert [of_crema_d[actor] for actor in ("1055", "1056", "1073", "1074")] == [
        *("train", "validation", "validation", "test")
    ]
    of_ravdess = by_last_speakers(f"{actor:02d}" for actor in range(1, 25))
    assert [of_ravdess[actor] for actor in ("16", "17", "20", "21")] == ["train", "validation", "validation", "test"]


def test_crema_d(tmp_path):
    names = [f"{actor}_DFA_{emotion}_XX.wav" for actor in range(1001, 1006) for emotion in ("ANG", "SAD")]
    touch(tmp_path / "AudioWAV", *names, "1001_ITH_SAD_X.wav", "1001_IEO_FEA_HI.wav", "._1001_DFA_ANG_XX.wav")
    for folder in (tmp_path, tmp_path / "AudioWAV"):
        task, splits = load("cremad_emotion", folder)
        assert speakers(splits) == {"train": ["1001", "1002", "1003"], "validation": ["1004"], "test": ["1005"]}
        assert splits["train"][0] == {
            "id": "1001_DFA_ANG_XX",
            "path": str(tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.wav"),
            "speaker": "1001",
            "label": "anger",
            "split": "train",
        }
        assert len(splits["train"]) == 8
    assert len(task.labels) == 6
    touch(tmp_path / "AudioWAV", "1001_DFA_JOY_XX.wav")
    with pytest.raises(SureError, match=r"1001_DFA_JOY_XX\.wav: not a CREMA-D name; expected .*1001_DFA_ANG_XX\.wav"):
        load("cremad_emotion", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SureError, match="empty: no audio files"):
        load("cremad_emotion", tmp_path / "empty")


def test_ravdess(tmp_path):
    for actor in range(1, 6):
        names = [f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav" for emotion in (1, 6)]
        # Song is of other emotions, and of fewer actors.
        touch(tmp_path / f"Actor_{actor:02d}", *names, f"03-02-04-01-02-01-{actor:02d}.wav")
    task, splits = load("ravdess_emotion", tmp_path)
    assert speakers(splits) == {"train": ["01", "02", "03"], "validation": ["04"], "test": ["05"]}
    assert [(row["id"], row["label"]) for row in splits["test"]] == [
        ("03-01-01-01-01-01-05", "neutral"),
        ("03-01-06-01-01-01-05", "fearful"),
    ]
    assert len(task.labels) == 8
    touch(tmp_path / "Actor_01", "01-01-06-01-02-01-12.wav")
    with pytest.raises(SureError, match=r"01-01-06-01-02-01-12\.wav: not a RAVDESS name of audio alone"):
        load("ravdess_emotion", tmp_path)
    with pytest.raises(SureError, match=r"no Actor_01 \(found: nothing\)"):
        load("ravdess_emotion", tmp_path / "Actor_01")


def test_msp_improv(tmp_path):
    lines = []
    for session in range(1, 7):
        for number, (sex, label) in enumerate([("F", "H"), ("M", "N"), ("M", "X")]):
            name = f"IMPROV-S01A-{sex}0{session}-P-FM0{number}"
            lines += [f"UTD-{name}.avi; {label}; A:3.1; V:NaN; D:2.9 ; N:4.2;", "me; Angry; Angry; A:1.0; V:1.0;", ""]
            if label != "X":
                touch(tmp_path / f"session{session}/S01A/P", f"MSP-{name}.wav")
    table = write(tmp_path / "Evalution.txt", *lines)
    _, splits = load("msp_improv_emotion", tmp_path)
    assert speakers(splits) == {
        "train": [f"{sex}0{session}" for sex in "FM" for session in range(1, 5)],
        "validation": ["F05", "M05"],
        "test": ["F06", "M06"],
    }
    assert [row["label"] for row in splits["test"]] == ["happiness", "neutral"]
    (tmp_path / "session6/S01A/P/MSP-IMPROV-S01A-F06-P-FM00.wav").unlink()
    table.rename(tmp_path / "Evaluation.txt")
    with pytest.raises(SureError, match=r"F06-P-FM00\.wav: no such file, although .*Evaluation\.txt labels it"):
        load("msp_improv_emotion", tmp_path)
    (tmp_path / "Evaluation.txt").unlink()
    with pytest.raises(SureError, match=r"no Evalution\.txt \(found: session1, "):
        load("msp_improv_emotion", tmp_path)
