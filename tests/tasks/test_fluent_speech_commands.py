"""Fluent Speech Commands' csv files are its splits; an intent is three labels, or one."""

import pytest
import torch

from sure.errors import SureError
from sure.task import make_task
from tests.factories.corpora import touch, write

HEAD = ",path,speakerId,transcription,action,object,location"
# As in the release, a number before each row, and quotation marks around a text with a comma.
LINES = {
    "train": [
        '0,wavs/speakers/a1/1.wav,a1,"Lights, on",activate,lights,none',
        "1,wavs/speakers/a1/2.wav,a1,Turn the heat down in the kitchen,decrease,heat,kitchen",
    ],
    "valid": ["0,wavs/speakers/b2/1.wav,b2,Lights on,activate,lights,none"],
    "test": ["0,wavs/speakers/c3/1.wav,c3,Heat down in the kitchen,decrease,heat,kitchen"],
}


@pytest.fixture
def corpus(tmp_path):
    for split, lines in LINES.items():
        write(tmp_path / "data" / f"{split}_data.csv", HEAD, *lines)
        touch(tmp_path, *(line.split(",")[1] for line in lines))
    return tmp_path


def load(folder, **options):
    task = make_task("fluent_speech_commands", options)
    return task, task.load(folder)


def test_the_csv_files_are_the_splits_and_the_slots_the_labels(corpus):
    task, splits = load(corpus)
    assert {name: split["id"] for name, split in splits.items()} == {
        "train": ["wavs/speakers/a1/1.wav", "wavs/speakers/a1/2.wav"],
        "validation": ["wavs/speakers/b2/1.wav"],
        "test": ["wavs/speakers/c3/1.wav"],
    }
    assert splits["train"][1] == {
        "id": "wavs/speakers/a1/2.wav",
        "path": str(corpus / "wavs/speakers/a1/2.wav"),
        "speaker": "a1",
        "split": "train",
        "action": "decrease",
        "object": "heat",
        "location": "kitchen",
    }
    assert task.labels == {
        "action": ["activate", "decrease"],
        "object": ["heat", "lights"],
        "location": ["kitchen", "none"],
    }


def test_an_intent_may_be_one_label_and_a_record_gives_the_task_again(corpus):
    task, splits = load(corpus, intents="whole")
    assert task.labels == ["activate, lights, none", "decrease, heat, kitchen"]
    assert splits["test"]["intent"] == ["decrease, heat, kitchen"]
    again = make_task("fluent_speech_commands", {"labels": task.labels, "intents": "whole"})
    assert again.targets(splits["train"].to_list())["labels"].tolist() == [0, 1]
    assert make_task("fluent_speech_commands", {}).label_columns == ("action", "object", "location")


def test_the_head_of_superb_tells_24_values_apart_and_one_wrong_slot_is_a_wrong_intent():
    labels = {
        "action": [f"action {number}" for number in range(6)],
        "object": [f"object {number}" for number in range(14)],
        "location": [f"location {number}" for number in range(4)],
    }
    task = make_task("fluent_speech_commands", {"labels": labels})
    # SUPERB's for HuBERT base: a projection to 256, and 24 logits.
    assert sum(parameter.numel() for parameter in task.build_head(768).parameters()) == 203_032
    rows = [{"id": str(number)} | {slot: values[number] for slot, values in labels.items()} for number in range(4)]
    logits = torch.full((4, 24), -1.0)
    for number in range(4):
        logits[number, [number, 6 + number, 20 + number]] = 1
    assert task.score(task.predict(logits.numpy(), rows)) == {"accuracy": 1}
    logits[0, 23] = 2
    assert task.score(task.predict(logits.numpy(), rows)) == {"accuracy": 0.75}


def test_a_missing_file_table_column_or_value_is_named(corpus):
    (corpus / "wavs/speakers/b2/1.wav").unlink()
    with pytest.raises(SureError, match=r"valid_data\.csv, line 2: no such file: .*wavs/speakers/b2/1\.wav"):
        load(corpus)
    write(corpus / "data" / "train_data.csv", HEAD, "0,wavs/speakers/a1/1.wav,a1,Lights on,activate,lights")
    with pytest.raises(SureError, match=r"train_data\.csv, line 2: ends before its location"):
        load(corpus)
    write(corpus / "data" / "train_data.csv", HEAD.replace("action", "Action"))
    with pytest.raises(SureError, match=r"no column 'action'; expected path, speakerId, action.*found , path, speaker"):
        load(corpus)
    (corpus / "data" / "train_data.csv").unlink()
    with pytest.raises(SureError, match=r"train_data\.csv: no such file \(found in .*: data, wavs\); expected Fluent"):
        load(corpus)
