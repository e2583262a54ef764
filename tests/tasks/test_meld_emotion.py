"""MELD's csv files and folders of clips become splits; clips that the release lacks are known."""

import pytest

from sure.errors import SureError
from sure.task import make_task

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
TABLES = {"train": "train_sent_emo.csv", "dev": "dev_sent_emo.csv", "test": "test_sent_emo.csv"}


def line(dialogue, utterance, emotion="neutral", speaker="Chandler", text='"Also I was the point person, naïve?"'):
    return f'1,{text},{speaker},{emotion},neutral,{dialogue},{utterance},8,21,"00:16:16,059","00:16:21,731"\n'


@pytest.fixture
def corpus(tmp_path):
    """Three utterances to train on, one in each of the others."""
    write(
        tmp_path,
        "train",
        line(0, 0),
        line(0, 1, "joy", "Joey"),
        line(10, 2, "anger", "Mönica", '"He said ""no"", twice"'),
    )
    write(tmp_path, "dev", line(0, 0, "fear"))
    write(tmp_path, "test", line(0, 0, "sadness"))
    for clip in ("train/dia0_utt0", "train/dia0_utt1", "train/dia10_utt2", "dev/dia0_utt0", "test/dia0_utt0"):
        path = tmp_path / f"{clip}.wav"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def write(folder, split, *lines):
    (folder / TABLES[split]).write_text(HEADER + "".join(lines), encoding="utf-8")


def load(folder):
    return make_task("meld_emotion", {}).load(folder)


def test_the_tables_are_the_splits_and_commas_quotes_and_umlauts_do_no_harm(corpus):
    splits = load(corpus)
    assert splits["train"]["id"] == ["train/dia0_utt0", "train/dia0_utt1", "train/dia10_utt2"]
    assert splits["train"]["label"] == ["neutral", "joy", "anger"]
    assert splits["train"]["speaker"] == ["Chandler", "Joey", "Mönica"]
    assert splits["validation"][0] == {
        "id": "validation/dia0_utt0",
        "path": str(corpus / "dev" / "dia0_utt0.wav"),
        "speaker": "Chandler",
        "label": "fear",
        "split": "validation",
    }
    assert splits["test"]["label"] == ["sadness"]


def test_labels_are_the_seven_of_the_release():
    expected = ["anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"]
    assert make_task("meld_emotion", {}).labels == expected


def test_the_names_of_the_release_do_for_tables_and_folders(corpus):
    expected = {name: split["id"] for name, split in load(corpus).items()}
    (corpus / "data" / "MELD").mkdir(parents=True)
    for table in TABLES.values():
        (corpus / table).rename(corpus / "data" / "MELD" / table)
    for name, of_the_release in (
        ("train", "train_splits"),
        ("dev", "dev_splits_complete"),
        ("test", "output_repeated_splits_test"),
    ):
        (corpus / name).rename(corpus / of_the_release)
    assert {name: split["id"] for name, split in load(corpus).items()} == expected


def test_clips_without_a_line_and_hidden_files_do_not_count(corpus):
    expected = load(corpus)["train"]["id"]
    (corpus / "train" / "final_videos_testdia0_utt0.wav").touch()
    (corpus / "train" / "._dia0_utt0.wav").touch()
    assert load(corpus)["train"]["id"] == expected


def test_missing_audio_is_counted_and_listed(corpus):
    write(corpus, "dev", line(0, 0), *(line(1, number) for number in range(9)))
    with pytest.raises(SureError, match=r"9 utterances of dev_sent_emo\.csv have no audio: dia1_utt0, .*utt7, \.\.\."):
        load(corpus)


def test_the_clips_that_the_release_lacks_may_be_missing_and_only_in_their_split(corpus):
    write(corpus, "train", line(0, 0), line(0, 1, "joy"), line(125, 3))
    write(corpus, "dev", line(0, 0), line(110, 7))
    splits = load(corpus)
    assert splits["train"]["id"] == ["train/dia0_utt0", "train/dia0_utt1"]
    assert splits["validation"]["id"] == ["validation/dia0_utt0"]
    write(corpus, "test", line(0, 0), line(125, 3))
    with pytest.raises(SureError, match=r"1 utterances of test_sent_emo\.csv have no audio: dia125_utt3\."):
        load(corpus)


def test_a_missing_table_is_named(corpus):
    (corpus / "dev_sent_emo.csv").unlink()
    with pytest.raises(
        SureError, match=r"no dev_sent_emo\.csv for the validation split \(folders found: dev, test, tr"
    ):
        load(corpus)


def test_a_missing_folder_is_named_with_its_other_names(corpus):
    (corpus / "test").rename(corpus / "clips")
    message = r"no test or output_repeated_splits_test folder for the test split \(folders found: clips, dev, train\)"
    with pytest.raises(SureError, match=message):
        load(corpus)


def test_a_table_with_other_columns_is_named_with_the_one_that_is_missing(corpus):
    table = corpus / "train_sent_emo.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("Emotion", "Gefühl"), encoding="utf-8")
    with pytest.raises(SureError, match=r"train_sent_emo\.csv: no column 'Emotion'; expected Dialogue_ID, U.*, found"):
        load(corpus)


def test_a_table_in_another_encoding_a_quotation_mark_not_closed_and_a_short_line_are_named(corpus):
    table = corpus / "train_sent_emo.csv"
    table.write_bytes((HEADER + line(0, 0, text="It\u2019s")).encode("cp1252"))
    with pytest.raises(SureError, match=r"train_sent_emo\.csv: not a text file in UTF-8 \(byte \d+\)"):
        load(corpus)
    write(corpus, "train", line(0, 0), '1,"It is', *["\na"] * 70_000)
    with pytest.raises(SureError, match=r"train_sent_emo\.csv, line 3: field larger .* quotation mark not closed\?"):
        load(corpus)
    write(corpus, "train", line(0, 0), "1,It is,Ross,joy\n")
    with pytest.raises(SureError, match=r"train_sent_emo\.csv, line 3: ends before its Dialogue_ID"):
        load(corpus)


def test_a_label_outside_the_set_names_the_file(corpus):
    write(corpus, "test", line(0, 0, "boredom"))
    with pytest.raises(SureError, match=r"dia0_utt0\.wav: label 'boredom' \(test\) is not one of meld_emotion's: ang"):
        load(corpus)


def test_a_line_that_is_there_twice_is_refused(corpus):
    write(corpus, "dev", line(0, 0), line(0, 0))
    with pytest.raises(SureError, match="1 utterance ids occur twice, the first is 'validation/dia0_utt0'"):
        load(corpus)


def test_an_empty_table_is_an_empty_split(corpus):
    write(corpus, "test")
    with pytest.raises(SureError, match="no test utterance for meld_emotion among the 4 found"):
        load(corpus)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SureError, match=r"--data_dir .*nowhere: no such folder"):
        load(tmp_path / "nowhere")
