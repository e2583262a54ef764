"""What is special to single methods; what holds of all is in test_matrix.py."""

import json

import peft
import pytest
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from torch import nn

from sure import registry
from sure.backbone.loading import load
from sure.backbone.padding import Padding
from sure.errors import SureError
from sure.method import TYPE_PREFIX, applying, saved
from sure.methods.conv_adapter import ConvAdapter, _ConvAdapter
from tests.factories.encoders import FITTING, folder_of, load_copy, speech_model, stirred, waveforms


@pytest.fixture
def backbone():
    return load_copy(folder_of("wav2vec2:tiny"))


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


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, "wav2vec2:tiny") for method in registry.from_peft()]
    # Its attention reads the weights of its projections, not what they put out.
    + [(method, "wavlm:tiny_like_base") for method in ("boft", "ia3", "loha", "ln_tuning", "vera")],
)
def test_methods_of_peft_learn_reload_and_merge(method, name, tmp_path):
    backbone = load_copy(folder_of(name))
    config = applying.configure(method, backbone, FITTING.get(method))
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
    fresh = load_copy(folder_of(name))
    reloaded = saved.load(speech_model(fresh), tmp_path / "adapter")
    torch.testing.assert_close(logits(reloaded, fresh), expected)
    if method == "lily":
        with pytest.raises(NotImplementedError, match="not supported for Lily"):
            model.merge_and_unload()
    else:
        torch.testing.assert_close(logits(model.merge_and_unload(), backbone), expected, atol=1e-5, rtol=1e-4)


def test_every_method_of_peft_is_offered_or_it_is_said_why_not():
    known = {str(getattr(kind, "value", kind)).lower() for kind in PEFT_TYPE_TO_CONFIG_MAPPING}
    own = set(registry.names("method"))
    theirs = {kind for kind in known - own if not kind.startswith(TYPE_PREFIX.lower())}
    # LoRA has a file, and so have prefix-tuning and prompt-tuning, which are not PEFT's.
    assert theirs == set(registry.from_peft()) | set(registry.NOT_FROM_PEFT) - {
        "mixed",
        "prefix_tuning",
        "prompt_tuning",
    }
    assert len(registry.from_peft()) >= 30


@pytest.mark.parametrize("method", ["prefix_tuning", "conv_adapter"])
def test_an_adapter_of_the_first_release_is_read(method, backbone, tmp_path):
    model = stirred(applying.apply(speech_model(backbone), applying.configure(method, backbone)))
    model.save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    values = json.loads(path.read_text())
    assert values["peft_type"] == f"SURE_{method.upper()}"
    path.write_text(json.dumps(values | {"peft_type": method.upper(), "peft_version": None}))
    fresh = load_copy(folder_of("wav2vec2:tiny"))
    assert torch.equal(logits(saved.load(speech_model(fresh), tmp_path), fresh), logits(model, backbone))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "adapter_config.json: No such file or directory"),
        ("{", "is not the configuration of an adapter .JSONDecodeError"),
        ("[1]", "is not the configuration of an adapter"),
        ('{"peft_type": "NEW"}', "is not the configuration of an adapter .KeyError: 'NEW'"),
        (
            '{"peft_type": "SURE_CONV_ADAPTER", "kernel_sizes": 3, "target_modules": "a"}',
            "kernel_sizes=3: Input should",
        ),
    ],
)
def test_a_broken_configuration_is_named(content, message, tmp_path):
    if content is not None:
        (tmp_path / "adapter_config.json").write_text(content)
    with pytest.raises(SureError, match=message):
        saved.read_config(tmp_path)


def test_saving_asks_no_hub_and_leaves_the_users_readme(tmp_path, monkeypatch):
    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", None)
    (tmp_path / "README.md").write_text("Mine.")
    backbone = load("tiny")
    model = applying.apply(speech_model(backbone), applying.configure("lora", backbone))
    model.save_pretrained(tmp_path)
    saved.load(speech_model(load("tiny")), tmp_path).save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "Mine."


@pytest.mark.parametrize("method", ["lora", "bottleneck_adapter"])
def test_modules_that_a_user_lets_train_whole_are_saved_beside_the_head(method, backbone, tmp_path):
    config = applying.configure(method, backbone, {"modules_to_save": ["feature_projection.layer_norm"]})
    assert config.modules_to_save == ["feature_projection.layer_norm", "head"]
    model = stirred(applying.apply(speech_model(backbone), config))
    model.save_pretrained(tmp_path)
    fresh = load_copy(folder_of("wav2vec2:tiny"))
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
        torch.testing.assert_close(adapter(hidden_states, hidden_states, Padding())[0], expected, atol=1e-6, rtol=1e-5)


