"""Adapters between each layer and the head, and adapters of the CNN, against their equations; what they cost."""

import pytest
import torch
from torch import nn

from sure.budget import count
from sure.errors import SureError
from sure.method import applying, by_name
from tests.factories.encoders import evaluation, load, speech_model, stirred, waveforms

POST_NORM, PRE_NORM = "wav2vec2:tiny_like_base", "wav2vec2:tiny"


def fresh(name, method, options=None):
    backbone = load(name)
    return backbone, applying.apply(speech_model(backbone), applying.configure(method, backbone, options))


def inner(model):
    return model.base_model.model.backbone


def layers_give(model, inputs):
    with model.disable_adapter():
        return inner(model)(**inputs, output_hidden_states=True).hidden_states[1:]


def linear(module, hidden_states):
    return hidden_states @ module.weight.T + module.bias


@pytest.mark.parametrize("name", [POST_NORM, PRE_NORM])
def test_l_adapters_are_the_formula(name):
    backbone, model = fresh(name, "layer_output_adapter", {"bottleneck_dimension": 5})
    stirred(model)
    inputs, ways = backbone.inputs(waveforms(0.5, 0.8)), inner(model).sure_adapter["default"]
    with evaluation(model):
        weights, expected = ways.mixture.weights.exp() / ways.mixture.weights.exp().sum(), 0
        states = layers_give(model, inputs)
        assert len(states) == len(ways.adapters) == 2
        for weight, h, adapter in zip(weights, states, ways.adapters, strict=True):
            inside = linear(adapter.down, h).clamp(min=0)
            inside = inside - inside.mean(-1, keepdim=True)
            inside = inside / (inside.square().mean(-1, keepdim=True) + 1e-5).sqrt()
            expected = expected + weight * (inside * adapter.norm.weight + adapter.norm.bias)
        expected = linear(ways.to_width, expected)
        actual = inner(model)(**inputs).last_hidden_state
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


def test_inter_adapters_are_the_formula_and_start_as_the_mean_of_the_layers():
    backbone, model = fresh(PRE_NORM, "layer_output_adapter", {"preset": "inter", "bottleneck_dimension": 5})
    inputs, ways = backbone.inputs(waveforms(0.5, 0.8)), inner(model).sure_adapter["default"]
    with evaluation(model):
        states = layers_give(model, inputs)
        torch.testing.assert_close(inner(model)(**inputs).last_hidden_state, (states[0] + states[1]) / 2)
        stirred(model)
        first, second = ways.mixture.weights.softmax(0)
        one, two = (
            h + linear(adapter.up, linear(adapter.down, h).clamp(min=0))
            for h, adapter in zip(states, ways.adapters, strict=True)
        )
        actual = inner(model)(**inputs).last_hidden_state
    torch.testing.assert_close(actual, first * one + second * two, atol=1e-5, rtol=1e-4)


def test_l_adapters_start_as_released():
    _, model = fresh(PRE_NORM, "layer_output_adapter", {"bottleneck_dimension": 300})
    ways = inner(model).sure_adapter["default"]
    assert (ways.mixture.weights == 0).all()
    for adapter in ways.adapters:
        assert adapter.down.weight.std().item() == pytest.approx(1e-3, rel=0.05)
        assert (adapter.down.bias == 0).all()


def test_l_adapters_have_as_many_parameters_as_in_print():
    of_one, layers = 768 * 512 + 512 + 2 * 512, 12
    assert (of_one, layers * of_one) == (394_752, 4_737_024)
    weights, to_width = layers, 512 * 768 + 768
    assert count("layer_output_adapter", "wavlm:base") == layers * of_one + weights + to_width
    (published,) = by_name.published("layer_output_adapter")
    assert round(layers * of_one, -4) == published.parameters
    assert count("layer_output_adapter", "wavlm:base", {"preset": "inter"}) == 12 * (2 * 768 * 128 + 896) + weights


