"""What is special to single methods; what holds of all is in test_matrix.py."""

import peft
import pytest
import torch
from torch import nn

from sure.backbone.loading import load
from sure.backbone.padding import Padding
from sure.errors import SureError
from sure.method import applying
from sure.methods.conv_adapter import ConvAdapter, _ConvAdapter
from tests.factories.encoders import folder_of, speech_model, stirred, waveforms


@pytest.fixture
def backbone():
    return load(str(folder_of("wav2vec2:tiny")))


def logits(model, backbone):
    model.eval()
    with torch.no_grad():
        return model(**backbone.inputs(waveforms(0.6, 0.4))).logits


@pytest.mark.parametrize("method", ["lora", "full_finetuning", "bitfit"])
def test_merged_it_gives_the_same_without_an_adapter(method, backbone):
    model = stirred(applying.apply(speech_model(backbone), applying.configure(method, backbone)))
    expected = logits(model, backbone)
    merged = model.merge_and_unload()
    assert not any("sure_adapter" in name or "lora" in name for name, _ in merged.named_modules())
    torch.testing.assert_close(logits(merged, backbone), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", ["conv_adapter", "prefix_tuning", "bottleneck_adapter", "weighted_sum_probe"])
def test_what_cannot_be_merged_says_so(method, backbone):
    model = applying.apply(speech_model(backbone), applying.configure(method, backbone))
    with pytest.raises(SureError, match=f"{method.upper()}.*cannot be merged"):
        model.merge_and_unload()


@pytest.mark.parametrize("method", applying.FROM_PEFT)
@pytest.mark.parametrize("name", ["wav2vec2:tiny", "wavlm:tiny_like_base"])
def test_methods_of_peft_learn_and_reload(method, name, tmp_path):
    # Widths that every one of them divides.
    options = {"oft": {"oft_block_size": 8}, "boft": {"boft_block_size": 4}, "fourierft": {"n_frequency": 16}}
    backbone = load(str(folder_of(name)))
    config = applying.configure(method, backbone, options.get(method, {}))
    model = applying.apply(speech_model(backbone), config)
    loss = model(**backbone.inputs(waveforms(0.5, 0.7)), labels=torch.tensor([0, 1])).loss
    loss.backward()
    assert any(
        parameter.grad is not None and parameter.grad.abs().sum() > 0
        for name, parameter in model.named_parameters()
        if "head" not in name
    )
    expected = logits(stirred(model), backbone)
    model.save_pretrained(tmp_path / "adapter")
    fresh = load(str(folder_of(name)))
    reloaded = peft.PeftModel.from_pretrained(speech_model(fresh), tmp_path / "adapter")
    torch.testing.assert_close(logits(reloaded, fresh), expected)


@pytest.mark.parametrize("method", ["lora", "bottleneck_adapter"])
def test_modules_that_a_user_lets_train_whole_are_saved_beside_the_head(method, backbone, tmp_path):
    config = applying.configure(method, backbone, {"modules_to_save": ["feature_projection.layer_norm"]})
    assert config.modules_to_save == ["feature_projection.layer_norm", "head"]
    model = stirred(applying.apply(speech_model(backbone), config))
    model.save_pretrained(tmp_path)
    fresh = load(str(folder_of("wav2vec2:tiny")))
    reloaded = peft.PeftModel.from_pretrained(speech_model(fresh), tmp_path)
    norm = reloaded.base_model.model.backbone.feature_projection.layer_norm
    assert not torch.equal(norm.modules_to_save["default"].weight, norm.original_module.weight)
    assert torch.equal(logits(reloaded, fresh), logits(model, backbone))


def test_lora_is_readable_by_peft_alone(backbone, tmp_path):
    applying.apply(speech_model(backbone), applying.configure("lora", backbone)).save_pretrained(tmp_path)
    config = peft.LoraConfig.from_pretrained(tmp_path)
    assert type(config) is peft.LoraConfig
    assert (config.r, config.lora_alpha) == (8, 1)


def test_a_frozen_cnn_runs_no_backward_pass(backbone):
    model = applying.apply(speech_model(backbone), applying.configure("lora", backbone)).train()
    assert not backbone.model.feature_extractor._requires_grad
    features = backbone.model.feature_extractor(torch.randn(1, 4000))
    assert not features.requires_grad
    assert model is not None


def test_probes_keep_the_backbone_in_evaluation_mode(backbone):
    model = applying.apply(speech_model(backbone), applying.configure("linear_probe", backbone)).train()
    assert not backbone.model.training
    assert model.base_model.model.head.training


def test_weighted_sum_starts_as_the_mean_of_all_hidden_states(backbone):
    model = applying.apply(speech_model(backbone), applying.configure("weighted_sum_probe", backbone)).eval()
    inputs = backbone.inputs(waveforms(0.6))
    with torch.no_grad():
        mixed = model.base_model.model.backbone(**inputs).last_hidden_state
        states = backbone.model(**inputs, output_hidden_states=True).hidden_states
    assert len(states) == backbone.model.config.num_hidden_layers + 1
    torch.testing.assert_close(mixed, torch.stack(states).mean(0))


def test_two_adapters_on_one_backbone_can_be_switched(backbone):
    config = applying.configure("bottleneck_adapter", backbone)
    model = stirred(applying.apply(speech_model(backbone), config))
    first = logits(model, backbone)
    model.add_adapter("second", applying.configure("bottleneck_adapter", backbone, {"bottleneck_dimension": 4}))
    model.set_adapter("second")
    stirred(model)
    assert not torch.allclose(logits(model, backbone), first)
    model.set_adapter("default")
    assert torch.equal(logits(model, backbone), first)


def test_conv_adapter_computes_its_equation():
    """Against plain loops over time and channels."""
    torch.manual_seed(0)
    adapter = _ConvAdapter(8, ConvAdapter(reduction=4)).eval()
    hidden_states = torch.randn(1, 6, 8)

    def convolve(signal, convolution):
        out_channels, per_group, kernel = convolution.weight.shape
        result = torch.zeros(signal.shape[0], out_channels)
        for frame in range(signal.shape[0]):
            for channel in range(out_channels):
                group = channel // (out_channels // convolution.groups)
                for source in range(per_group):
                    for tap in range(kernel):
                        time = frame + tap - kernel // 2
                        if 0 <= time < signal.shape[0]:
                            weight = convolution.weight[channel, source, tap]
                            result[frame, channel] += weight * signal[time, group * per_group + source]
        return result

    with torch.no_grad():
        signal = nn.functional.layer_norm(hidden_states[0], (8,), adapter.norm.weight, adapter.norm.bias)
        first, second, third = adapter.convolutions
        signal = convolve(convolve(convolve(signal, first).relu(), second), third)
        squeeze_excitation = adapter.squeeze_excitation
        weights = (
            squeeze_excitation.excite.weight @ (squeeze_excitation.squeeze.weight @ signal.mean(0)).relu()
        ).sigmoid()
        expected = hidden_states[0] + signal * weights
        torch.testing.assert_close(adapter(hidden_states, Padding())[0], expected, atol=1e-6, rtol=1e-5)


def test_prefix_reparametrised_gives_keys_and_values_of_the_same_shape(backbone):
    options = {"reparametrise": True, "positions": 5, "hidden_dimension": 7}
    model = applying.apply(speech_model(backbone), applying.configure("prefix_tuning", backbone, options))
    prefix = next(module for name, module in model.named_modules() if name.endswith("sure_adapter.default"))
    keys, values = prefix()
    assert keys.shape == values.shape == (1, 2, 5, 16)
    loss = model(**backbone.inputs(waveforms(0.5)), labels=torch.tensor([1])).loss
    loss.backward()
    assert prefix.embedding.grad.abs().sum() > 0


def test_prefix_attention_is_softmax_over_prefix_and_utterance(backbone):
    """One attention module against the formula written out."""
    model = applying.apply(speech_model(backbone), applying.configure("prefix_tuning", backbone)).eval()
    layer = model.base_model.model.backbone.encoder.layers[0].attention
    attention, prefix = layer.base_layer, layer.sure_adapter["default"]
    hidden_states = torch.randn(1, 4, 32)
    with torch.no_grad():
        actual = layer(hidden_states)[0]
        keys, values = prefix()
        split = lambda projection: projection(hidden_states).view(1, 4, 2, 16).transpose(1, 2)  # noqa: E731
        key = torch.cat([keys, split(attention.k_proj)], dim=2)
        value = torch.cat([values, split(attention.v_proj)], dim=2)
        weights = (split(attention.q_proj) @ key.transpose(2, 3) / 4).softmax(-1)
        expected = attention.out_proj((weights @ value).transpose(1, 2).reshape(1, 4, 32))
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("lore", {}, "Unknown method 'lore'. Did you mean 'lora'"),
        ("conv_adapter", {"redution": 4}, "Unknown option of conv_adapter: 'redution'. Did you mean 'reduction'"),
        ("conv_adapter", {"reduction": "many"}, "--method_options reduction=many: Input should be a valid integer"),
        ("conv_adapter", {"bottleneck_dimension": 5}, "bottleneck_dimension .5. must divide the width .32."),
        ("lora", {"roles": "querry"}, "have no 'querry'; its roles: backbone, layer, attention, query"),
        ("prompt_tuning", {}, "Unknown method 'prompt_tuning'"),
        (
            "vera",
            {"roles": "norm"},
            "What was chosen cannot be adapted by this method. Name other parts of the backbone",
        ),
        ("lora", {"roles": "layer"}, ". cannot be adapted by this method. Name other parts"),
    ],
)
def test_wrong_options_are_named(method, options, message, backbone):
    with pytest.raises(SureError, match=message):
        applying.apply(speech_model(backbone), applying.configure(method, backbone, options))
