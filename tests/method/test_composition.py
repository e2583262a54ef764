"""Several methods at once: what each part does, what they share, and one adapter for all of it."""

import copy
import json
import re

import pytest
import torch
from peft import PeftModel

from sure.budget import count
from sure.errors import SureError
from sure.method import applying, by_name, saved
from tests.factories.encoders import evaluation, load, speech_model, stirred, waveforms


def composed(method, options=None, name="wav2vec2:tiny"):
    backbone = load(name)
    config = applying.configure(method, backbone, options)
    return backbone, stirred(applying.apply(speech_model(backbone), config), 0.2)


def logits(model, backbone):
    with evaluation(model):
        return model(**backbone.inputs(waveforms(0.5, 0.9))).logits


def alone(method, options=None):
    backbone = load("wav2vec2:tiny")
    model = applying.apply(speech_model(backbone), applying.configure(method, backbone, options))
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize(
    ("method", "name"),
    [
        # One module, two layers, either outside.
        ("lora+bitfit", "wav2vec2:tiny"),
        ("bitfit+lora", "whisper:tiny"),
        ("lora+bitfit+adapter_bias", "wav2vec2:tiny"),
        # Layers in layers.
        ("bottleneck_adapter+prefix_tuning+lora", "wavlm:tiny"),
        ("lora+conformer_adapter+ln_tuning", "whisper:tiny"),
        ("pseudo_features+prompt_tuning+layer_output_adapter", "wav2vec2_bert:tiny"),
        ("lora_fa+gated_lora+svft+s2_lora", "hubert:tiny"),
        ("hyper_adapter+mixture_of_adapters", "audio_spectrogram_transformer:tiny"),
    ],
)
def test_parts_learn_together_and_are_saved_as_one(method, name, tmp_path):
    backbone, model = composed(method, name=name)
    model.train()(**backbone.inputs(waveforms(0.5, 0.9)), labels=torch.tensor([0, 2])).loss.backward()
    trainable = {place: weight for place, weight in model.named_parameters() if weight.requires_grad}
    assert all(weight.grad is not None for weight in trainable.values())
    expected = logits(model, backbone)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["methods"] == method.split("+")
    for read in (
        lambda fresh: PeftModel.from_pretrained(fresh, tmp_path),
        lambda fresh: saved.load(fresh, tmp_path),
    ):
        fresh = load(name)
        reloaded = read(speech_model(fresh))
        assert torch.equal(logits(reloaded, fresh), expected)
        assert not any(weight.requires_grad for weight in reloaded.parameters())
    with model.disable_adapter():
        fresh = load(name)
        torch.testing.assert_close(logits(model, backbone), logits(speech_model(fresh), fresh), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("method", "backbone", "options", "parameters"),
    [
        # 50 keys and values of 768 in each of 12 layers, adapters of 128, and two normalisations a layer.
        ("mam_adapter", "wavlm:base", {"preset": "peng"}, 12 * (2 * 50 * 768 + 2 * 768 * 128 + 896 + 2 * 1536)),
        # 64 prompts and an adapter of 128 in each layer.
        ("ipet", "wav2vec2:base", {}, 12 * (64 * 768 + 2 * 768 * 128 + 896)),
        # A copy of the CNN (4,200,448) and an adapter of 32 in each layer: 4.84 % with the backbone's 94,371,712.
        ("chapter", "hubert:base", {}, 4_200_448 + 12 * (2 * 768 * 32 + 800)),
        # E in eleven layers, L and two normalisations in twelve, their mixture and the map back to the width. Without
        # both, which are the head's in the release, 9,127,424: published as 9.13 M.
        (
            "elp_adapters",
            "wavlm:base",
            {"preset": "el"},
            11 * (2 * 768 * 256 + 1024 + 1536) + 12 * (768 * 512 + 512 + 1024 + 2 * 1536) + 12 + 512 * 768 + 768,
        ),
        # Bottleneck 48 with its gate; ten positions through 768 -> 512 in common, in each layer through 512 -> 2 * 768
        # and a gate; rank 8 with two gates.
        (
            "unipelt",
            "wav2vec2:base",
            {},
            12 * (2 * 768 * 48 + 816 + 769)
            + 10 * 768
            + 769 * 512
            + 12 * (513 * 1536 + 769)
            + 12 * 2 * (8 * 1536 + 769),
        ),
    ],
)
def test_what_papers_put_together_has_the_parameters_of_their_sizes(method, backbone, options, parameters):
    assert count(method, backbone, options) == parameters