def test_prefix_reparametrised_gives_keys_and_values_of_the_same_shape(backbone):
    options = {"reparametrise": True, "positions": 5, "hidden_dimension": 7}
    model = applying.apply(speech_model(backbone), applying.configure("prefix_tuning", backbone, options))
    prefix = next(module for name, module in model.named_modules() if name.endswith("sure_adapter.default"))
    keys, values = prefix(3)
    assert keys.shape == values.shape == (3, 2, 5, 16)
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
        keys, values = prefix(1)
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
        ("p_tuning", {}, "PEFT has it, but it cannot be used here: it prompts language models"),
        ("poly", {}, "it is told the task of every utterance"),
        ("conv_adapter", {"bottleneck_dimension": 0}, "bottleneck_dimension=0: Input should be greater than 0"),
        ("conv_adapter", {"reduction": 0}, "reduction=0: Input should be greater than 0"),
        ("mixture_of_adapters", {"capacity": float("inf")}, "capacity=inf: Input should be a finite number"),
        ("bottleneck_adapter", {"bottleneck_dimension": -1}, "Input should be greater than 0"),
        ("prefix_tuning", {"positions": 0}, "positions=0: Input should be greater than 0"),
        ("prefix_tuning", {"dropout": 2}, "dropout=2: Input should be less than 1"),
        ("prefix_tuning", {"roles": "layer"}, "keys and values of attention, which a Wav2Vec2EncoderLayer"),
        ("weighted_sum_probe", {"roles": "layer"}, "A probe keeps the whole backbone as it is"),
        ("lora", {"r": 0}, "--method_options of lora: `r` should be a positive integer"),
        ("lora", {"lora_dropout": 2}, "--method_options of lora: dropout probability has to be between 0 and 1"),
        ("lora", {"roles": []}, "--method_options roles: names nothing"),
        ("lora", {"roles": {"query": 1}}, "roles=.*Input should be a valid string"),
        ("lora", {"target_modules": 5}, "target_modules=5: no module of"),
        ("lora", {"r": "many"}, "--method_options r=many: Input should be a valid integer"),
        ("ia3", {"exclude_modules": {"query": 1}}, "exclude_modules=.*Input should be a valid"),
        ("lora", {"rank_pattern": 5}, "rank_pattern=5: Input should be a valid dictionary"),
        ("lora", {"preset": []}, "Unknown preset of lora"),
        ("lora", {"budget": "1e999"}, "budget=1e999: give a share"),
        ("conv_adapter", {"placement": "layer", "roles": "ffn"}, "placement and roles say the same"),
        ("lora", {"inference_mode": True}, "Unknown option of lora: 'inference_mode'"),
        ("lora", {"init_lora_weights": "eva"}, "init_lora_weights=eva wants a preparation that no run here makes"),
        ("lora", {"init_lora_weights": "corda"}, "init_lora_weights=corda wants a preparation"),
        (
            "lora",
            {"target_modules": "nothing"},
            "target_modules=nothing: no module of .* has this name; for names that",
        ),
        ("lora", {"target_modules": ["q_proj", "nothing"]}, "target_modules=nothing: no module of .* has this name"),
        ("lora", {"target_modules": "(("}, r"target_modules=\(\(: no regular expression \(missing"),
        ("lora", {"modules_to_save": ["nothing"]}, "modules_to_save=nothing: no module of"),
        ("lora", {"rank_pattern": {"nothing": 4}}, "rank_pattern=nothing: no module of"),
        ("lora", {"layers_to_transform": 7}, r"those of .* are backbone\.encoder\.layers: 0 to 1"),
        ("lora", {"layers_to_transform": 0, "layers_pattern": "blocks"}, "one of layers=0-5 and top=6 chooses layers"),
        ("lora", {"layers": "0", "top": 1}, "layers, top: one of layers=0-5 and top=6 chooses layers"),
        ("bitfit", {"layers": "first"}, "layers=first: layers are numbered from 0"),
        ("bitfit", {"top": 0}, "top=0: layers are numbered from 0"),
        ("bottleneck_adapter", {"top": 3}, "not all of the layers chosen are there"),
        ("bottleneck_adapter", {"preset": "houlsbi"}, "Unknown preset of bottleneck_adapter: 'houlsbi'. Did you mean"),
        ("vera", {"preset": "houlsby"}, "preset=houlsby: vera has no presets"),
        ("vera", {"roles": "norm"}, "not every LayerNorm of the parts chosen can be adapted by this method"),
        ("lora", {"roles": "layer"}, "not every Wav2Vec2EncoderLayerStableLayerNorm of .* Name other parts"),
    ],
)
def test_wrong_options_are_named(method, options, message, backbone):
    with pytest.raises(SureError, match=message):
        applying.apply(speech_model(backbone), applying.configure(method, backbone, options))


