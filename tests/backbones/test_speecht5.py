"""SpeechT5 here against `transformers`' own: the same model, batches that say what each sentence says alone."""

import numpy as np
import pytest
import torch
from transformers import SpeechT5FeatureExtractor, SpeechT5ForTextToSpeech
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.models.speecht5.modeling_speecht5 import SpeechT5Attention, SpeechT5SpeechDecoderPrenet

from sure.backbone import loading
from sure.errors import SureError
from sure.method import applying
from sure.task.text_to_speech import vocoders
from sure.task.text_to_speech.model import SpeakingModel
from tests.backbones.test_speaking_models import TEXTS, adapted_model, evaluation, inputs, targets
from tests.factories.speaking import save_hifigan, save_speecht5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_speecht5(tmp_path_factory.mktemp("speecht5"))


@pytest.fixture
def backbone(folder):
    return loading.load(str(folder))


@pytest.fixture
def no_chance(monkeypatch):
    """Without the dropout that is always on, so that what draws in another order can be compared."""
    monkeypatch.setattr(SpeechT5SpeechDecoderPrenet, "_consistent_dropout", lambda self, embeddings, p: embeddings)


def test_loss_and_spectrograms_are_those_of_the_library(backbone, folder, no_chance):
    theirs = SpeechT5ForTextToSpeech.from_pretrained(folder)
    # One utterance: in a batch, theirs reads padding.
    batch = inputs(backbone, TEXTS[:1]) | targets(backbone, TEXTS[:1])
    with evaluation(backbone.model), evaluation(theirs):
        ours, expected = backbone.model(**batch), theirs(**batch, use_cache=False)
    assert ours.loss == pytest.approx(float(expected.loss), rel=1e-5)
    torch.testing.assert_close(ours.spectrogram, expected.spectrogram, atol=1e-5, rtol=1e-4)


def test_it_says_what_the_library_generates(backbone, folder, no_chance):
    theirs = SpeechT5ForTextToSpeech.from_pretrained(folder)
    batch = inputs(backbone)
    with evaluation(backbone.model), evaluation(theirs):
        for spoken, ids, mask, speaker in zip(backbone.model(**batch), *batch.values(), strict=True):
            ids = ids[mask.bool()][None]
            expected = theirs.generate_speech(ids, speaker[None], maxlenratio=10.0)
            torch.testing.assert_close(spoken, expected, atol=1e-5, rtol=1e-4)


def test_in_a_batch_spectrograms_are_predicted_as_alone(backbone, no_chance):
    batch = inputs(backbone) | targets(backbone)
    with evaluation(backbone.model):
        together = backbone.model(**batch).spectrogram
        for index in range(len(TEXTS)):
            one = {name: tensor[index : index + 1] for name, tensor in batch.items()}
            frames = int(one["decoder_attention_mask"].sum())
            one |= {name: one[name][:, :frames] for name in ("labels", "decoder_attention_mask")}
            tokens = int(one["attention_mask"].sum())
            one |= {name: one[name][:, :tokens] for name in ("input_ids", "attention_mask")}
            alone = backbone.model(**one).spectrogram[0]
            torch.testing.assert_close(together[index, :frames], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("cached", [False, True])
def test_attention_to_the_text_is_the_librarys_and_so_are_its_weights(backbone, cached):
    attention = backbone.model.speecht5.decoder.wrapped_decoder.layers[1].encoder_attn
    encoded = torch.randn(2, 7, 64)
    mask = torch.zeros(2, 1, 5, 7)
    mask[1, :, :, 4:] = torch.finfo(torch.float).min
    # With a cache the text is read once, and what is given later is not looked at.
    steps = [(torch.randn(2, 5, 64), text) for text in (encoded, torch.zeros_like(encoded) if cached else encoded)]
    said = []
    for forward in (type(attention).forward, SpeechT5Attention.forward):
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache()) if cached else None
        with evaluation(attention):
            said.append([forward(attention, states, text, cache, mask, None, True) for states, text in steps])
    torch.testing.assert_close(*said, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "options", [{"roles": "cross_attention"}, {"roles": "attention,cross_attention", "mixing": "averaged"}]
)
def test_a_prefix_before_the_text_learns_and_is_heard_frame_by_frame_as_at_once(options, no_chance):
    backbone, model = adapted_model("speecht5", "prefix_tuning", {"positions": 3} | options)
    model(**inputs(backbone), **targets(backbone)).loss.backward()
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert sum("encoder_attn" in name for name in trainable) == 2
    assert all(parameter.grad.abs().sum() > 0 for parameter in trainable.values())
    frames = []
    postnet = backbone.model.speech_decoder_postnet
    postnet.feat_out.register_forward_hook(lambda _, __, output: frames.append(output))
    batch = inputs(backbone, TEXTS[:1])
    with evaluation(model):
        backbone.model(**batch)
        said = torch.stack(frames, dim=1)
        labels = said.view(1, -1, backbone.config.num_mel_bins)
        heard = {"labels": labels, "decoder_attention_mask": torch.ones(labels.shape[:2], dtype=torch.long)}
        backbone.model(**batch, **heard)
        torch.testing.assert_close(frames[-1], said, atol=1e-5, rtol=1e-4)
        with model.disable_adapter():
            backbone.model(**batch, **heard)
        assert not torch.allclose(frames[-1], said, atol=1e-3)