def test_each_part_is_counted_as_by_itself():
    _, model = composed("lora+bitfit+bottleneck_adapter", {"lora.r": 3, "bottleneck_adapter.layers": "0"})
    counted = applying.part_parameters(model)
    for part, options in (("lora", {"r": 3}), ("bitfit", {}), ("bottleneck_adapter", {"layers": "0"})):
        assert counted[part] == sum(w.numel() for name, w in alone(part, options).items() if "head" not in name)
    head = sum(weight.numel() for weight in model.get_base_model().head.modules_to_save.parameters())
    assert sum(counted.values()) + head == sum(w.numel() for w in model.parameters() if w.requires_grad)


@torch.no_grad()
def test_two_at_a_linear_map_are_the_formula():
    _, model = composed("lora+bitfit", {"lora.roles": "query", "bitfit.roles": "query"})
    layer = model.base_model.model.backbone.encoder.layers[0].attention.q_proj
    x, lora = torch.randn(3, 32), layer.base_layer
    weight = lora.base_layer.weight + lora.lora_B["default"].weight @ lora.lora_A["default"].weight / 8
    torch.testing.assert_close(layer(x), x @ weight.T + layer.sure_adapter["default"], atol=1e-6, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:Unmerge result can be inaccurate")
@pytest.mark.parametrize(
    "method",
    [
        *("lora+bitfit", "bitfit+lora", "lora+ia3", "ia3+lora", "lora+ln_tuning"),
        *("bitfit+ia3", "ia3+bitfit", "ia3+lora+bitfit"),
    ],
)
def test_merged_they_give_what_they_gave(method):
    backbone, model = composed(method)
    expected = logits(model, backbone)
    twin = copy.deepcopy(model)
    own = {name: weight.clone() for name, weight in twin.named_parameters()}
    twin.merge_adapter()
    torch.testing.assert_close(logits(twin, backbone), expected, atol=1e-5, rtol=1e-4)
    twin.unmerge_adapter()
    torch.testing.assert_close(dict(twin.named_parameters()), own, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(logits(twin, backbone), expected, atol=1e-5, rtol=1e-4)
    merged = model.merge_and_unload()
    assert not any("base_layer" in name for name, _ in merged.named_modules())
    torch.testing.assert_close(logits(merged, backbone), expected, atol=1e-5, rtol=1e-4)


def test_what_one_part_cannot_merge_none_does():
    backbone, model = composed("lora+bottleneck_adapter")
    expected = logits(model, backbone)
    with pytest.raises(SureError, match="SURE_BOTTLENECK_ADAPTER computes what no weight"):
        model.merge_and_unload()
    assert torch.equal(logits(model, backbone), expected)
    model.unload()
    inputs = backbone.inputs(waveforms(0.5))
    with evaluation(backbone.model):
        untouched = load("wav2vec2:tiny").model.eval()(**inputs).last_hidden_state
        assert torch.equal(backbone.model(**inputs).last_hidden_state, untouched)
    assert not any("base_layer" in name for name, _ in backbone.model.named_modules())


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("lora+linear_probe", {}, "linear_probe cannot be put together with others: it leaves nothing"),
        ("lora+vera", {}, "vera cannot be put together with others: PEFT's tuner"),
        ("lora+lora", {}, "each method once"),
        ("lora_fa+lora", {}, "lora_fa and lora are the same to PEFT"),
        (
            "lora+ipet",
            {},
            r"it is several methods already \(bottleneck_adapter\+prompt",
        ),
        ("lora+adalora", {}, "adalora cannot be put together with others: PEFT's tuner"),
        ("lora+", {}, "Unknown method ''"),
        ("lora+bitfit", {"r": 3}, r"Unknown option of lora\+bitfit: 'r'.* lora.NAME, bitfit.NAME"),
        ("lora+bitfit", {"lora.rank": 3}, "Unknown option of lora: 'rank'"),
        ("lora+bitfit", {"lora.bias": "all"}, "put bitfit beside it"),
        ("lora+bitfit", {"parts": []}, "--method_options parts: names nothing"),
        ("lora+bitfit", {"parts": 5}, "Unknown part of lora.bitfit: '5'"),
        ("lora+bitfit", {"parts": "lora,nope"}, "Unknown part of .*'nope'"),
    ],
)
def test_what_cannot_be_is_said(method, options, message):
    with pytest.raises(SureError, match=message):
        applying.configure(method, load("wav2vec2:tiny"), options)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("bitfit+bottleneck_adapter", {"bottleneck_adapter.train_norms": True}),
        ("bottleneck_adapter+bitfit", {"bottleneck_adapter.train_norms": True}),
        ("bottleneck_adapter+ln_tuning", {"bottleneck_adapter.train_norms": True}),
        ("bottleneck_adapter+ln_tuning", {"bottleneck_adapter.placement": "ffn_norm"}),
        ("ln_tuning+bitfit", {}),
    ],
)
def test_a_normalisation_that_trains_whole_is_one_part_s_alone(method, options):
    backbone = load("wav2vec2:tiny")
    model, config = speech_model(backbone), applying.configure(method, backbone, options)
    with pytest.raises(SureError, match=r"of backbone\.\S+norm one part trains a copy, .* its roles or train_norms"):
        applying.apply(model, config)


