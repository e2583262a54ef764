"""Synthetic corpora: the layout of the real one, the same bytes from the same seed, and never half of one."""

import json
import subprocess
import sys
import time
from hashlib import sha256

import numpy as np
import pytest
import soundfile

from sure import audio, synth
from sure.errors import SureError
from sure.task import make_task

pytest.importorskip("espeakng_loader", reason='eSpeak NG is not installed: pip install "sure-bench[synth]"')

EMOTIONS = ["Angry", "Happy", "Neutral", "Sad", "Surprise"]
SIZES = {"speakers": 2, "train": 2, "evaluation": 1, "test": 1}
MADE = {
    "corpus": "esd",
    "synthesiser": "eSpeak NG",
    "seed": 0,
    "speakers": 2,
    "utterances": {"evaluation": 1, "test": 1, "train": 2},
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "esd"
    synth.esd.make(folder, **SIZES)
    return folder


def contents(folder):
    """Every file with the digest of its bytes."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_corpus_is_in_the_layout_of_esd_and_nothing_else_is_in_it(corpus):
    expected = {"SYNTHETIC.json"}
    for speaker in ("0011", "0012"):
        expected.add(f"{speaker}/{speaker}.txt")
        # As in the release, numbers run through the emotions, and in each through evaluation, test and train.
        for index, emotion in enumerate(EMOTIONS):
            for offset, split in enumerate(("evaluation", "test", "train", "train"), start=1):
                expected.add(f"{speaker}/{emotion}/{split}/{speaker}_{4 * index + offset:06d}.wav")
    assert contents(corpus).keys() == expected
    assert not corpus.with_name("esd.partial").exists()


def test_its_audio_is_16_khz_mono_and_long_enough_to_be_speech(corpus):
    for path in corpus.rglob("*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        assert 0.5 < info.duration < 6
        waveform = audio.load(path)
        assert 0.005 < np.sqrt(np.mean(waveform**2)) < 0.5
        assert np.abs(waveform).max() < 0.999, "clipped"


def test_every_speaker_says_the_same_sentences_in_every_emotion_as_the_transcripts_tell(corpus):
    spoken = {}
    for speaker in ("0011", "0012"):
        lines = (corpus / speaker / f"{speaker}.txt").read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t") for line in lines]
        assert [row[0] for row in rows] == [f"{speaker}_{number:06d}" for number in range(1, 21)]
        for emotion in EMOTIONS:
            spoken[speaker, emotion] = [row[1] for row in rows if row[2] == emotion]
    assert len(set(map(tuple, spoken.values()))) == 1
    assert len(spoken["0011", "Sad"]) == 4


def test_the_task_loads_it(corpus):
    splits = make_task("esd_emotion", {}).load(corpus)
    assert {name: len(split) for name, split in splits.items()} == {"train": 20, "validation": 10, "test": 10}
    assert set(splits["test"]["speaker"]) == {"0011", "0012"}
    assert sorted(set(splits["test"]["label"])) == EMOTIONS


def test_its_marker_says_that_it_is_synthetic_and_from_what(corpus):
    assert json.loads((corpus / "SYNTHETIC.json").read_text(encoding="utf-8")) == MADE


def test_the_same_seed_gives_the_same_bytes_in_this_process_and_in_another(tmp_path):
    # Ten speakers have every voice, breathy ones among them.
    sizes = {"speakers": 10, "train": 1, "evaluation": 1, "test": 1}
    synth.esd.make(tmp_path / "first", **sizes)
    # Long enough for the clock, which eSpeak NG would take for chance.
    time.sleep(1.1)
    synth.esd.make(tmp_path / "second", **sizes)
    script = f"from sure import synth; synth.esd.make({str(tmp_path / 'elsewhere')!r}, **{sizes})"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert contents(tmp_path / "first") == contents(tmp_path / "second") == contents(tmp_path / "elsewhere")


def test_another_seed_gives_other_voices_and_sentences(corpus, tmp_path):
    synth.esd.make(tmp_path, seed=1, **SIZES)
    first, other = contents(corpus), contents(tmp_path)
    assert first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())


def test_speakers_and_emotions_sound_different(tmp_path):
    synth.esd.make(tmp_path, speakers=3, train=6, evaluation=1, test=1)
    assert len(set(contents(tmp_path).values())) == len(contents(tmp_path))

    def measured(speaker, emotion):
        """Mean level and mean length of a speaker's utterances in one emotion."""
        waveforms = [audio.load(path) for path in (tmp_path / speaker / emotion).rglob("*.wav")]
        assert len(waveforms) == 8
        return np.mean([np.sqrt(np.mean(one**2)) for one in waveforms]), np.mean([len(one) for one in waveforms])

    for speaker in ("0011", "0012", "0013"):
        (angry, angry_length), (sad, sad_length) = measured(speaker, "Angry"), measured(speaker, "Sad")
        neutral, neutral_length = measured(speaker, "Neutral")
        assert angry > 1.2 * neutral > 1.44 * sad
        assert 1.2 * angry_length < 1.1 * neutral_length < sad_length


def test_a_complete_corpus_is_not_made_again(corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    synth.esd.make(corpus, **SIZES)
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"train": 3}, {"speakers": 1}])
def test_another_corpus_in_the_folder_is_refused_and_left_alone(change, corpus):
    before = contents(corpus)
    with pytest.raises(SureError, match=r"esd holds another synthetic corpus \(.*'seed': 0.*Choose another folder"):
        synth.esd.make(corpus, **(SIZES | change))
    assert contents(corpus) == before


def test_what_is_no_synthetic_corpus_is_refused_and_left_alone(tmp_path):
    (tmp_path / "recording.wav").write_bytes(b"precious")
    for place in (tmp_path, tmp_path / "recording.wav"):
        with pytest.raises(SureError, match=r"is there already and holds no synthetic corpus\. Choose a new folder"):
            synth.esd.make(place, **SIZES)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"precious"]


def test_an_empty_folder_is_filled_even_the_current_one(tmp_path, corpus, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    synth.esd.make(".", **SIZES)
    assert contents(tmp_path / "empty") == contents(corpus)


def test_an_interrupted_build_leaves_no_corpus_under_its_name_and_the_next_one_starts_anew(
    tmp_path, corpus, monkeypatch
):
    speak, spoken = synth.speak, []

    def interrupted(text, voice):
        spoken.append(text)
        if len(spoken) == 7:
            raise KeyboardInterrupt
        return speak(text, voice)

    monkeypatch.setattr(synth.esd, "speak", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synth.esd.make(tmp_path / "esd", **SIZES)
    assert not (tmp_path / "esd").exists()
    (tmp_path / "esd.partial" / "half.wav").touch()
    monkeypatch.undo()
    synth.esd.make(tmp_path / "esd", **SIZES)
    assert contents(tmp_path / "esd") == contents(corpus)
    assert [path.name for path in tmp_path.iterdir()] == ["esd"]


@pytest.mark.parametrize("rate", [120, 175, 240])
def test_speech_is_as_fast_as_its_voice_says(rate):
    text = "The old man found the blue letter and my sister wanted seven apples while nobody opened the door again."
    minutes = len(synth.speak(text, synth.Voice("en-us+f2", rate=rate))) / 16_000 / 60
    assert 0.9 < len(text.split()) / minutes / rate < 1.25


def test_an_unknown_voice_is_named():
    with pytest.raises(SureError, match="eSpeak NG has no voice 'xx'"):
        synth.speak("Hello.", synth.Voice("xx"))