def test_targets_are_the_feature_extractors_cut_to_whole_steps(backbone):
    waveforms = [
        np.random.default_rng(0).normal(scale=0.1, size=length).astype(np.float32) for length in (9000, 14_100)
    ]
    made = backbone.targets([{"waveform": waveform} for waveform in waveforms])
    for index, waveform in enumerate(waveforms):
        expected = SpeechT5FeatureExtractor()(audio_target=waveform, sampling_rate=16_000)["input_values"][0]
        whole = len(expected) // 2 * 2
        assert np.array_equal(made["labels"][index, :whole].numpy(), expected[:whole])
        assert (made["labels"][index, whole:] == -100).all()
        assert made["decoder_attention_mask"][index].tolist() == [1] * whole + [0] * (made["labels"].shape[1] - whole)
    assert len(expected) % 2 == 0 or whole == len(expected) - 1


METHODS = ["bitfit", "bottleneck_adapter", "conv_adapter", "full_finetuning", "lora", "prefix_tuning"]


@pytest.mark.parametrize("method", METHODS)
def test_no_frame_is_predicted_from_later_ones(method, no_chance):
    backbone, model = adapted_model("speecht5", method)
    batch = inputs(backbone, TEXTS[:1]) | targets(backbone, TEXTS[:1])
    changed = batch | {"labels": batch["labels"].clone()}
    # A step of two frames sees the last frame of the step before.
    changed["labels"][:, 20:] += 1.0
    outputs = []
    last = next(module for name, module in model.named_modules() if name.endswith("postnet.feat_out"))
    last.register_forward_hook(lambda _, __, output: outputs.append(output))
    with evaluation(model):
        for each in (batch, changed):
            model.get_base_model().backbone(**each)
    before, after = outputs
    assert torch.equal(before[:, :10], after[:, :10])
    assert not torch.equal(before[:, 11:], after[:, 11:])


@pytest.mark.parametrize(
    ("method", "options", "wrapped"),
    [
        ("conv_adapter", {}, ["encoder"] * 2),
        ("conv_adapter", {"roles": "encoder_attention"}, ["encoder"] * 2),
        ("bottleneck_adapter", {}, ["encoder"] * 2 + ["decoder"] * 2),
        ("bottleneck_adapter", {"roles": "decoder_layer"}, ["decoder"] * 2),
        ("prefix_tuning", {}, ["encoder"] * 2 + ["decoder"] * 2),
        ("prefix_tuning", {"roles": "decoder_attention"}, ["decoder"] * 2),
        ("lora", {}, ["encoder"] * 2 * 6 + ["decoder"] * 2 * 10),
        ("lora", {"roles": "query,value"}, ["encoder"] * 2 * 2 + ["decoder"] * 2 * 4),
        ("lora", {"roles": "decoder_query"}, ["decoder"] * 2 * 2),
    ],
)
def test_roles_are_parts_of_encoder_and_decoder(backbone, method, options, wrapped):
    model = SpeakingModel(backbone, vocoders.load("griffin_lim", backbone))
    adapted = applying.apply(model, applying.configure(method, backbone, options))
    parts = [name.split(".")[4] for name, module in adapted.named_modules() if hasattr(module, "adapter_layer_names")]
    assert sorted(parts) == sorted(wrapped)


