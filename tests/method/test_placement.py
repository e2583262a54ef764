"""Where adapters lie and how they are put there: against the formulas, inside real layers."""

import pytest
import torch
from torch import nn

from sure.backbone import loading
from sure.budget import count
from sure.errors import SureError
from sure.method import applying, targeting
from tests.factories.encoders import bare, evaluation, load, speech_model, stirred, waveforms

POST_NORM, PRE_NORM = "wav2vec2:tiny_like_base", "wav2vec2:tiny"


def adapted(name, options, method="bottleneck_adapter"):
    backbone = load(name)
    return backbone, stirred(applying.apply(speech_model(backbone), applying.configure(method, backbone, options)))


def of_layer(model, number=0):
    layer = model.base_model.model.backbone.encoder.layers[number]
    return layer, getattr(layer, "base_layer", layer)


def bottleneck(module, hidden_states):
    return nn.functional.linear(
        nn.functional.linear(hidden_states, module.down.weight, module.down.bias).clamp(min=0),
        module.up.weight,
        module.up.bias,
    )


@pytest.mark.parametrize("name", [POST_NORM, PRE_NORM])
@pytest.mark.parametrize("insertion", ["sequential", "parallel"])
def test_a_layer_with_adapters_at_attention_and_feed_forward_is_the_formula(name, insertion):
    _, model = adapted(name, {"placement": "attention,ffn", "insertion": insertion, "scale": 0.5})
    _, layer = of_layer(model)
    attention, ffn = layer.attention, layer.feed_forward
    at_attention, at_ffn = (part.sure_adapter["default"] for part in (attention, ffn))
    x = torch.randn(1, 6, 32)

    def with_adapter(block, module, given):
        output = block.base_layer(given)
        output = output[0] if isinstance(output, tuple) else output
        return output + 0.5 * bottleneck(module, output if insertion == "sequential" else given)

    with evaluation(model):
        if name == PRE_NORM:
            z = x + with_adapter(attention, at_attention, layer.layer_norm(x))
            expected = z + with_adapter(ffn, at_ffn, layer.final_layer_norm(z))
        else:
            z = layer.layer_norm(x + with_adapter(attention, at_attention, x))
            expected = layer.final_layer_norm(z + with_adapter(ffn, at_ffn, z))
        actual = layer(x)
    torch.testing.assert_close(actual[0] if isinstance(actual, tuple) else actual, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "formula"),
    [
        ({"insertion": "sequential", "residual": False}, lambda x, y, a: a(y)),
        ({"insertion": "parallel"}, lambda x, y, a: y + a(x)),
        ({"insertion": "parallel", "residual": True}, lambda x, y, a: y + x + a(x)),
        ({"insertion": "sequential", "scale": 4.0}, lambda x, y, a: y + 4 * a(y)),
        ({"norm": "before"}, lambda x, y, a: y + a(nn.functional.layer_norm(y, (32,)))),
        ({"norm": "after"}, lambda x, y, a: y + nn.functional.layer_norm(a(y), (32,))),
    ],
)
def test_insertion_residual_scale_and_norm(options, formula):
    backbone = load(PRE_NORM)
    config = applying.configure("bottleneck_adapter", backbone, {"placement": "ffn", **options})
    model = applying.apply(speech_model(backbone), config)
    _, layer = of_layer(model)
    x = torch.randn(2, 5, 32)
    with evaluation(model):
        block = layer.feed_forward.sure_adapter["default"]
        expected = formula(x, layer.feed_forward.base_layer(x), lambda h: bottleneck(block, h))
        torch.testing.assert_close(layer.feed_forward(x), expected, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_a_gate_is_a_number_for_each_utterance_from_what_is_heard():
    _, model = adapted(PRE_NORM, {"placement": "ffn", "scale": "gated"})
    block = of_layer(model)[1].feed_forward
    adapter, x = block.sure_adapter["default"], torch.randn(2, 5, 32)
    block.padding.mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    y = block.base_layer(x)
    weight, bias = adapter.gate.linear.weight[0], adapter.gate.linear.bias
    gates = [(1 / (1 + (-(y[i, :length] @ weight + bias)).exp())).mean() for i, length in enumerate((5, 3))]
    expected = torch.stack([y[i] + gate * bottleneck(adapter, y[i]) for i, gate in enumerate(gates)])
    torch.testing.assert_close(block.eval()(x), expected, atol=1e-6, rtol=1e-5)


def test_a_learned_scale_starts_at_one_and_learns():
    backbone, model = adapted(PRE_NORM, {"scale": "learned", "initialisation": "bert"})
    model(**backbone.inputs(waveforms(0.5)), labels=torch.tensor([1])).loss.backward()
    scales = {name: weight for name, weight in model.named_parameters() if name.endswith("scale")}
    assert len(scales) == 2
    assert all(weight.grad.abs() > 0 for weight in scales.values())


def test_norms_of_the_adapted_layers_train_and_no_others():
    backbone, model = adapted(PRE_NORM, {"placement": "layer,ffn", "top": 1, "train_norms": True})
    norms = {name for name, weight in model.named_parameters() if weight.requires_grad and "norm" in name}
    assert {name.split("backbone.")[1].rsplit(".", 1)[0] for name in norms} == {
        "encoder.layers.1.base_layer.layer_norm.sure_adapter.default",
        "encoder.layers.1.base_layer.final_layer_norm.sure_adapter.default",
    }
    model(**backbone.inputs(waveforms(0.5)), labels=torch.tensor([1])).loss.backward()
    assert all(weight.grad.abs().sum() > 0 for name, weight in model.named_parameters() if name in norms)


@pytest.mark.parametrize(
    ("name", "placement", "norm", "reader"),
    [
        (PRE_NORM, "ffn", "final_layer_norm", "feed_forward"),
        (PRE_NORM, "attention", "layer_norm", "attention"),
        (POST_NORM, "ffn", "layer_norm", "feed_forward"),
        ("wav2vec2_bert:tiny", "attention", "self_attn_layer_norm", "self_attn"),
        ("whisper:tiny", "ffn", "final_layer_norm", "fc1"),
    ],
)
def test_the_norm_before_is_what_an_adapted_part_reads(name, placement, norm, reader):
    backbone, model = adapted(name, {"placement": placement, "train_norms": "before", "layers": "0"})
    norms = {name for name, weight in model.named_parameters() if weight.requires_grad and "norm" in name}
    assert {name.split(".layers.0.")[1].split(".")[0] for name in norms} == {norm}
    (layer,) = (module for name, module in model.named_modules() if name.endswith(".layers.0"))
    given, read = [], []
    getattr(layer, norm).register_forward_hook(lambda *call: given.append(call[-1]))
    getattr(layer, reader).register_forward_pre_hook(
        lambda _, args, kwargs: read.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    with evaluation(model):
        model(**backbone.inputs(waveforms(0.5)))
    assert torch.equal(*read, *given)


def test_where_no_norm_is_known_to_lie_before_a_part_it_is_said():
    for name, placement in ((POST_NORM, "attention"), (PRE_NORM, "layer")):
        with pytest.raises(SureError, match=f"no normalisation of a layer is known to lie before {placement} in "):
            applying.configure("bottleneck_adapter", bare(name), {"placement": placement, "train_norms": "before"})


def test_of_an_encoder_decoder_the_norms_of_the_adapted_side_train():
    with torch.device("meta"):
        whisper = loading.load("whisper:tiny", weights=False)
    for role, sides in (
        ("ffn", {"encoder", "decoder"}),
        ("encoder_ffn", {"encoder"}),
        ("cross_attention", {"decoder"}),
    ):
        config = applying.configure("bottleneck_adapter", whisper, {"roles": role, "train_norms": True})
        found = targeting.modules_named(whisper, config.target_modules)
        assert {name.split(".")[2] for name in found if name.endswith("norm")} == sides


def test_adapters_of_2312_03694_have_the_parameters_of_its_table():
    """Of AST, which has the width and the layers of wav2vec 2.0 base; head and last normalisation not counted."""
    for method, options, expected in (
        ("bottleneck_adapter", {"preset": "ast"}, 248_976),
        ("bottleneck_adapter", {"preset": "ast", "placement": "attention,ffn", "train_norms": True}, 497_952),
        ("conformer_adapter", {"preset": "ast"}, 270_720),
        ("conformer_adapter", {"preset": "houlsby", "train_norms": True}, 541_440),
    ):
        assert count(method, "wav2vec2:base", options) == expected


@pytest.mark.parametrize(("preset", "expected"), [("soft", 922_104), ("dense", 922_188)])
def test_mixtures_of_2402_00828_have_its_parameters_with_the_norms_that_its_release_trains(preset, expected):
    backbone = "audio_spectrogram_transformer:base"
    assert count("mixture_of_adapters", backbone, {"preset": preset, "train_norms": "before"}) == expected
    # In layers that normalise last as well, where none is known to lie before attention.
    assert count("mixture_of_adapters", "wav2vec2:base", {"preset": preset}) == expected - 12 * 2 * 768


def test_with_ln_tuning_beside_it_lora_of_2210_16032_trains_what_its_code_does_but_for_biases():
    options = {"lora.preset": "peng"}
    # 12 layers, two maps to 32 channels and back, and two normalisations
    assert count("lora+ln_tuning", "wavlm:base", options) == 12 * (2 * 2 * 768 * 32 + 2 * 2 * 768)


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({"layers": "0"}, {0}),
        ({"layers": "0-1"}, {0, 1}),
        ({"layers": "0,1"}, {0, 1}),
        ({"top": 1}, {3}),
        ({"layers": "0--2"}, {0, 1, 2}),
    ],
)
@pytest.mark.parametrize("method", ["bottleneck_adapter", "prefix_tuning", "vera", "bitfit"])
def test_layers_are_a_choice_of_every_method(method, options, numbers):
    backbone = bare(PRE_NORM)
    targets = applying.configure(method, backbone, options).target_modules
    assert {int(name.split("encoder.layers.")[1].split(".")[0]) for name in targets} == numbers


