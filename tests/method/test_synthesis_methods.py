"""Methods made for synthesis: weights that depend on who speaks, and experts that choose their frames."""

import copy
import math

import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from transformers import FastSpeech2ConformerConfig, FastSpeech2ConformerModel

from sure import budget
from sure.backbone import loading
from sure.backbone.padding import Padding
from sure.backbones.fastspeech2_conformer import FastSpeech2Conformer
from sure.errors import SureError
from sure.method import applying
from sure.methods.hyper_adapter import HyperAdapter, _Generators
from sure.methods.mixture_of_adapters import MixtureOfAdapters, _Mixture
from sure.model import SpeechModel
from tests.backbones.test_speaking_models import adapted_model, speaking_model, spectrograms
from tests.factories import encoders, speaking
from tests.factories.encoders import evaluation, stirred
from tests.factories.speaking import inputs, targets


def trainable(model):
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def layers(backbone, part="decoder"):
    """The layers of an encoder or a decoder, within what adapts them."""
    if backbone.family() == "speecht5":
        half = getattr(backbone.model.speecht5, part)
        stack = half.wrapped_decoder.layers if part == "decoder" else half.wrapped_encoder.layers
    else:
        stack = getattr(backbone.model, part).conformer_layers
    return list(stack)


def hyper_adapter(common, generators, place, speaker, h):
    """y - h for one utterance, h of shape (frames, width), number by number of the equations."""
    parts = [] if speaker is None else [common.speaker.weight @ (speaker / speaker.norm()) + common.speaker.bias]
    s = (common.project.weight @ torch.cat([*parts, *([] if place is None else [place])])).clamp(min=0)
    width = h.shape[1]
    size = generators.down_bias.out_features
    down, up = torch.zeros(size, width), torch.zeros(width, size)
    for row in range(size):
        for column in range(width):
            down[row, column] = generators.down.weight[row * width + column] @ s
            up[column, row] = generators.up.weight[column * size + row] @ s
    hidden = (h @ down.T + generators.down_bias.weight @ s).clamp(min=0)
    return hidden @ up.T + generators.up_bias.weight @ s


@pytest.mark.parametrize("family", speaking.FAMILIES)
@pytest.mark.parametrize("generators", ["shared", "own"])
@torch.no_grad()
def test_a_hyper_adapter_is_its_equations(family, generators):
    options = {"roles": "decoder_ffn", "bottleneck_dimension": 3, "generators": generators}
    backbone, model = adapted_model(family, "hyper_adapter", options)
    stirred(model, by=0.2).eval()
    speakers, x = torch.randn(2, 12), torch.randn(2, 5, 64)
    backbone.voices.embeddings = speakers
    places = [layer.feed_forward for layer in layers(backbone)]
    common = places[0].sure_adapter["default"].common
    for block in places:
        adapter, y = block.sure_adapter["default"], block.base_layer(x)
        made = adapter.generators if generators == "own" else common.generators
        changes = [
            hyper_adapter(common, made, adapter.place, speaker, h) for speaker, h in zip(speakers, y, strict=True)
        ]
        torch.testing.assert_close(block(x), y + torch.stack(changes), atol=1e-5, rtol=1e-4)
        # Who speaks matters, and where.
        assert not torch.allclose(changes[0], hyper_adapter(common, made, adapter.place, speakers[1], y[0]), atol=1e-3)
    first, second = (block.sure_adapter["default"].change(x, backbone.padding) for block in places)
    assert not torch.allclose(first, second, atol=1e-3)


