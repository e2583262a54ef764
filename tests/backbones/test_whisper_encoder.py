"""Whisper's encoder under a task's head: what it hears, a window of choice, and runs on every kind of task."""

import math

import numpy as np
import pytest
import soundfile
import torch
from transformers import WhisperFeatureExtractor

from sure import budget
from sure.backbone import loading
from sure.errors import SureError
from sure.heads import ClassificationHead, CTCHead
from sure.method import applying
from sure.model import ModelWithHead
from sure.predict import predict
from sure.record import Result
from sure.runner.run import main
from sure.task import make_task
from tests.factories.corpora import noise_in_fleurs_layout
from tests.factories.encoders import waveforms

NAME = "whisper:tiny"


def encoder(**options):
    return loading.load(NAME, head=True, options=options)


def hidden_states(backbone, clips):
    inputs = backbone.inputs(clips)
    with torch.no_grad():
        states = backbone.model.eval()(inputs["input_features"], attention_mask=inputs["attention_mask"])
    return states.last_hidden_state, backbone.padding.mask


def test_its_states_are_the_library_s_and_what_is_padded_is_known():
    backbone, whole = encoder(), loading.load(NAME)
    clips = waveforms(0.5, 1.3)
    states, mask = hidden_states(backbone, clips)
    with torch.no_grad():
        expected = whole.model.model.encoder.eval()(whole.inputs(clips)["input_features"]).last_hidden_state
    assert torch.equal(states, expected)
    assert states.shape == (2, 250, backbone.width)
    assert mask.sum(dim=1).tolist() == [25, 65]


def test_it_is_the_same_checkpoint_with_or_without_its_decoder():
    backbone, whole = encoder(), loading.load(NAME)
    assert backbone.revision == whole.revision
    assert not backbone.headless
    assert whole.headless
    # The decoder is gone, not only passed by.
    assert sum(p.numel() for p in backbone.model.parameters()) < sum(p.numel() for p in whole.model.parameters()) / 1.5
    assert encoder().states == 3


class TestWindow:
    def test_a_shorter_window_cuts_the_table_of_positions_and_what_is_heard(self):
        backbone = encoder(window=1.5)
        assert backbone.window == 1.5
        states, mask = hidden_states(backbone, waveforms(0.5, 2.0))
        assert states.shape == (2, 75, backbone.width)
        assert mask.sum(dim=1).tolist() == [25, 75]
        assert torch.equal(backbone.model.embed_positions.weight, encoder().model.embed_positions.weight[:75])
        # What lies behind the window is not heard.
        (clip,) = waveforms(2.0)
        louder = np.concatenate([clip[:24_000], 9 * clip[24_000:]])
        torch.testing.assert_close(hidden_states(backbone, [clip])[0], hidden_states(backbone, [louder])[0])

    def test_as_it_is_saved_its_extractor_fits_it(self, tmp_path):
        backbone = loading.load(NAME, options={"window": 2})
        backbone.model.save_pretrained(tmp_path)
        backbone.processor.save_pretrained(tmp_path)
        (clip,) = waveforms(1.0)
        alone = WhisperFeatureExtractor.from_pretrained(tmp_path)(clip, sampling_rate=16_000, return_tensors="pt")
        assert torch.equal(alone["input_features"], backbone.inputs([clip])["input_features"])
        # Of a part of a second the library knows nothing, and what it saved is of the whole model.
        alone = loading.load(NAME, options={"window": 1.5})
        alone.model.save_pretrained(tmp_path)
        alone.processor.save_pretrained(tmp_path)
        again = loading.load(str(tmp_path), head=True)
        assert again.inputs([clip])["input_features"].shape[-1] == 150
        assert hidden_states(again, [clip])[0].shape[1] == 75

    @pytest.mark.parametrize("window", [0, -1, 5.1, 30])
    def test_a_window_that_it_has_not_is_refused(self, window):
        with pytest.raises(
            SureError, match=rf"^--backbone_options window={window:g}: whisper:tiny hears from 0.02 to 5 sec"
        ):
            encoder(window=window)

    @pytest.mark.parametrize("window", [math.nan, math.inf, -math.inf])
    def test_a_window_that_is_no_number_is_refused(self, window):
        with pytest.raises(SureError, match=rf"^--backbone_options window={window}: Input should be a finite number"):
            encoder(window=window)

    def test_another_option_and_a_wrong_value_are_refused(self):
        with pytest.raises(SureError, match=r"option of whisper: 'windows'. Did you mean 'window'\?"):
            encoder(windows=3)
        with pytest.raises(SureError, match=r"--backbone_options window=wide: "):
            encoder(window="wide")
        with pytest.raises(SureError, match=r"--backbone_options window: wav2vec2 has no options\."):
            loading.load("tiny", options={"window": 3})

    def test_cost_falls_in_proportion(self):
        macs = [
            budget.budget(
                "linear_probe", NAME, lambda width: ClassificationHead(width, 3), backbone_options={"window": seconds}
            ).macs_per_second
            * seconds
            for seconds in (5, 1)
        ]
        # Attention falls faster than in proportion.
        assert macs[0] >= 5 * macs[1] * 0.99

    def test_longer_utterances_are_counted_before_training(self):
        class Split(dict):
            def __len__(self):
                return 3

        task = make_task("emodb_emotion", {})
        (warning,) = task.warnings(encoder(window=1), {"train": Split(samples=[16_000, 16_001, 90_000])})
        assert warning.startswith("2 of the 3 train utterances are longer than the 1 s that whisper:tiny hears")


