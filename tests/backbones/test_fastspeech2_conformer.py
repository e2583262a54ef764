"""FastSpeech2Conformer here against `transformers`' own; tokens, durations, pitch and energy."""

import copy
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from transformers import FastSpeech2ConformerHifiGan, FastSpeech2ConformerHifiGanConfig, FastSpeech2ConformerModel

from sure import audio
from sure.backbone import loading
from sure.errors import SureError
from sure.method import applying
from sure.task.text_to_speech import vocoders
from sure.task.text_to_speech.model import SpeakingModel
from tests.backbones.test_speaking_models import TEXTS, evaluation, inputs, targets
from tests.factories import RECORDINGS
from tests.factories.encoders import stirred
from tests.factories.speaking import save_fastspeech2_conformer

LJSPEECH = RECORDINGS / "ljspeech"

STILL = {
    f"{part}_dropout_rate": 0.0
    for name in ("encoder", "decoder")
    for part in (name, f"{name}_positional", f"{name}_attention")
} | {
    "duration_predictor_dropout_rate": 0.0,
    "energy_predictor_dropout": 0.0,
    "pitch_predictor_dropout": 0.0,
    "speech_decoder_postnet_dropout": 0.0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_fastspeech2_conformer(tmp_path_factory.mktemp("fastspeech2"), **STILL)


@pytest.fixture
def backbone(folder):
    return loading.load(str(folder))


def test_it_says_what_the_library_says(backbone, folder):
    theirs = FastSpeech2ConformerModel.from_pretrained(folder)
    batch = inputs(backbone)
    with evaluation(backbone.model), evaluation(theirs):
        for spoken, ids, mask, speaker in zip(backbone.model(**batch), *batch.values(), strict=True):
            expected = theirs(ids[mask.bool()][None], speaker_embedding=speaker[None]).spectrogram[0]
            torch.testing.assert_close(spoken, expected, atol=5e-5, rtol=1e-3)


def test_loss_of_an_utterance_is_that_of_the_library(backbone, folder):
    theirs = FastSpeech2ConformerModel.from_pretrained(folder).train()
    for module in theirs.modules():
        # In training, theirs normalises by the batch.
        if isinstance(module, torch.nn.BatchNorm1d):
            module.eval()
    batch = inputs(backbone, TEXTS[:1]) | targets(backbone, TEXTS[:1])
    expected = theirs(
        batch["input_ids"],
        attention_mask=batch["attention_mask"],
        speaker_embedding=batch["speaker_embeddings"],
        spectrogram_labels=batch["labels"],
        duration_labels=batch["durations"],
        pitch_labels=batch["pitch"],
        energy_labels=batch["energy"],
    )
    ours = backbone.model.train()(**batch)
    assert ours.loss.item() == pytest.approx(expected.loss.item(), rel=1e-5)
    torch.testing.assert_close(ours.spectrogram, expected.spectrogram, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", ["none", "conv_adapter", "prefix_tuning", "lora"])
def test_in_a_batch_spectrograms_are_predicted_as_alone(backbone, method):
    batch = inputs(backbone) | targets(backbone)
    model = backbone.model
    if method != "none":
        options = {"dropout": 0.0} if method == "prefix_tuning" else {}
        adapted = applying.apply(
            SpeakingModel(backbone, vocoders.load("griffin_lim", backbone)),
            applying.configure(method, backbone, options),
        )
        stirred(adapted)
        model = adapted.get_base_model().backbone
    model.train()
    together = model(**batch)
    for index in range(len(TEXTS)):
        one = {name: tensor[index : index + 1] for name, tensor in batch.items()}
        tokens = int(one["attention_mask"].sum())
        one |= {name: one[name][:, :tokens] for name in ("input_ids", "attention_mask", "durations", "pitch", "energy")}
        frames = int(one["durations"].sum())
        one["labels"] = one["labels"][:, :frames]
        alone = model(**one)
        torch.testing.assert_close(together.spectrogram[index, :frames], alone.spectrogram[0], atol=2e-5, rtol=1e-4)
        for name in ("duration_outputs", "pitch_outputs", "energy_outputs"):
            torch.testing.assert_close(together[name][index, :tokens], alone[name][0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("method", "options", "wrapped"),
    [
        ("conv_adapter", {}, ["decoder"] * 2 + ["encoder"] * 2),
        ("bottleneck_adapter", {"roles": "decoder_layer"}, ["decoder"] * 2),
        ("prefix_tuning", {"roles": "encoder_attention"}, ["encoder"] * 2),
        ("lora", {}, ["decoder"] * 2 * 8 + ["encoder"] * 2 * 8),
        ("lora", {"roles": "query,value"}, ["decoder"] * 4 + ["encoder"] * 4),
    ],
)
def test_roles_are_parts_of_encoder_and_decoder(backbone, method, options, wrapped):
    model = SpeakingModel(backbone, vocoders.load("griffin_lim", backbone))
    adapted = applying.apply(model, applying.configure(method, backbone, options))
    parts = [name.split(".")[3] for name, module in adapted.named_modules() if hasattr(module, "adapter_layer_names")]
    assert sorted(parts) == wrapped


def test_a_method_that_adapts_no_convolutions_adapts_the_linear_maps_and_says_so(backbone, caplog):
    config = applying.configure("vera", backbone)
    assert config.target_modules
    assert all("self_attn" in name for name in config.target_modules)
    assert "the others are convolutions, which it cannot adapt" in caplog.text
    model = SpeakingModel(backbone, vocoders.load("griffin_lim", backbone))
    with pytest.raises(SureError, match=r"not every Conv1d of the parts chosen .*roles=query"):
        applying.apply(model, applying.configure("vera", backbone, {"roles": "ffn_in"}))


def test_what_has_not_learnt_durations_still_ends(backbone):
    with torch.no_grad():
        backbone.model.duration_predictor.linear.bias.fill_(50.0)
    with evaluation(backbone.model):
        (spoken,) = backbone.model(**inputs(backbone, ["a"]))
    assert len(spoken) == 2 * 172


class TestTokens:
    def test_characters_of_the_vocabulary_and_an_end(self, backbone):
        vocabulary = json.loads(Path(backbone.name, "vocab.json").read_text())
        expected = [vocabulary[symbol] for symbol in ("a", " ", "b", "<unk>", "<sos/eos>")]
        assert backbone.processor("A b?") == expected

    def test_where_a_model_is_saved_its_characters_are_too(self, backbone, tmp_path):
        backbone.processor.save_pretrained(tmp_path)
        backbone.model.save_pretrained(tmp_path)
        assert loading.load(str(tmp_path)).processor("A b?") == backbone.processor("A b?")

    @pytest.mark.skipif(find_spec("g2p_en") is not None, reason="g2p-en is installed")
    def test_phonemes_need_g2p(self, tmp_path):
        save_fastspeech2_conformer(tmp_path)
        (tmp_path / "vocab.json").write_text(json.dumps({"<blank>": 0, "<unk>": 1, "AH0": 2, "<sos/eos>": 3}))
        with pytest.raises(SureError, match="reads phonemes, which g2p-en finds: pip install g2p-en"):
            loading.load(str(tmp_path))


class TestDurations:
    def test_frames_of_256_samples_at_22050_hz(self, backbone):
        # 86.13 frames a second, as many as the spectrogram has but for the one after the end.
        found = backbone.durations("ab", np.array([0.1, 0.5, 0.75]), 1.0)
        assert found == [43, 22, 21]
        # As rounding may have it, the last character ends after the end.
        assert backbone.durations("ab", np.array([0.1, 0.5, 1.01]), 1.0) == [43, 43, 0]

    def test_a_character_that_the_model_does_not_know_lengthens_the_one_before(self, tmp_path):
        save_fastspeech2_conformer(tmp_path)
        vocabulary = json.loads((tmp_path / "vocab.json").read_text())
        del vocabulary["<unk>"]
        (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
        backbone = loading.load(str(tmp_path))
        assert backbone.durations("aéb", np.array([0.0, 0.2, 0.4, 1.0]), 1.0) == [34, 52, 0]

    def test_phonemes_need_a_file(self, backbone):
        phonemes = copy.copy(backbone)
        phonemes.processor = None
        with pytest.raises(SureError, match=r"reads phonemes, which are aligned by other tools.*durations=FILE"):
            phonemes.durations("", np.zeros(1), 0.0)


class TestTargets:
    def row(self, samples, durations, text="ab"):
        time = np.arange(samples) / 16_000
        # From 100 Hz to 200 Hz, and twice as loud.
        waveform = np.sin(2 * np.pi * np.cumsum(100 + 100 * time / time[-1]) / 16_000) * (1 + time / time[-1]) / 4
        return {"id": "u1", "text": text, "waveform": waveform.astype(np.float32), "durations": durations}

    def test_pitch_and_energy_are_means_over_the_frames_of_a_token(self, backbone):
        made = backbone.targets([self.row(16_000, [40, 30, 17])])
        assert made["labels"].shape == (1, 87, 80)
        assert made["durations"].tolist() == [[40, 30, 17]]
        # Log F0 in the middle of each token, standardised as the configuration says.
        middle = np.log(100 + 100 * np.array([20, 55, 78.5]) / 87)
        assert made["pitch"][0, :, 0].numpy() == pytest.approx((middle - 5.0) / 0.5, abs=0.05)
        owner = np.repeat(range(3), [40, 30, 17])
        energy = np.sqrt(np.square(10.0 ** made["labels"][0].numpy()).sum(axis=1))
        expected = [(energy[owner == token].mean() - 1.0) / 2.0 for token in range(3)]
        assert made["energy"][0, :, 0].numpy() == pytest.approx(expected, abs=1e-4)

    def test_spectrograms_are_standardised_as_the_model_s_and_spoken_as_they_were(self, backbone):
        row = self.row(16_000, [40, 30, 17])
        plain, standardising = backbone.targets([row]), loading.load(backbone.name)
        mean, deviation = np.linspace(-3, -1, 80), np.linspace(0.5, 2, 80)
        standardising.model.config.update({"mel_mean": mean.tolist(), "mel_deviation": deviation.tolist()})
        made = standardising.targets([row])
        expected = (plain["labels"].numpy() - mean) / deviation
        np.testing.assert_allclose(made["labels"].numpy(), expected, atol=1e-5)
        torch.testing.assert_close(made["energy"], plain["energy"], atol=1e-4, rtol=1e-4)
        one, other = (
            vocoders.load("griffin_lim", whose)(labels[0])
            for whose, labels in ((backbone, plain["labels"]), (standardising, made["labels"]))
        )
        assert np.corrcoef(one, other)[0, 1] > 0.99

    @pytest.mark.parametrize("before", [True, False])
    def test_a_vocoder_reads_what_it_standardises_itself_or_what_the_model_says(self, backbone, tmp_path, before):
        sizes = {"upsample_initial_channel": 32, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1]]}
        config = FastSpeech2ConformerHifiGanConfig(**sizes, normalize_before=before)
        hifigan = FastSpeech2ConformerHifiGan(config)
        hifigan.save_pretrained(tmp_path)
        backbone.model.config.update({"mel_mean": -2.0, "mel_deviation": 0.5})
        said = torch.randn(10, 80)
        wanted = soxr.resample(hifigan(said * 0.5 - 2.0 if before else said).detach().numpy(), 22_050, 16_000)
        np.testing.assert_allclose(vocoders.load(str(tmp_path), backbone)(said), wanted, atol=1e-5)

    @pytest.mark.skipif(not LJSPEECH.is_dir(), reason=f"no recordings in {LJSPEECH}")
    def test_models_that_come_without_statistics_have_those_of_ljspeech(self, backbone):
        for name in ("mel", "pitch", "energy"):
            for part in ("mean", "deviation"):
                delattr(backbone.model.config, f"{name}_{part}")
        rows = []
        for path in sorted(LJSPEECH.glob("wavs/*.wav")):
            waveform = audio.load(path)
            frames = 1 + round(len(waveform) / 16_000 * 22_050) // 256
            rows.append({"id": path.stem, "text": "a" * (frames - 1), "waveform": waveform, "durations": [1] * frames})
        assert len(rows) == 32
        made = [backbone.targets([row]) for row in rows]
        for name, tolerance in (("labels", 0.01), ("pitch", 0.01), ("energy", 0.01)):
            values = torch.cat([targets[name][0] for targets in made])
            torch.testing.assert_close(values.mean(0), torch.zeros(values.shape[1]), atol=tolerance, rtol=0)
            torch.testing.assert_close(values.std(0), torch.ones(values.shape[1]), atol=tolerance, rtol=0)

    def test_a_token_without_frames_sounds_like_the_frame_that_comes_next(self, backbone):
        pitch = backbone.targets([self.row(16_000, [43, 0, 44])])["pitch"].flatten()
        assert pitch[0] < pitch[1] < pitch[2]
        last = backbone.targets([self.row(16_000, [43, 44, 0])])["pitch"].flatten()
        assert last[0] < last[1] < last[2]

    def test_some_frames_more_or_less_are_the_longest_token_s(self, backbone):
        for durations, expected in (([40, 30, 15], [42, 30, 15]), ([40, 30, 20], [37, 30, 20])):
            made = backbone.targets([self.row(16_000, durations)])
            assert made["durations"].tolist() == [expected]

    @pytest.mark.parametrize(
        ("durations", "message"),
        [
            ([40, 47], "Durations of u1: 2, and the text has 3 tokens"),
            ([40, 30, 10], "80 frames in all; its audio has 87"),
        ],
    )
    def test_durations_that_do_not_fit_are_named(self, backbone, durations, message):
        with pytest.raises(SureError, match=message):
            backbone.targets([self.row(16_000, durations)])

    def test_a_token_without_frames_and_speech_without_pitch(self, backbone):
        row = self.row(16_000, [87, 0, 0])
        row["waveform"] = np.zeros(16_000, dtype=np.float32)
        made = backbone.targets([row])
        assert all(torch.isfinite(tensor.float()).all() for tensor in made.values())
        # As high as speech is on average.
        assert not made["pitch"].any()


def test_its_own_vocoder_speaks(backbone, tmp_path):
    sizes = {"upsample_initial_channel": 32, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1]]}
    FastSpeech2ConformerHifiGan(FastSpeech2ConformerHifiGanConfig(**sizes)).save_pretrained(tmp_path)
    waveform = vocoders.load(str(tmp_path), backbone)(torch.zeros(10, 80))
    # From 22.05 kHz.
    assert len(waveform) == pytest.approx(10 * 256 * 16_000 / 22_050, abs=2)
    assert waveform.dtype == np.float32