@torch.no_grad()
def test_without_speakers_it_hears_the_layer_alone():
    backbone = encoders.load("wav2vec2:tiny")
    config = applying.configure("hyper_adapter", backbone, {"bottleneck_dimension": 3})
    stirred(applying.apply(encoders.speech_model(backbone), config), by=0.2)
    adapters = [layer.sure_adapter["default"] for layer in backbone.model.encoder.layers]
    common, h = adapters[0].common, torch.randn(2, 5, 32)
    for adapter in adapters:
        expected = torch.stack([hyper_adapter(common, common.generators, adapter.place, None, one) for one in h])
        torch.testing.assert_close(adapter.change(h, backbone.padding), expected, atol=1e-5, rtol=1e-4)
    assert common.project.weight.shape == (8, 64)
    assert common.speaker is None
    with pytest.raises(SureError, match=r"generators=own: .* reads no speaker embeddings"):
        fresh = encoders.load("wav2vec2:tiny")
        config = applying.configure("hyper_adapter", fresh, {"generators": "own"})
        applying.apply(encoders.speech_model(fresh), config)


def test_a_voice_that_is_not_said_is_an_error():
    backbone, model = adapted_model("fastspeech2_conformer", "hyper_adapter")
    batch = inputs(backbone) | targets(backbone)
    del batch["speaker_embeddings"]
    with pytest.raises(SureError, match="this batch has no speaker_embeddings"):
        model.train()(**batch)


def fastspeech2(speakers=256, **changes):
    """A FastSpeech 2 of HyperTTS' sizes, without weights."""
    config = FastSpeech2ConformerConfig(
        hidden_size=256, encoder_layers=4, decoder_layers=6, speaker_embed_dim=speakers, **changes
    )
    with torch.device("meta"):
        return FastSpeech2Conformer("fastspeech2", FastSpeech2ConformerModel(config), revision="", pretrained=False)


def counted(backbone, method, options):
    with torch.device("meta"):
        model = applying.apply(SpeechModel(backbone), applying.configure(method, backbone, options))
    return sum(weight.numel() for weight in trainable(model).values())


def test_hypertts_counts():
    # Generators, W_s, embeddings of six layers, W_p.
    expected = 8 * (2 * 256 * 32 + 256 + 32) + (256 * 64 + 64) + 6 * 64 + 128 * 8
    assert expected == 133_376 + 16_448 + 384 + 1_024 == 151_232
    # HyperTTS has one feed-forward block in a layer, conformers have two, and two places.
    for macaron, role, embeddings in ((False, "decoder_ffn", 6), (True, "decoder_ffn", 12), (True, "decoder_layer", 6)):
        backbone = fastspeech2(use_macaron_style_in_conformer=macaron)
        count = counted(backbone, "hyper_adapter", {"roles": role})
        assert count == expected + (embeddings - 6) * 64
    both = counted(fastspeech2(use_macaron_style_in_conformer=False), "hyper_adapter", {"preset": "hypertts"})
    assert both == 2 * expected - 2 * 64
    big = {"roles": "decoder_layer", "generators": "own"}
    assert counted(fastspeech2(), "hyper_adapter", big) == 6 * 133_376 + 16_448 + 64 * 8
    assert counted(fastspeech2(None), "hyper_adapter", {"roles": "decoder_layer"}) == 133_376 + 384 + 64 * 8
    # SpeechT5's width.
    assert sum(weight.numel() for weight in _Generators(768, HyperAdapter()).parameters()) == 399_616


def test_adapter_mix_counts():
    options = {"preset": "adapter_mix", "roles": "decoder_ffn"}
    backbone = fastspeech2(use_macaron_style_in_conformer=False)
    expected = 6 * (10 * (2 * 256 * 128 + 128 + 256) + 256 * 10 + 10)
    assert counted(backbone, "mixture_of_adapters", options) == expected == 3_970_620


