"""Audio SNIPS as s3prl packs it: whose voice is in which split, and how tagged words become a text with slots."""

import pytest

from sure.errors import SureError
from sure.task import make_task
from sure.task.speech_recognition.tokens import BLANK, SLOTS
from tests.factories.corpora import touch, write

SAID = "BOS PLAY DIANA ROSS EOS\tO O artist artist PlayMusic"
LINES = [
    f"Ivy-snips-train-0 {SAID}",
    "Ivy-snips-train-1 BOS J. & S. , BY DÉJÀ-VU ON Q4 EOS\tO x x x x O y O O AddToPlaylist",
    f"Amy-snips-train-0 {SAID}",
    f"Amy-snips-valid-0 {SAID}",
    f"Brian-snips-test-0 {SAID}",
]


@pytest.fixture
def corpus(tmp_path):
    write(tmp_path / "all.iob.snips.txt", *LINES)
    names = [line.split()[0] for line in LINES]
    # Amy's utterances of train are none of SUPERB's, and need not be there.
    touch(tmp_path, *(f"{name.split('-')[2]}/{name}.wav" for name in names if name != "Amy-snips-train-0"))
    return tmp_path


def load(folder):
    task = make_task("sf_snips", {})
    return task, task.load(folder)


def test_splits_are_superb_s_voices_and_neighbours_of_one_tag_are_a_slot(corpus):
    task, splits = load(corpus)
    assert splits["train"][0] == {
        "id": "Ivy-snips-train-0",
        "path": str(corpus / "train/Ivy-snips-train-0.wav"),
        "speaker": "Ivy",
        "split": "train",
        "text": "PLAY B-artist DIANA ROSS E-artist",
    }
    # Punctuation and digits are left out, and do not part a slot; a slot goes on to the next word of its tag.
    assert splits["train"][1]["text"] == "B-x J AND S E-x BY B-y DEJAVU E-y ON Q"
    assert {name: split["id"] for name, split in splits.items()} == {
        "train": ["Ivy-snips-train-0", "Ivy-snips-train-1"],
        "validation": ["Amy-snips-valid-0"],
        "test": ["Brian-snips-test-0"],
    }
    tags = {token for token in task.vocabulary if len(token) > 1}
    assert tags == {BLANK, "B-artist", "E-artist", "B-x", "E-x", "B-y", "E-y"}


def test_tags_are_tokens_with_the_space_inside_and_texts_come_back():
    text = "PLAY B-x A B E-x NOW B-y C E-y B-z D E-z"
    tokens = SLOTS.part(text)
    assert tokens == [*"PLAY ", "B-x", *"A B", "E-x", *" NOW ", "B-y", "C", "E-y", " ", "B-z", "D", "E-z"]
    assert SLOTS.join(tokens) == text
    # What a model says need not be well formed.
    assert SLOTS.join(["E-x", "A", "B-x", " ", "B-y"]) == "E-xAB-x B-y"


def test_a_missing_table_recording_or_tag_is_named(corpus):
    (corpus / "test/Brian-snips-test-0.wav").unlink()
    with pytest.raises(
        SureError, match=r"1 recordings of all.iob.snips.txt are not there: test/Brian-snips-test-0.wav"
    ):
        load(corpus)
    write(corpus / "all.iob.snips.txt", LINES[0], LINES[4].replace("O O artist", "O artist"))
    with pytest.raises(
        SureError, match=r"all.iob.snips.txt, line 2: expected BOS, words, EOS, a tab and a tag for each"
    ):
        load(corpus)
    write(corpus / "all.iob.snips.txt", "Ivy-0 BOS STOP EOS\tO O Stop")
    with pytest.raises(SureError, match=r"line 1: 'Ivy-0' is no name such as Amy-snips-valid-7"):
        load(corpus)
    (corpus / "all.iob.snips.txt").unlink()
    with pytest.raises(SureError, match=r"all.iob.snips.txt: no such file \(found in .*: test, train, valid\)"):
        load(corpus)