def test_a_budget_is_shared_by_the_parts_that_have_more_or_less():
    backbone = load("wav2vec2:tiny")
    config = applying.configure("bitfit+lora+prefix_tuning", backbone, {"budget": 8_000})
    bitfit, lora, prefix = (
        sum(weight.numel() for name, weight in alone(part, options).items() if "head" not in name)
        for part, options in (
            ("bitfit", {}),
            ("lora", {"r": config.parts["lora"].r}),
            ("prefix_tuning", {"positions": config.parts["prefix_tuning"].positions}),
        )
    )
    # One rank more is 832 parameters, one position 128, and each has one of them besides its share.
    share = (8_000 - bitfit - 832 - 128) // 2
    assert 0 <= 832 + share - lora < 832
    assert 0 <= 8_000 - bitfit - lora - prefix < 128
    assert by_name.dimensions("bitfit+lora+prefix_tuning") == ("lora.r", "prefix_tuning.positions")
    asked = applying.configure("bitfit+lora+prefix_tuning", backbone, {"budget": 8_000, "lora.r": 1})
    assert asked.parts["lora"].r == 1
    for budget in (800, 1_200, "99%"):
        with pytest.raises(SureError, match=rf"budget={budget}: bitfit\+lora has 1,712 \(lora.r=1\) to [0-9,]+ \(lora"):
            applying.configure("bitfit+lora", backbone, {"budget": budget})


# Sizes from below a paper's own to what is far above; some parts cost much at least, others soon have enough.
@pytest.mark.parametrize("method", ["mam_adapter", "unipelt", "elp_adapters"])
def test_what_papers_put_together_has_a_size_within_every_budget_between_its_ends(method):
    backbone = load("wav2vec2:tiny")
    with pytest.raises(SureError) as refused:
        applying.configure(method, backbone, {"budget": 1})
    ends = re.search(rf"{method} has ([0-9,]+) \(.*\) to ([0-9,]+) \(", str(refused.value))
    least, most = (int(end.replace(",", "")) for end in ends.groups())
    budgets = [least, (3 * least + most) // 4, (least + most) // 2, (least + 9 * most) // 10, most]
    for budget, found in zip(budgets, applying.fit(method, backbone, {}, budgets), strict=True):
        trainable = sum(weight.numel() for name, weight in alone(method, found).items() if "head" not in name)
        assert 0.95 * budget < trainable <= budget


def test_a_budget_has_nothing_to_choose_where_every_dimension_is_given():
    backbone = load("wav2vec2:tiny")
    with pytest.raises(SureError, match=r"budget=1%: it is for choosing lora.r; leave one of them out"):
        applying.configure("bitfit+lora", backbone, {"budget": "1%", "lora.r": 4})


def test_parts_of_one_size_keep_it_and_say_so(caplog):
    config = applying.configure("elp_adapters", load("wav2vec2:tiny"), {"budget": "1%", "parts": "ln_tuning"})
    assert list(config.parts) == ["ln_tuning"]
    assert "elp_adapters has one size, whatever the budget (1%: " in caplog.text