@pytest.mark.parametrize("role", ["decoder_layer", "cross_attention", "layer,decoder_attention"])
def test_a_convolution_has_no_place_in_the_decoder(backbone, role):
    with pytest.raises(SureError, match=rf"roles={role}: conv_adapter convolves over time.*Choose encoder_layer"):
        applying.configure("conv_adapter", backbone, {"roles": role})


def test_a_text_that_is_too_long_is_named(backbone):
    with pytest.raises(SureError, match=r"'a dog a dog .*'\.\.\.: \d+ tokens, and .* reads at most 200"):
        backbone.text_inputs(["short", "a dog " * 50])


class TestVocoders:
    def test_a_hifigan_speaks(self, backbone, tmp_path):
        speak = vocoders.load(str(save_hifigan(tmp_path)), backbone)
        waveform = speak(torch.zeros(7, 80))
        assert waveform.shape == (7 * 256,)
        assert np.array_equal(waveform, speak(torch.zeros(7, 80)))

    def test_griffin_lim_gives_back_what_a_spectrogram_was_made_of(self, backbone):
        time = np.arange(16_000) / 16_000
        tone = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
        log_mel = backbone.log_mel()
        waveform = vocoders.load("griffin_lim", backbone)(torch.from_numpy(log_mel(tone)))
        assert len(waveform) == pytest.approx(len(tone), abs=256)
        strongest = np.abs(np.fft.rfft(waveform)).argmax() * 16_000 / len(waveform)
        assert strongest == pytest.approx(440, abs=15)

    def test_another_rate_is_resampled(self):
        from sure.audio.log_mel import LogMel

        log_mel = LogMel(rate=22_050, fft=1024, window=1024, hop=256, bins=80, lowest=80.0, highest=7600.0)
        assert log_mel(np.zeros(16_000, dtype=np.float32)).shape == (1 + 22_050 // 256, 80)
        assert len(log_mel.to_waveform(np.zeros((87, 80)))) == pytest.approx(86 * 256 * 16_000 / 22_050, abs=2)

    def test_a_hifigan_speaks_in_single_precision(self, backbone, tmp_path):
        speak = vocoders.load(str(save_hifigan(tmp_path)), backbone)
        spectrogram = torch.randn(10, 80)
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            said = speak(spectrogram.bfloat16())
        np.testing.assert_array_equal(said, speak(spectrogram.bfloat16()))

    def test_weights_of_another_kind_are_no_vocoder(self, backbone, folder):
        with pytest.raises(
            SureError, match=r"vocoder=.*: its weights are those of another kind of model: \d+ parameters"
        ):
            vocoders.load(str(folder), backbone)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"sampling_rate": 22_050},
                "reads 80 mel bins every 256 samples at 22050 Hz; .* gives 80 every 256 at 16000",
            ),
            ({"model_in_dim": 40}, "reads 40 mel bins"),
            ({"upsample_rates": [8, 8], "upsample_kernel_sizes": [16, 16]}, "every 64 samples"),
        ],
    )
    def test_one_for_other_spectrograms_is_refused(self, backbone, tmp_path, changes, message):
        with pytest.raises(SureError, match=message):
            vocoders.load(str(save_hifigan(tmp_path, **changes)), backbone)

    def test_nothing_is_unpickled(self, backbone, tmp_path):
        save_hifigan(tmp_path)
        (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
        with pytest.raises(
            SureError, match=f"vocoder={tmp_path}: .*Expected griffin_lim, or a folder.*model.safetensors"
        ):
            vocoders.load(str(tmp_path), backbone)

    def test_a_folder_that_is_not_there_is_named(self, backbone):
        with pytest.raises(SureError, match="vocoder=nowhere/at-all: "):
            vocoders.load("nowhere/at-all", backbone)
