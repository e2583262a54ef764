"""So many shots of each class, drawn from the training split; the draw is in the record and in the fingerprint."""

from collections import Counter

import pytest

from sure.corpus.cache import fingerprint
from sure.errors import SureError
from sure.task import make_task, task_with_options
from tests.factories.corpora import touch, write


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    many = {"train": {"no": 9, "yes": 7, "maybe": 3}, "dev": {"no": 2, "yes": 2}, "test": {"no": 2, "maybe": 1}}
    for split, labels in many.items():
        for label, count in labels.items():
            touch(folder / split / label, *(f"{number}.wav" for number in range(count)))
    return folder


def load(folder, **options):
    task = task_with_options("audio_classification", options)
    return task, task.load(folder)


def test_so_many_of_each_class_are_drawn_from_the_training_split_alone(corpus):
    _, whole = load(corpus)
    task, few = load(corpus, shots=3)
    assert Counter(few["train"]["label"]) == {"no": 3, "yes": 3, "maybe": 3}
    assert set(few["train"]["id"]) <= set(whole["train"]["id"])
    assert few["train"]["id"] == sorted(few["train"]["id"])
    for split in ("validation", "test"):
        assert few[split]["id"] == whole[split]["id"]
    assert task.drawn == few["train"]["id"][:]
    # One of a record draws the same again.
    again = make_task("audio_classification", {"shots": 3, "draw": 0, "drawn": task.drawn, "labels": task.labels})
    assert again.load(corpus)["train"]["id"] == task.drawn


def test_fewer_shots_are_some_of_more_and_another_draw_has_others(corpus):
    one, two, three = (set(load(corpus, shots=shots)[0].drawn) for shots in (1, 2, 3))
    assert one < two < three
    draws = {tuple(load(corpus, shots=3, draw=draw)[0].drawn) for draw in range(4)}
    assert len(draws) == 4


def test_a_board_compares_only_what_learnt_from_the_same_utterances(corpus):
    prints = [
        fingerprint(load(corpus, **options)[1]) for options in ({}, {"shots": 2}, {"shots": 3}, {"shots": 3, "draw": 1})
    ]
    assert len(set(prints)) == 4
    assert fingerprint(load(corpus, shots=3)[1]) == prints[2]


def test_of_several_columns_each_combination_is_a_class(tmp_path):
    for split in ("train", "valid", "test"):
        said = [("on", "lamp"), ("off", "lamp"), ("on", "heat")] * 4
        names = [f"{split}/{number}.wav" for number in range(len(said))]
        touch(tmp_path, *names)
        rows = [f"{name},s,x,{action},{thing},none" for name, (action, thing) in zip(names, said, strict=True)]
        write(tmp_path / f"data/{split}_data.csv", "path,speakerId,transcription,action,object,location", *rows)
    few = make_task("fluent_speech_commands", {"shots": 2}).load(tmp_path)["train"]
    assert Counter(zip(few["action"], few["object"], strict=True)) == {
        ("on", "lamp"): 2,
        ("off", "lamp"): 2,
        ("on", "heat"): 2,
    }


def test_a_class_with_too_few_utterances_is_named(corpus):
    with pytest.raises(SureError, match=r"shots=8: fewer training utterances are of maybe \(3\), yes \(7\)\."):
        load(corpus, shots=8)
    with pytest.raises(SureError, match=r"shots=0: at least one utterance of each class is needed"):
        load(corpus, shots=0)
    with pytest.raises(SureError, match=r"--task_options drawn: audio_classification has it from its corpus"):
        load(corpus, drawn=["a"])