def test_no_backward_pass_goes_through_a_backbone_in_which_nothing_trains():
    """It trains as beside other adapters, with dropout and SpecAugment; and where something learns, gradients come."""
    backbone, model = fresh(PRE_NORM, "layer_output_adapter")
    model.train()
    base, inputs, given = inner(model).base_layer, backbone.inputs(waveforms(0.5, 0.8)), []
    assert all(module.training for module in base.modules())
    base.register_forward_hook(lambda *call: given.append(call[-1].last_hidden_state))
    model(**inputs, labels=torch.tensor([0, 2])).loss.backward()
    model(**inputs)
    assert not any(output.requires_grad for output in given)
    assert not torch.equal(*given)
    learns = base.encoder.layers[0].feed_forward.output_dense.weight.requires_grad_(True)
    model(**inputs, labels=torch.tensor([0, 2])).loss.backward()
    assert learns.grad.abs().sum() > 0


def test_it_lies_around_the_whole_backbone():
    backbone = load(PRE_NORM)
    config = applying.configure("layer_output_adapter", backbone, {"roles": "layer"})
    with pytest.raises(SureError, match="between the whole backbone and the head; leave"):
        applying.apply(speech_model(backbone), config)


def gelu(x):
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def block(module, x):
    """A convolution, its normalisation if it has one, and GELU, of one utterance that nothing pads."""
    y = nn.functional.conv1d(x, module.conv.weight, module.conv.bias, stride=module.conv.stride)
    if (norm := getattr(module, "layer_norm", None)) is not None:
        over = -1 if isinstance(norm, nn.GroupNorm) else 1
        y = y - y.mean(over, keepdim=True)
        y = y / (y.square().mean(over, keepdim=True) + 1e-5).sqrt()
        y = y * norm.weight[:, None] + norm.bias[:, None]
    return gelu(y)


@pytest.mark.parametrize("name", [POST_NORM, PRE_NORM])
def test_cnn_adapters_are_the_formula_in_a_padded_batch(name):
    """Either the first block normalises over time, which must leave the padding out, or each does over channels."""
    backbone, model = fresh(name, "cnn_adapter", {"scale": 0.3})
    stirred(model)
    clips = waveforms(0.5, 0.8)
    inputs = backbone.inputs(clips)
    features = []
    cnn = inner(model).feature_extractor
    with evaluation(model):
        cnn.register_forward_hook(lambda *call: features.append(call[-1]))
        model(**inputs)
        for number, length in enumerate(inputs["attention_mask"].sum(1)):
            expected = inputs["input_values"][number, None, None, :length]
            for layer in cnn.conv_layers:
                expected = block(layer.base_layer, expected) + 0.3 * block(layer.sure_adapter["default"], expected)
            actual = features[0][number, :, : expected.shape[-1]]
            torch.testing.assert_close(actual, expected[0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [POST_NORM, PRE_NORM, "wavlm:tiny", "data2vec_audio:tiny"])
def test_cnn_adapters_start_as_the_identity_and_learn_from_the_first_step_on(name):
    backbone = load(name)
    model, inputs = speech_model(backbone), backbone.inputs(waveforms(0.5, 0.8))
    with evaluation(model):
        expected = model(**inputs).logits
    model = applying.apply(model, applying.configure("cnn_adapter", backbone))
    with evaluation(model):
        assert torch.equal(model(**inputs).logits, expected)
    model.train()
    model(**inputs, labels=torch.tensor([0, 2])).loss.backward()
    for layer in inner(model).feature_extractor.conv_layers:
        assert layer.sure_adapter["default"].conv.weight.grad.abs().sum() > 0
        assert all(parameter.grad is None for parameter in layer.base_layer.parameters())


def test_cnn_adapters_of_hubert_base_are_less_than_five_percent():
    """CHAPTER's claim, with one bottleneck of 32 a layer: its code's recipe (first block with group normalisation)."""
    channels = [1, *[512] * 7]
    kernels = (10, 3, 3, 3, 3, 2, 2)
    weights = sum(before * 512 * kernel for before, kernel in zip(channels, kernels, strict=False))
    assert weights + 2 * 512 == 4_200_448
    assert count("cnn_adapter", "hubert:base") == 4_200_448
    both = 4_200_448 + count("bottleneck_adapter", "hubert:base", {"preset": "chapter"})
    assert both == 4_799_872
    assert both / (94_371_712 + both) < 0.05


def test_cnn_adapters_lie_beside_blocks_of_a_cnn():
    backbone = load(PRE_NORM)
    config = applying.configure("cnn_adapter", backbone, {"roles": "layer"})
    with pytest.raises(SureError, match="blocks of a CNN on the waveform, which a Wav2Vec2EncoderLayer"):
        applying.apply(speech_model(backbone), config)
