"""Judges that SURE did not train: packages, here where they are installed, and a released Whisper."""

import sys
from importlib import metadata
from types import ModuleType

import numpy as np
import pytest

from sure import audio
from sure.backbone import loading
from sure.errors import SureError
from sure.task import make_task
from sure.task.text_to_speech import judges
from tests.factories import RECORDINGS
from tests.factories.encoders import save_backbone


@pytest.fixture
def forgotten():
    """No judge is loaded before or after."""
    loaded = (judges.naturalness, judges.speaker_encoder)
    for judge in loaded:
        judge.cache_clear()
    yield
    for judge in loaded:
        judge.cache_clear()


@pytest.fixture
def heard(forgotten, monkeypatch):
    """What a `speechmos` that is not the real one was given; its opinion is three times the peak."""
    waveforms = []

    def run(waveform, rate):
        waveforms.append((waveform, rate))
        return {"ovrl_mos": np.float64(3 * waveform.max()), "sig_mos": 0.0}

    package, dnsmos = ModuleType("speechmos"), ModuleType("speechmos.dnsmos")
    package.dnsmos, dnsmos.run = dnsmos, run
    monkeypatch.setitem(sys.modules, "speechmos", package)
    monkeypatch.setitem(sys.modules, "speechmos.dnsmos", dnsmos)
    versions = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.2.3" if name == "speechmos" else versions(name))
    return waveforms


def test_dnsmos_hears_what_it_can_bear_and_its_package_is_named(heard):
    loud, nothing = np.array([0.5, 2.0, -3.0] * 8000), np.zeros(0, dtype=np.float32)
    # The scale begins at 1.
    assert judges.opinions("dnsmos", [loud, nothing]) == [{"naturalness": 3.0}, {"naturalness": 1.0}]
    (waveform, rate), (silence, _) = heard
    assert (rate, waveform.dtype, waveform.min(), len(waveform)) == (16_000, np.float32, -1.0, 24_000)
    # Real DNSMOS doubles an utterance until it is long enough: nothing would be doubled for ever.
    assert len(silence) > 0
    assert judges.named("naturalness", "dnsmos") == "speechmos 1.2.3"


def test_the_mean_opinion_is_a_metric_where_it_is_asked_for(heard):
    task = make_task("tts_ljspeech", {"naturalness": "dnsmos"})
    assert task.metrics[-1] == "naturalness"
    assert "naturalness" not in make_task("tts_ljspeech", {}).metrics
    (judgements,) = task._judged([np.full(800, 0.5), np.full(800, 1.0)], [{}, {}])
    score = task.metric_named("naturalness").compute(predictions=judgements, references=["a text"] * 2)
    assert score == {"naturalness": 2.25}


@pytest.mark.parametrize(
    ("option", "value", "package", "extra"),
    [
        ("naturalness", "distillmos", "distillmos.sqa", "judges"),
        ("naturalness", "dnsmos", "speechmos.dnsmos", "judges"),
        ("verifier", "resemblyzer", "resemblyzer", "resemblyzer"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(forgotten, monkeypatch, option, value, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, package.partition(".")[0], None)
    with pytest.raises(SureError, match=rf"--task_options {option}={value}: .*pip install \"sure-bench\[{extra}\]\""):
        judges.named(option, value)


def test_another_judge_of_naturalness_is_refused():
    with pytest.raises(SureError, match="naturalness=utmos: choose one of distillmos, dnsmos"):
        make_task("tts_ljspeech", {"naturalness": "utmos"})


@pytest.mark.parametrize(("name", "package"), [("distillmos", "distillmos"), ("dnsmos", "speechmos")])
def test_the_real_judge_has_an_opinion_that_noise_lowers(forgotten, name, package):
    pytest.importorskip(package)
    recording = RECORDINGS / "ljspeech/wavs/LJ001-0002.wav"
    if not recording.is_file():
        pytest.skip(f"no {recording}")
    clean = audio.load(recording)
    noisy = clean + np.random.default_rng(0).normal(scale=clean.std() / 10**0.5, size=len(clean))
    (better,), (worse,) = (judges.opinions(name, [waveform]) for waveform in (clean, noisy))
    assert 1 <= worse["naturalness"] < better["naturalness"] - 0.5 <= 5
    assert judges.named("naturalness", name) == f"{package} {metadata.version(package)}"


def test_a_released_whisper_counts_words_as_its_authors_do(tmp_path, monkeypatch):
    folder = str(save_backbone(tmp_path / "whisper", "whisper"))
    judge = judges.recogniser(folder)
    assert judges.named("recogniser", folder) == loading.load(folder).revision
    assert isinstance(judge.rows([np.zeros(800, dtype=np.float32)])[0]["prediction"], str)
    # Numerals for words, no fillers.
    monkeypatch.setattr(judge, "rows", lambda waveforms: [{"prediction": "it is 20 dollars"}])
    measures = judges.word_errors(folder, [np.zeros(800)], ["Um, it's twenty dollars."])
    assert measures[0]["word_error_rate"] < 0.5


def test_a_model_that_does_not_write_is_no_recogniser(tmp_path):
    folder = save_backbone(tmp_path / "encoder", "wav2vec2")
    with pytest.raises(SureError, match=rf"recogniser={folder}: wav2vec2 models write nothing"):
        judges.recogniser(str(folder))
