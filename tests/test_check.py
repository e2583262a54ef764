"""What `sure data check` finds in a corpus."""

import json
import os
import shutil

import numpy as np
import pytest
import soundfile

from sure import synth
from sure.check import check
from sure.cli import main
from sure.task import make_task


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SURE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def corpus(tmp_path):
    """Two labels in three splits; one second each, all different."""
    generator = np.random.default_rng(0)
    lines = ["path,label,split,speaker"]
    for number, split in enumerate(["train"] * 4 + ["validation"] * 2 + ["test"] * 2):
        path = tmp_path / "corpus" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.1 * generator.standard_normal(8000), 8000)
        lines.append(f"{path.name},{('angry', 'sad')[number % 2]},{split},{split}-{number // 2}")
    (tmp_path / "corpus" / "manifest.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "corpus"


def edit(corpus, old, new):
    manifest = corpus / "manifest.csv"
    assert old in manifest.read_text()
    manifest.write_text(manifest.read_text().replace(old, new))


def report(corpus):
    return check(make_task("audio_classification", {}), corpus)


def test_a_sound_corpus_is_counted(corpus):
    found = report(corpus)
    assert (found.errors, found.warnings) == ([], [])
    train = found.splits["train"]
    assert (train.utterances, train.speakers, train.labels) == (4, 2, {"label": {"angry": 2, "sad": 2}})
    assert (train.sample_rates, train.channels) == ({8000: 4}, {1: 4})
    assert train.hours == pytest.approx(4 / 3600)
    assert (train.shortest, train.median, train.longest) == (1.0, 1.0, 1.0)
    assert found.splits["test"].labels == {"label": {"angry": 1, "sad": 1}}


def test_every_broken_file_is_an_error(corpus):
    for number in range(8):
        (corpus / f"{number}.wav").write_bytes(b"no audio")
    found = report(corpus)
    assert len(found.errors) == 8
    assert all(f"{number}.wav" in error for number, error in zip((0, 1, 2, 3), found.errors, strict=False))
    assert found.splits["train"].utterances == 4
    assert found.splits["train"].hours == 0


def test_a_pipe_among_the_files_is_not_waited_for(corpus):
    (corpus / "3.wav").unlink()
    os.mkfifo(corpus / "3.wav")
    labels = {number: ("angry", "sad")[number % 2] for number in range(8)}
    for number, label in labels.items():
        split = "train" if number < 4 else "validation" if number < 6 else "test"
        (corpus / split / label).mkdir(parents=True, exist_ok=True)
        (corpus / f"{number}.wav").rename(corpus / split / label / f"{number}.wav")
    (corpus / "manifest.csv").unlink()
    (error,) = report(corpus).errors
    assert error.endswith("3.wav: is no file that can be read to its end.")


def test_a_speaker_in_two_splits_is_a_warning(corpus):
    edit(corpus, "test-3", "train-0")
    assert report(corpus).warnings == [
        "1 speakers are in train and in test, such as train-0: scores do not tell how a method does on new speakers."
    ]


def test_the_same_audio_in_two_splits_or_twice_in_one_is_a_warning(corpus):
    shutil.copy(corpus / "0.wav", corpus / "6.wav")
    shutil.copy(corpus / "2.wav", corpus / "3.wav")
    assert report(corpus).warnings == [
        "The same audio is in train and in test, 1 times, such as 0.wav and 6.wav.",
        "The same audio is more than once in train, 1 times, such as 2.wav and 3.wav.",
    ]


def cut(corpus, number, split):
    """Make a recording of train and another one halves of the first."""
    edit(corpus, "path,label,split,speaker", "path,label,split,speaker,start,end")
    edit(corpus, "0.wav,angry,train,train-0", "0.wav,angry,train,train-0,0,0.5")
    edit(corpus, f"{number}.wav,angry,{split}", f"0.wav,angry,{split}")
    edit(corpus, f"0.wav,angry,{split},{split}-{number // 2}", f"0.wav,angry,{split},{split}-{number // 2},0.5,1")


def test_segments_of_one_file_are_not_the_same_audio(corpus):
    cut(corpus, 2, "train")
    found = report(corpus)
    assert found.warnings == []
    assert found.splits["train"].shortest == 0.5


def test_segments_of_one_file_in_two_splits_are_a_warning(corpus):
    cut(corpus, 6, "test")
    assert report(corpus).warnings == [
        "Segments of 1 files are in train and in test, such as 0.wav[0-0.5] and 0.wav[0.5-1]: scores do not tell how a "
        "method does on new recordings."
    ]


def test_a_label_that_only_the_training_split_has_is_a_warning(corpus):
    edit(corpus, "7.wav,sad", "7.wav,angry")
    assert report(corpus).warnings == ["Labels of train that test does not have: sad."]


def test_what_training_refuses_is_the_error(corpus, capsys):
    edit(corpus, "7.wav,sad", "7.wav,happy")
    (error,) = report(corpus).errors
    assert "7.wav: label 'happy'" in error
    command = ["data", "check", "--task", "audio_classification", "--data_dir", str(corpus)]
    for form in ([], ["--json"]):
        with pytest.raises(SystemExit) as exit:
            main([*command, *form])
        assert exit.value.code == 1
        said = capsys.readouterr().out
        assert "7.wav: label 'happy'" in said
    assert json.loads(said)["splits"] == {}


def test_a_corpus_of_one_label_is_an_error(corpus):
    edit(corpus, "sad", "angry")
    assert report(corpus).errors == [
        f"{corpus}: every train utterance has the same label, 'angry'; there is nothing to tell apart. Two labels are "
        "the fewest."
    ]


def test_cuts_are_for_tasks_that_allow_them(corpus):
    assert check(make_task("audio_classification", {}), corpus, max_seconds=0.5).errors == []
    (error,) = check(make_task("audio_classification", {}), corpus, max_seconds=0).errors
    assert error == "--max_seconds 0: give a number of seconds, at least the 0.025 s of one frame."
    (error,) = check(make_task("asr_manifest", {}), corpus, max_seconds=0.5).errors
    assert error.startswith("--max_seconds 0.5: asr_manifest needs whole utterances")


@pytest.mark.parametrize(
    ("corpus", "task", "speakers"),
    [("fleurs", "asr_fleurs", None), ("voxceleb", "sv_voxceleb1", 3), ("libritts", "tts_libritts", 2)],
)
def test_each_family_s_corpora_are_sound_until_a_file_is_lost(corpus, task, speakers, tmp_path):
    pytest.importorskip("espeakng_loader", reason='eSpeak NG is not installed: pip install "sure-bench[synth]"')
    make = {
        "fleurs": lambda folder: synth.fleurs.make(folder, train=4, dev=2, test=2),
        "voxceleb": lambda folder: synth.voxceleb.make(folder, speakers=13, test_speakers=3, sessions=2, utterances=1),
        "libritts": lambda folder: synth.libritts.make(folder, speakers=2, chapters=1, utterances=4, test=0),
    }
    make[corpus](tmp_path / corpus)
    found = check(make_task(task, {}), tmp_path / corpus)
    assert (found.errors, found.warnings) == ([], [])
    assert found.splits["train"].speakers == speakers
    lost = sorted((tmp_path / corpus).rglob("*.wav"))[0]
    lost.write_bytes(lost.read_bytes()[:-2000])
    (error,) = check(make_task(task, {}), tmp_path / corpus).errors
    assert f"{lost.name}: truncated" in error


def test_the_command_prints_a_table_or_json_and_fails_where_training_would(corpus, capsys):
    command = ["data", "check", "--task", "audio_classification", "--data_dir", str(corpus)]
    with pytest.raises(SystemExit) as exit:
        main(command)
    assert exit.value.code == 0
    table = capsys.readouterr().out
    assert all(word in table for word in ("train", "validation", "8000 Hz", "angry", "Training can start"))
    with pytest.raises(SystemExit):
        main([*command, "--json"])
    assert json.loads(capsys.readouterr().out)["splits"]["train"]["labels"] == {"label": {"angry": 2, "sad": 2}}
    (corpus / "5.wav").write_bytes(b"")
    with pytest.raises(SystemExit) as exit:
        main(command)
    assert exit.value.code == 1
    assert "5.wav: the file is empty" in capsys.readouterr().out


def test_after_a_check_training_finds_the_audio_decoded(corpus, monkeypatch):
    report(corpus)
    monkeypatch.setattr("sure.audio.load_or_error", None)
    assert report(corpus).errors == []
