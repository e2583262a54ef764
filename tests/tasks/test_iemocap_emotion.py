"""IEMOCAP's evaluation files become labelled utterances, split by session."""

from collections import Counter
from hashlib import sha256

import pytest

from sure.errors import SureError
from sure.task import make_task

# As in the release: the summary line of an utterance, then what each annotator said.
EVALUATION = """\
% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\t{dialogue}_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral;\t()
C-F1:\tNeutral; Anger;\t()
A-E3:\tval 3; act 2; dom  2;\t()
A-F1:\tval 3; act 2; dom  1;\t()

[10.0100 - 11.3925]\t{dialogue}_M001\t{label}\t[2.5000, 2.5000, 2.5000]
C-E2:\tOther;\t(curious, [1.0 - 2.0] {dialogue}_F009 ang)
A-M1:\tval 2; act 3; dom  3;\t()

"""


def evaluation(folder, session, dialogue, label="xxx"):
    path = folder / f"Session{session}" / "dialog" / "EmoEvaluation" / f"{dialogue}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(EVALUATION.format(dialogue=dialogue, label=label), encoding="utf-8")
    for turn in ("F000", "M001"):
        audio = folder / f"Session{session}" / "sentences" / "wav" / dialogue / f"{dialogue}_{turn}.wav"
        audio.parent.mkdir(parents=True, exist_ok=True)
        audio.touch()


@pytest.fixture
def corpus(tmp_path):
    for session in range(1, 6):
        evaluation(tmp_path, session, f"Ses{session:02d}F_impro01")
    return tmp_path


def load(folder, **options):
    return make_task("iemocap_emotion", options).load(folder)


def test_sessions_one_to_three_train_four_validates_and_five_tests(corpus):
    splits = load(corpus)
    assert {name: sorted(set(split["speaker"])) for name, split in splits.items()} == {
        "train": ["Ses01F", "Ses01M", "Ses02F", "Ses02M", "Ses03F", "Ses03M"],
        "validation": ["Ses04F", "Ses04M"],
        "test": ["Ses05F", "Ses05M"],
    }
    # Neither headings nor what annotators wrote is an utterance.
    assert splits["test"]["id"] == ["Ses05F_impro01_F000", "Ses05F_impro01_M001"]
    assert splits["test"]["label"] == ["neu", "xxx"]
    assert splits["test"]["path"][1] == str(
        corpus / "Session5" / "sentences" / "wav" / "Ses05F_impro01" / "Ses05F_impro01_M001.wav"
    )


def test_scripted_dialogues_have_more_underscores_and_the_last_letter_is_who_speaks(corpus):
    evaluation(corpus, 5, "Ses05M_script01_1b", label="fru")
    rows = [row for row in load(corpus)["test"] if "script" in row["id"]]
    assert [(row["id"], row["speaker"], row["label"]) for row in rows] == [
        ("Ses05M_script01_1b_F000", "Ses05F", "neu"),
        ("Ses05M_script01_1b_M001", "Ses05M", "fru"),
    ]


def test_all_eleven_labels_are_used():
    expected = ["ang", "dis", "exc", "fea", "fru", "hap", "neu", "oth", "sad", "sur", "xxx"]
    assert make_task("iemocap_emotion", {}).labels == expected