@pytest.mark.parametrize("family", speaking.FAMILIES)
def test_what_layers_share_is_held_once(family, tmp_path):
    backbone, model = adapted_model(family, "hyper_adapter")
    for part in ("encoder", "decoder"):
        first, *others = (layer.sure_adapter["default"].common for layer in layers(backbone, part))
        assert others
        assert all(other is first for other in others)
    held = [name for name in trainable(model) if name.endswith("generators.down.weight")]
    assert len(held) == 2
    assert len(set(map(id, trainable(model).values()))) == len(trainable(model))
    state = get_peft_model_state_dict(model)
    assert sum(tensor.numel() for tensor in state.values()) == budget.measure(model).trainable_parameters
    assert len([name for name in state if name.endswith("generators.down.weight")]) == 2
    # A copy shares among its own.
    copied = copy.deepcopy(model)
    for name, weight in trainable(copied).items():
        torch.nn.init.zeros_(weight)
        assert trainable(model)[name].abs().sum() > 0
    with evaluation(copied), evaluation(model), model.disable_adapter():
        pairs = zip(spectrograms(copied, inputs(backbone)), spectrograms(model, inputs(backbone)), strict=True)
        for silent, disabled in pairs:
            torch.testing.assert_close(silent, disabled, atol=1e-5, rtol=0)
    # Read again, they are shared again.
    model.save_pretrained(tmp_path)
    fresh = speaking.load(family)
    again = PeftModel.from_pretrained(speaking_model(fresh), tmp_path, is_trainable=True)
    assert set(trainable(again)) == set(trainable(model))
    for layer in layers(fresh):
        assert layer.sure_adapter["default"].common is layers(fresh)[0].sure_adapter["default"].common


def test_two_adapters_share_nothing_with_one_another():
    backbone, model = adapted_model("speecht5", "hyper_adapter")
    batch = inputs(backbone)
    model.add_adapter("other", applying.configure("hyper_adapter", backbone, {"bottleneck_dimension": 5}))
    first, second = (layer.sure_adapter for layer in layers(backbone))
    assert first["other"].common is second["other"].common is not first["default"].common
    with evaluation(model):
        expected = spectrograms(model, batch)
        model.set_adapter("other")
        other = spectrograms(model, batch)
        model.set_adapter("default")
        again = spectrograms(model, batch)
    assert all(torch.equal(one, two) for one, two in zip(expected, again, strict=True))
    assert any(len(one) != len(two) or not torch.equal(one, two) for one, two in zip(expected, other, strict=True))
    # One that is deleted and made anew has parts of its own.
    model.delete_adapter("other")
    model.add_adapter("other", applying.configure("hyper_adapter", backbone))
    assert first["other"].common is second["other"].common
    assert first["other"].common.generators.down_bias.out_features == 32


def test_trained_norms_are_no_places_of_adapters():
    backbone, model = adapted_model("fastspeech2_conformer", "hyper_adapter", {"roles": "ffn", "train_norms": True})
    model.train()(**inputs(backbone), **targets(backbone)).loss.backward()
    assert all(weight.grad is not None for weight in trainable(model).values())
    assert len([name for name in trainable(model) if name.endswith("project.weight")]) == 2


def test_a_budget_is_kept_by_what_is_shared():
    backbone = speaking.load("speecht5")
    config = applying.configure("hyper_adapter", backbone, {"budget": "60k"})
    model = applying.apply(speaking_model(backbone), config)
    per_dimension = 2 * 8 * (2 * 64 + 1)
    count = sum(weight.numel() for weight in trainable(model).values())
    assert count <= 60_000 < count + per_dimension


def choice(adapter, x, capacity, released=False):
    """The change of one utterance, expert by expert, frame by frame."""
    logits = x @ adapter.router.weight.T + adapter.router.bias
    weights = logits if released else logits.exp() / logits.exp().sum(-1, keepdim=True)
    experts = logits.shape[1]
    result = torch.zeros_like(x)
    for expert in range(experts):
        for frame in weights[:, expert].argsort(descending=True)[: max(1, math.floor(capacity * len(x) / experts))]:
            hidden = torch.nn.functional.gelu(x[frame] @ adapter.down[expert] + adapter.down_bias[expert, 0])
            given = hidden @ adapter.up[expert] + adapter.up_bias[expert, 0]
            result[frame] += weights[frame, expert] * (given + (x[frame] if released else 0))
    return result