def test_ctc_is_on_the_encoder_where_asked_for():
    backbone = loading.load(NAME, options={"encoder_only": True})
    task = make_task("asr_fleurs", {"vocabulary": ["<blank>", " ", "a"]})
    model = task.build_model(backbone)
    assert isinstance(model, ModelWithHead)
    assert isinstance(model.head, CTCHead)
    logits = model.eval()(**backbone.inputs(waveforms(0.5, 1.0))).logits
    assert task.reduce(logits).ge(0).sum(dim=1).tolist() == [25, 50]


@pytest.mark.parametrize("method", ["lora", "weighted_sum_probe"])
def test_cross_attention_and_decoder_are_no_parts_of_an_encoder(method):
    backbone = encoder()
    for role in ("decoder_layer", "cross_attention"):
        with pytest.raises(SureError, match=rf"whisper backbones have no '{role}'; its roles: backbone, layer, "):
            applying.configure(method, backbone, {"roles": role})


@pytest.fixture(scope="module")
def emodb(tmp_path_factory):
    """Noise under EmoDB's names: ten speakers, two emotions."""
    folder = tmp_path_factory.mktemp("emodb")
    generator = np.random.default_rng(0)
    for speaker in range(3, 13):
        for emotion in "FW":
            noise = generator.normal(0, 0.1 if emotion == "F" else 0.3, size=9_600)
            soundfile.write(folder / f"{speaker:02d}a01{emotion}a.wav", noise, 16_000)
    return folder


FLAGS = "--max_steps 2 --eval_strategy steps --eval_steps 2 --report_to none --use_cpu True".split()


def test_emotion_is_learnt_recorded_and_predicted_with_a_window(emodb, tmp_path):
    words = f"--task emodb_emotion --data_dir {emodb} --backbone {NAME} --backbone_options window=0.5 --method lora"
    output = ["--output_dir", str(tmp_path / "run"), "--cache_dir", str(tmp_path / "cache")]
    result = main([*words.split(), *FLAGS, *output])
    assert result.run.backbone.options == {"window": 0.5, "encoder_only": False}
    assert Result.read(tmp_path / "run" / "result.json") == result
    recordings = sorted(emodb.glob("*.wav"))[-4:]
    rows = list(predict(tmp_path / "run", recordings))
    assert [row["path"] for row in rows] == [str(path) for path in recordings]
    # The same command again trains nothing, another window is another run.
    assert main([*words.split(), *FLAGS, *output]) == result
    with pytest.raises(
        SureError, match=r"holds another run \(backbone_options: \['window=0.5'\] there, \['window=1'\]"
    ):
        main([*words.replace("0.5", "1").split(), *FLAGS, *output])


def test_texts_are_learnt_by_ctc_on_the_encoder(tmp_path):
    corpus = noise_in_fleurs_layout(tmp_path / "en_us", train=4, dev=2, test=2)
    words = f"--task asr_fleurs --data_dir {corpus} --backbone {NAME} --backbone_options encoder_only=true"
    output = [
        "--method",
        "bottleneck_adapter",
        "--output_dir",
        str(tmp_path / "run"),
        "--cache_dir",
        str(tmp_path / "c"),
    ]
    result = main([*words.split(), *FLAGS, *output])
    assert result.run.task_options["vocabulary"][0] == "<blank>"
    (row,) = predict(tmp_path / "run", [corpus / "audio" / "test" / "0.wav"])
    assert isinstance(row["prediction"], str)