def test_superb_has_four_labels_and_tests_the_session_asked_for(corpus):
    labels = ["ang", "exc", "hap", "sad", "fru"]
    for session in range(1, 6):
        for number, label in enumerate(labels):
            evaluation(corpus, session, f"Ses{session:02d}M_impro{number:02d}", label=label)
    assert make_task("iemocap_emotion", {"protocol": "superb"}).labels == ["ang", "hap", "neu", "sad"]
    everything = set()
    for session in range(1, 6):
        splits = load(corpus, protocol="superb", session=session)
        # Of six dialogues of a session the neutral ones, and those of ang, exc, hap and sad; xxx and fru are left out.
        assert Counter(splits["test"]["label"]) == {"neu": 6, "ang": 1, "hap": 2, "sad": 1}
        assert set(splits["test"]["speaker"]) == {f"Ses{session:02d}F", f"Ses{session:02d}M"}
        assert not {f"Ses{session:02d}F", f"Ses{session:02d}M"} & {*splits["train"]["speaker"]}
        assert len(splits["train"]) + len(splits["validation"]) == 40
        assert set(splits["validation"]["id"]) == {
            name
            for name in (*splits["train"]["id"], *splits["validation"]["id"])
            if int(sha256(name.encode()).hexdigest(), 16) % 5 == 0
        }
        everything |= set(splits["test"]["id"])
    assert len(everything) == 50


def test_a_session_that_is_none_or_not_the_protocol_s_is_refused():
    with pytest.raises(SureError, match=r"session=6: IEMOCAP's sessions are 1 to 5\."):
        make_task("iemocap_emotion", {"protocol": "superb", "session": 6})
    with pytest.raises(SureError, match="session=1: protocol=sure tests 5; use protocol=superb"):
        make_task("iemocap_emotion", {"session": 1})


def test_hidden_files_and_single_annotators_do_not_count(corpus):
    expected = load(corpus)["train"]["id"]
    folder = corpus / "Session1" / "dialog" / "EmoEvaluation"
    text = (folder / "Ses01F_impro01.txt").read_text(encoding="utf-8")
    (folder / "._Ses01F_impro01.txt").write_text(text, encoding="utf-8")
    (folder / "Categorical").mkdir()
    (folder / "Categorical" / "Ses01F_impro01_e2_cat.txt").write_text(text, encoding="utf-8")
    assert load(corpus)["train"]["id"] == expected


@pytest.mark.parametrize("session", [1, 5])
def test_a_missing_session_is_named_with_those_found(session, corpus):
    (corpus / f"Session{session}").rename(corpus / "elsewhere")
    with pytest.raises(
        SureError, match=rf"Session{session}/dialog/EmoEvaluation: no such folder \(found in .*: Session"
    ):
        load(corpus)


def test_a_folder_that_is_no_iemocap_is_told_what_was_expected(tmp_path):
    (tmp_path / "IEMOCAP_full_release").mkdir()
    with pytest.raises(
        SureError, match=r"found in .*: IEMOCAP_full_release\); expected IEMOCAP's Session1 to Session5"
    ):
        load(tmp_path)


def test_labelled_audio_that_is_missing_is_named(corpus):
    (corpus / "Session3/sentences/wav/Ses03F_impro01/Ses03F_impro01_F000.wav").unlink()
    with pytest.raises(
        SureError, match=r"Ses03F_impro01_F000\.wav: no such file, although .*Ses03F_impro01\.txt label"
    ):
        load(corpus)


def test_a_label_outside_the_set_names_the_file(corpus):
    evaluation(corpus, 4, "Ses04F_impro01", label="boredom")
    with pytest.raises(
        SureError, match=r"_M001\.wav: label 'boredom' \(validation\) is not one of iemocap_emotion's: a"
    ):
        load(corpus)


def test_an_utterance_labelled_twice_is_refused(corpus):
    folder = corpus / "Session2" / "dialog" / "EmoEvaluation"
    (folder / "Ses02F_copy.txt").write_bytes((folder / "Ses02F_impro01.txt").read_bytes())
    with pytest.raises(SureError, match="2 utterance ids occur twice, the first is 'Ses02F_impro01_F000'"):
        load(corpus)


def test_a_session_without_evaluations_is_an_empty_split(corpus):
    (corpus / "Session4" / "dialog" / "EmoEvaluation" / "Ses04F_impro01.txt").unlink()
    with pytest.raises(SureError, match="no validation utterance for iemocap_emotion among the 8 found"):
        load(corpus)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SureError, match=r"--data_dir .*nowhere: no such folder"):
        load(tmp_path / "nowhere")