@torch.no_grad()
@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("capacity", [0.8, 1.5, 3])
def test_experts_choose_among_the_frames_of_an_utterance(released, capacity):
    torch.manual_seed(0)
    config = MixtureOfAdapters(
        routing="expert_choice",
        bottleneck_dimension=2,
        experts=3,
        capacity=capacity,
        variant="released" if released else "paper",
    )
    adapter = stirred(_Mixture(8, config), by=0.3)
    lengths, x = [11, 4, 1], torch.randn(3, 11, 8)
    # In padding what experts would like.
    x[1, 4:] *= 100
    padding = Padding()
    padding.mask = torch.arange(11) < torch.tensor(lengths).unsqueeze(1)
    actual = adapter.change(x, padding)
    for utterance, length, result in zip(x, lengths, actual, strict=True):
        expected = choice(adapter, utterance[:length], capacity, released)
        torch.testing.assert_close(result[:length], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(adapter.change(utterance[None, :length], Padding())[0], expected)
        assert (result[length:] == 0).all()
    # Each expert has one frame or two of eleven, or all of them.
    assert capacity != 0.8 or (actual[0] == 0).all(dim=-1).any()
    assert capacity != 3 or (actual[0] != 0).all()


@pytest.mark.parametrize("capacity", [0.3, 0.7, 0.8, 1.1, 2.3])
def test_the_share_of_an_expert_is_what_the_formula_gives(capacity):
    adapter = _Mixture(8, MixtureOfAdapters(routing="expert_choice", experts=10, capacity=capacity))
    tenths = round(10 * capacity)
    for frames in range(1, 400):
        assert adapter._share(frames) == int(adapter._share(torch.tensor(frames))) == frames * tenths // 100


def test_experts_that_choose_learn_and_speak_in_a_decoder_that_says_all_at_once():
    options = {"preset": "adapter_mix", "roles": "decoder_ffn", "bottleneck_dimension": 4, "experts": 3}
    backbone, model = adapted_model("fastspeech2_conformer", "mixture_of_adapters", options)
    assert {name.split(".")[3] for name in trainable(model)} == {"decoder"}
    batch = inputs(backbone)
    model.train()(**batch, **targets(backbone)).loss.backward()
    assert all(weight.grad.abs().sum() > 0 for weight in trainable(model).values())
    with evaluation(model):
        together = spectrograms(model, batch)
        alone = spectrograms(model, {name: tensor[2:] for name, tensor in batch.items()})[0]
    torch.testing.assert_close(alone, together[2], atol=1e-5, rtol=1e-4)


def test_in_an_encoder_padding_is_chosen_by_no_expert():
    backbone = encoders.load("wav2vec2:tiny")
    config = applying.configure("mixture_of_adapters", backbone, {"preset": "adapter_mix", "bottleneck_dimension": 4})
    model = stirred(applying.apply(encoders.speech_model(backbone), config))
    clips = encoders.waveforms(0.5, 1.3, 0.3)
    with evaluation(model):
        together = model(**backbone.inputs(clips)).logits
        alone = torch.cat([model(**backbone.inputs([clip])).logits for clip in clips])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)


def test_experts_do_not_choose_among_frames_that_are_yet_to_be_said():
    backbone = speaking.load("speecht5")
    with pytest.raises(SureError, match="experts choose among all frames, and would read what a speecht5 decoder"):
        applying.configure("mixture_of_adapters", backbone, {"preset": "adapter_mix", "roles": "decoder_ffn"})
    config = applying.configure("mixture_of_adapters", backbone, {"preset": "adapter_mix"})
    assert "decoder" not in config.target_modules
    with torch.device("meta"):
        whisper = loading.load("whisper:tiny", weights=False)
    with pytest.raises(SureError, match="has yet to say"):
        applying.configure("mixture_of_adapters", whisper, {"routing": "expert_choice", "roles": "decoder_layer"})
