"""A lexicon makes phonemes of texts: LibriSpeech's, and those of a manifest."""

import pytest

from sure.errors import SureError
from sure.task import make_task
from tests.factories.corpora import touch, write
from tests.tasks.test_asr_librispeech import librispeech

# Tabs are LibriSpeech's lexicon's; lower case, other pronunciations and comments the CMU Pronouncing Dictionary's.
LEXICON = (
    *(";;; a comment", "THE\tDH AH0", "THE\tDH IY0", "isn't IH1 Z AH0 N T", "long L AO1 NG # not short"),
    *("", "'em AH0 M", "em EH1 M", "em(2) EH2 M", "well W EH1 L", "known N OW1 N"),
)
PARTS = ("train T R EY1 N", "clean K L IY1 N", "100 HH AH1 N D R AH0 D", "dev D EH1 V", "test T EH1 S T")


def load(name, folder, lexicon):
    task = make_task(name, {"lexicon": str(lexicon)})
    return task, task.load(folder)


def test_librispeech_s_words_have_their_first_pronunciation(tmp_path):
    task, splits = load("pr_librispeech", librispeech(tmp_path), write(tmp_path / "lexicon.txt", *LEXICON, *PARTS))
    train = "DH AH0 T R EY1 N K L IY1 N HH AH1 N D R AH0 D IH1 Z AH0 N T L AO1 NG"
    assert set(splits["train"]["text"]) == {train}
    assert set(splits["test"]["text"]) == {"DH AH0 T EH1 S T K L IY1 N IH1 Z AH0 N T L AO1 NG"}
    assert {name: len(split) for name, split in splits.items()} == {"train": 4, "validation": 4, "test": 4}
    assert task.vocabulary == ["<blank>", *sorted(set(train.split()))]
    # Only the training split's are learnt: EH1 and S are not.
    assert task.targets([{"text": "T EH1 S T"}])["labels"].tolist() == [[task.vocabulary.index("T")] * 2]
    assert task.metric == "phoneme_error_rate"


def test_words_are_looked_up_without_what_is_around_them(tmp_path):
    touch(tmp_path, "a.wav", "b.wav", "c.wav")
    lines = ('a.wav,"Well-known, \u2019em (\u2018the\u2019) -- em!",train', "b.wav,The,dev", "c.wav,the.,test")
    write(tmp_path / "manifest.csv", "path,text,split", *lines)
    _, splits = load("pr_manifest", tmp_path, write(tmp_path / "lexicon.txt", *LEXICON))
    assert splits["train"]["text"] == ["W EH1 L N OW1 N AH0 M DH AH0 EH1 M"]


def test_what_the_lexicon_lacks_is_named(tmp_path):
    lexicon = write(tmp_path / "lexicon.txt", *LEXICON)
    with pytest.raises(
        SureError, match=r"lexicon\.txt: 5 of the corpus' words are not in it: 100, clean, dev, test, train"
    ):
        load("pr_librispeech", librispeech(tmp_path), lexicon)
    write(lexicon, "THE DH AH0", "ISN'T")
    with pytest.raises(SureError, match=r"lexicon\.txt, line 2: \"ISN'T\" has no phonemes"):
        load("pr_librispeech", tmp_path, lexicon)
    with pytest.raises(SureError, match=r"nowhere\.txt: cannot be read"):
        load("pr_librispeech", tmp_path, tmp_path / "nowhere.txt")
    with pytest.raises(SureError, match=r"--task_options lexicon=FILE is missing: pr_librispeech needs"):
        make_task("pr_librispeech", {}).load(tmp_path)
