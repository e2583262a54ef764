"""A text-to-speech model from nothing to a folder that `backbones.load` takes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sure.audio import SAMPLE_RATE
from sure.backbone import loading
from sure.errors import SureError
from sure.pretraining import Settings, text_to_speech
from sure.pretraining.text_to_speech import collate, pretrain, spoken, utterance
from sure.task.text_to_speech.alignment import align
from tests.factories.speaking import save_fastspeech2_conformer

SMALL = {"hours": 0.005, "batch_size": 2, "seed": 3}


@pytest.fixture(scope="module", autouse=True)
def few_held_out():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(text_to_speech, "_HELD_OUT", 2)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "mini"
    pretrain(folder, Settings(steps=4, **SMALL), save_steps=2)
    return folder


def test_it_leaves_a_small_model_that_speaks_and_its_card(made):
    assert sorted(path.name for path in made.iterdir()) == [
        *("README.md", "config.json", "model.safetensors", "pretraining.json", "runs", "vocab.json")
    ]
    assert (made / "model.safetensors").stat().st_size < 8_000_000
    assert {tensor.dtype for tensor in load_file(made / "model.safetensors").values()} <= {torch.float16, torch.int64}
    backbone = loading.load(str(made))
    assert backbone.pretrained
    assert backbone.family() == "fastspeech2_conformer"
    # Not as it was pretrained.
    assert backbone.model.config.encoder_config["dropout_rate"] == 0.1
    backbone.model.eval()
    inputs = backbone.text_inputs(["One, two."])
    (said,) = backbone.model(**inputs, speaker_embeddings=torch.zeros(1, 64))
    assert said.isfinite().all()
    record = json.loads((made / "pretraining.json").read_text())
    assert [entry["step"] for entry in record["log"]] == [2, 4]
    card = (made / "README.md").read_text()
    assert "--steps 4 --hours 0.005 --batch_size 2 --seed 3" in card
    assert f"| {record['mel_cepstral_distortion']:.2f} dB |" in card


def test_a_complete_pretraining_is_not_run_again(made):
    written = (made / "model.safetensors").stat().st_mtime_ns
    pretrain(made, Settings(steps=4, **SMALL))
    assert (made / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(SureError, match=r"holds another pretraining \(steps: 4 there, 5 now\)"):
        pretrain(made, Settings(steps=5, **SMALL))


def test_interrupted_and_run_again_it_ends_with_the_same_weights(made, tmp_path, monkeypatch):
    learns = text_to_speech.Trainer.training_step

    def interrupted(self, *arguments):
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return learns(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(text_to_speech.Trainer, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pretrain(tmp_path / "mini", Settings(steps=4, **SMALL), save_steps=2)
    assert [path.name for path in (tmp_path / "mini/work/checkpoints").iterdir()] == ["checkpoint-2"]
    pretrain(tmp_path / "mini", Settings(steps=4, **SMALL), save_steps=2)
    whole, resumed = (load_file(folder / "model.safetensors") for folder in (made, tmp_path / "mini"))
    assert all(whole[name].equal(resumed[name]) for name in whole)


def test_no_steps_leave_random_weights(tmp_path):
    pretrain(tmp_path / "random", Settings(steps=0, **SMALL))
    assert not loading.load(str(tmp_path / "random")).pretrained


def test_utterances_depend_on_seed_and_index_alone_and_speakers_take_turns():
    text, speaker, waveform, times = utterance(0, 1)
    utterance(0, 2)
    again = utterance(0, 1)
    assert again[:2] == (text, speaker)
    assert np.array_equal(again[2], waveform)
    assert utterance(1, 1)[0] != text
    assert utterance(0, 97)[1] == speaker == 1
    assert len(times) == len(text) + 1
    assert times[-1] <= len(waveform) / SAMPLE_RATE
    # Longer or shorter with the vocal tract: alignment finds the same.
    assert np.median(np.abs(align(text, waveform) - times)) < 0.03


def test_features_are_as_long_as_the_durations_say(tmp_path):
    save_fastspeech2_conformer(tmp_path / "untrained")
    corpus = spoken(tmp_path, Settings(**SMALL))
    batch = collate([corpus[0], corpus[1]])
    assert batch["labels"].shape[2] == 80
    frames = (batch["labels"][:, :, 0] > -100).sum(dim=1)
    assert frames.tolist() == batch["durations"].sum(dim=1).tolist()
    assert batch["attention_mask"].sum(dim=1).tolist() == [len(text) + 1 for text in corpus[:2]["text"]]
    assert batch["speaker_embeddings"].shape == (2, 64)