def test_layers_count_from_the_top_in_either_part_of_an_encoder_decoder():
    with torch.device("meta"):
        whisper = loading.load("whisper:tiny", weights=False)
    targets = applying.configure("lora", whisper, {"roles": "query,decoder_query", "top": 1}).target_modules
    assert [name.replace("backbone.model.", "") for name in targets] == [
        "encoder.layers.1.self_attn.q_proj",
        "decoder.layers.1.self_attn.q_proj",
        "decoder.layers.1.encoder_attn.q_proj",
    ]


def test_a_preset_is_a_papers_choice_that_options_change():
    config = applying.configure("bottleneck_adapter", bare(PRE_NORM), {"preset": "parallel", "bottleneck_dimension": 4})
    assert (config.placement, config.insertion, config.scale) == (["ffn"], "parallel", 4.0)
    assert config.bottleneck_dimension == 4


def test_one_that_starts_as_the_identity_changes_nothing_at_first():
    backbone = load(PRE_NORM)
    inputs = backbone.inputs(waveforms(0.5, 0.9))
    for method, options in (
        ("bottleneck_adapter", {"preset": "parallel"}),
        ("convpass", {}),
        ("multi_conv_adapter", {}),
        ("mixture_of_adapters", {}),
        ("mixture_of_adapters", {"routing": "dense"}),
        ("adapter_bias", {}),
        ("bottleneck_adapter", {"preset": "ast"}),
    ):
        fresh = load(PRE_NORM)
        model = speech_model(fresh)
        with evaluation(model):
            expected = model(**inputs).logits
        model = applying.apply(model, applying.configure(method, fresh, options))
        with evaluation(model):
            torch.testing.assert_close(model(**inputs).logits, expected, atol=1e-6, rtol=1e-5)


def test_what_mixes_frames_has_no_place_in_a_decoder():
    with torch.device("meta"):
        whisper = loading.load("whisper:tiny", weights=False)
    for method in ("convpass", "conformer_adapter", "mixture_of_adapters"):
        with pytest.raises(SureError, match="has yet to say"):
            applying.configure(method, whisper, {"roles": "decoder_attention"})
    config = applying.configure("mixture_of_adapters", whisper, {"roles": "decoder_attention", "routing": "dense"})
    assert "decoder" in config.target_modules