def test_hidden_states_are_what_an_adapter_of_ours_adapts(backbone):
    for role, given in (("ffn_in", r"a Linear gives \(1, 24, 48\)"), ("backbone", "gives Wav2Vec2BaseModelOutput")):
        config = applying.configure("bottleneck_adapter", backbone, {"roles": role})
        model = applying.apply(speech_model(load_copy(folder_of("wav2vec2:tiny"))), config)
        with pytest.raises(SureError, match=given):
            model(**backbone.inputs(waveforms(0.5)))


def test_a_part_and_what_it_is_in_are_both_adapted(backbone, tmp_path):
    options = {"roles": "layer,attention,ffn"}
    model = applying.apply(speech_model(backbone), applying.configure("conv_adapter", backbone, options))
    layer = model.base_model.model.backbone.encoder.layers[1]
    for wrapped in (layer, layer.base_layer.attention, layer.base_layer.feed_forward):
        assert "default" in wrapped.sure_adapter
    expected = logits(stirred(model), backbone)
    model.save_pretrained(tmp_path)
    fresh = load_copy(folder_of("wav2vec2:tiny"))
    reloaded = saved.load(speech_model(fresh), tmp_path)
    assert torch.equal(logits(reloaded, fresh), expected)


def test_layers_to_transform_leaves_the_others_as_they_are(backbone):
    config = applying.configure("lora", backbone, {"layers_to_transform": [1]})
    model = applying.apply(speech_model(backbone), config)
    adapted = {name for name, _ in model.named_parameters() if "lora_A" in name}
    assert len(adapted) == 6
    assert all(".layers.1." in name for name in adapted)


def test_ia3_scales_keys_values_and_the_input_of_the_last_feed_forward_map(backbone):
    model = applying.apply(speech_model(backbone), applying.configure("ia3", backbone))
    scaled = {name.split(".")[-3]: len(weight.flatten()) for name, weight in model.named_parameters() if "ia3" in name}
    assert scaled == {"k_proj": 32, "v_proj": 32, "output_dense": 48}
    given = backbone.modules("ffn_in")
    config = applying.configure("ia3", backbone, {"roles": "ffn_in", "feedforward_modules": given})
    assert config.feedforward_modules == given


def test_conv_adapter_starts_as_the_release_does():
    torch.manual_seed(0)
    hidden_states = torch.randn(2, 50, 64)

    def start(**options):
        adapter = _ConvAdapter(64, ConvAdapter(**options))
        with torch.no_grad():
            change = adapter(hidden_states, hidden_states, Padding()) - hidden_states
        squeeze_excitation = adapter.squeeze_excitation
        linear = [squeeze_excitation.squeeze, squeeze_excitation.excite]
        deviations = [module.weight.std().item() for module in [*adapter.convolutions, *linear]]
        return deviations, (change.norm() / hidden_states.norm()).item()

    deviations, change = start()
    # The square root of 2 / fan-in: two channels times three taps, five taps, three taps.
    assert deviations[:3] == pytest.approx([(2 / 6) ** 0.5, (2 / 5) ** 0.5, (2 / 3) ** 0.5], rel=0.2)
    assert deviations[3:] == pytest.approx([0.02, 0.02], rel=0.2)
    assert 0.8 < change < 1.2
    assert start(initialisation="near_identity")[1] < 0.1


def test_dropout_on_a_prefix_is_each_utterances_own(backbone):
    options = {"dropout": 0.5, "positions": 50}
    model = applying.apply(speech_model(backbone), applying.configure("prefix_tuning", backbone, options)).train()
    prefix = next(module for name, module in model.named_modules() if name.endswith("sure_adapter.default"))
    keys, _ = prefix(2)
    assert not torch.equal(keys[0], keys[1])
    assert 0.4 < (keys == 0).float().mean() < 0.6
