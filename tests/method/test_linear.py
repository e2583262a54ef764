"""Methods that change linear maps, against their equations written out; and what LoRA's presets and kin promise."""

import copy

import numpy as np
import peft
import pytest
import torch

from sure.budget import count
from sure.errors import SureError
from sure.method import applying
from sure.method.linear import singular_value_decomposition
from sure.methods.ssvd import _Rotation
from tests.factories.encoders import evaluation, load, speech_model, stirred, waveforms

QUERY = "backbone.encoder.layers.0.attention.q_proj"
# Of wav2vec2:tiny in the tests: square, more outputs than inputs, and fewer.
MAPS = {
    QUERY: (32, 32),
    "backbone.encoder.layers.0.feed_forward.intermediate_dense": (48, 32),
    "backbone.encoder.layers.0.feed_forward.output_dense": (32, 48),
}


def adapted(method, options=None, name="wav2vec2:tiny"):
    backbone = load(name)
    return backbone, applying.apply(speech_model(backbone), applying.configure(method, backbone, options))


def logits(model, backbone, *seconds):
    with evaluation(model):
        return model(**backbone.inputs(waveforms(*seconds or (0.6, 0.4)))).logits


def factors(weight):
    """By NumPy, the largest entry of each left singular vector made positive."""
    left, sigma, right = np.linalg.svd(weight.double().numpy(), full_matrices=False)
    for index in range(len(sigma)):
        if left[np.abs(left[:, index]).argmax(), index] < 0:
            left[:, index] *= -1
            right[index] *= -1
    return left, sigma, right


def assert_maps_by(layer, weight):
    """The layer computes with this weight instead of its own, and merged it holds it."""
    base = layer.base_layer
    inputs = torch.randn(2, 5, base.in_features)
    expected = inputs @ torch.as_tensor(weight, dtype=torch.float32).T + base.bias
    torch.testing.assert_close(layer(inputs), expected, atol=1e-5, rtol=1e-4)
    before = base.weight.clone()
    layer.merge(safe_merge=True)
    torch.testing.assert_close(base.weight, torch.as_tensor(weight, dtype=torch.float32), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(layer(inputs), expected, atol=1e-5, rtol=1e-4)
    layer.unmerge()
    torch.testing.assert_close(base.weight, before, atol=1e-6, rtol=1e-5)


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


@torch.no_grad()
@pytest.mark.parametrize("place", MAPS)
def test_svft_is_a_band_between_singular_vectors(place):
    layer = stirred(adapted("svft", {"off_diagonals": 2})[1], by=0.3).base_model.model.get_submodule(place)
    assert layer.weight.shape == MAPS[place]
    left, sigma, right = factors(layer.weight)
    adapter = layer.sure_adapter["default"]
    entries, band = iter(adapter.entries.double().tolist()), np.zeros((32, 32))
    for offset in (-2, -1, 0, 1, 2):
        for row in range(32):
            if 0 <= row + offset < 32:
                band[row, row + offset] = next(entries)
    assert next(entries, None) is None
    assert_maps_by(layer, left @ (np.diag(sigma) + sigmoid(adapter.gate.item()) * band) @ right)


@torch.no_grad()
@pytest.mark.parametrize("place", MAPS)
def test_ssvd_shifts_the_largest_singular_values_and_rotates_their_inputs(place):
    layer = stirred(adapted("ssvd", {"k": 5})[1]).base_model.model.get_submodule(place)
    outputs, inputs = layer.weight.shape
    adapter = layer.sure_adapter["default"]
    skew, entries = np.zeros((5, 5)), iter(adapter.skew.double().tolist())
    for row in range(5):
        for column in range(row + 1, 5):
            skew[row, column] = next(entries)
            skew[column, row] = -skew[row, column]
    # Of fewer outputs than inputs it is the transpose that is decomposed.
    weight = layer.weight if outputs >= inputs else layer.weight.T
    left, sigma, right = factors(weight)
    if outputs < inputs:
        # Signs are those of the weight's own decomposition.
        right, sigma, left = (factor.T for factor in factors(layer.weight))
    sigma[:5] += sigmoid(adapter.gate.item()) * adapter.shift.double().numpy()
    right[:5] = (np.eye(5) - 2 * skew) @ right[:5]
    changed = left @ np.diag(sigma) @ right
    assert_maps_by(layer, changed if outputs >= inputs else changed.T)


def test_ssvd_starts_near_the_pretrained_singular_values():
    """s is uniform within the square root of 6 / k, half of which counts at first; nothing is rotated."""
    torch.manual_seed(0)
    adapter = _Rotation(600)
    shifts = adapter.sigma(torch.zeros(600)).detach()
    assert 0.049 < shifts.abs().max() <= 0.05
    assert shifts.std() == pytest.approx(0.05 / 3**0.5, rel=0.05)
    assert torch.equal(adapter.rotation(), torch.eye(600))


@pytest.mark.parametrize("method", ["svft", "s2_lora", "gated_lora", "lora_fa", "adalora"])
def test_the_others_start_as_the_backbone(method):
    backbone, model = adapted(method)
    assert torch.equal(logits(model, backbone), logits(speech_model(load("wav2vec2:tiny")), backbone))


def test_singular_vectors_do_not_depend_on_the_signs_that_a_library_gives(monkeypatch):
    weight = torch.randn(6, 4)
    expected = singular_value_decomposition(weight)
    decompose = torch.linalg.svd

    def flipped(matrix, full_matrices):
        left, sigma, right = decompose(matrix, full_matrices=full_matrices)
        signs = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=matrix.dtype)
        return left * signs, sigma, right * signs.unsqueeze(1)

    monkeypatch.setattr(torch.linalg, "svd", flipped)
    for factor, other in zip(singular_value_decomposition(weight), expected, strict=True):
        assert torch.equal(factor, other)
    left, sigma, right = expected
    torch.testing.assert_close(left * sigma @ right, weight, atol=1e-6, rtol=1e-5)


def test_counts():
    """On wav2vec 2.0 large: 24 layers, width 1024, feed-forward 4096; to the unit as the equations have them."""
    maps, width, wide = 24 * 6, 1024, 4096
    large = lambda method, **options: count(method, "wav2vec2:large", options)  # noqa: E731
    assert large("svft") == maps * (width + 1)
    assert large("svft", off_diagonals=3) == maps * (width + 2 * (width - 1 + width - 2 + width - 3) + 1)
    assert large("ssvd", k=100) == maps * (100 + 100 * 99 // 2 + 1)
    assert large("ssvd") == large("ssvd", k=409)
    assert large("s2_lora") == 2 * width * 8 + 48 * 8
    assert large("s2_lora", roles="query,ffn_in", r=3) == 3 * (2 * width + width + wide) + 48 * 3
    assert large("gated_lora") == 48 * (2 * 8 * width + width + 1)
    assert large("lora_fa") == 24 * 8 * (5 * width + wide)
    assert large("adalora") == 24 * (4 * 12 * (2 * width + 1) + 2 * 12 * (width + wide + 1))


@torch.no_grad()
def test_gated_lora_lets_through_what_its_gate_says_of_the_frames_heard():
    backbone, model = adapted("gated_lora")
    layer = stirred(model).base_model.model.get_submodule(QUERY)
    adapter, lengths = layer.sure_adapter["default"], (5, 3)
    inputs = torch.randn(2, 5, 32)
    backbone.padding.mask = torch.arange(5) < torch.tensor(lengths).unsqueeze(1)
    actual = layer(inputs)
    for utterance, length, given in zip(inputs, lengths, actual, strict=True):
        heard = utterance[:length]
        gate = torch.sigmoid(heard @ adapter.gate.linear.weight.T + adapter.gate.linear.bias).mean()
        expected = heard @ (layer.weight + gate * adapter.b.weight @ adapter.a.weight).T + layer.bias
        torch.testing.assert_close(given[:length], expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(SureError, match=r"GATED_LORA computes what no weight .* cannot be merged"):
        model.merge_and_unload()


@torch.no_grad()
def test_s2_lora_shares_a_and_b_between_maps_of_one_size():
    backbone, model = adapted("s2_lora", {"roles": "query,value,ffn_in", "r": 3})
    model.add_adapter("second", applying.configure("s2_lora", backbone, {"r": 2}))
    stirred(model)
    shared = [name for name, _ in model.named_parameters() if name.endswith("a.weight")]
    # Of the first adapter one pair for 32 x 32 and one for 48 x 32; of the second one.
    assert len(shared) == 3
    first, last = (
        model.base_model.model.get_submodule(f"backbone.encoder.layers.{place}")
        for place in ("0.attention.v_proj", "1.attention.q_proj")
    )
    a, b = (first.sure_adapter["default"].common.get_parameter(f"{name}.weight") for name in "ab")
    assert "common" not in dict(last.sure_adapter["default"].named_children())
    model.set_adapter("default")
    for layer in (first, last):
        coefficients = layer.sure_adapter["default"].coefficients
        assert_maps_by(layer, layer.weight + b @ coefficients.diag() @ a)
    # A copy shares among its own.
    twin = copy.deepcopy(model)
    a.zero_()
    assert not torch.equal(logits(twin, backbone), logits(model, backbone))


@pytest.mark.parametrize("method", ["svft", "ssvd", "s2_lora", "lora_fa", "adalora"])
def test_merged_it_gives_the_same_without_an_adapter(method):
    backbone, model = adapted(method)
    expected = logits(stirred(model), backbone)
    model.merge_adapter()
    torch.testing.assert_close(logits(model, backbone), expected, atol=1e-5, rtol=1e-4)
    model.unmerge_adapter()
    torch.testing.assert_close(logits(model, backbone), expected, atol=1e-5, rtol=1e-4)
    merged = model.merge_and_unload()
    assert not any("sure_adapter" in name or "lora" in name for name, _ in merged.named_modules())
    torch.testing.assert_close(logits(merged, backbone), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["wav2vec2:tiny", "wavlm:tiny_like_base"])
@pytest.mark.parametrize("preset", ["dora", "rslora", "pissa", "olora"])
def test_loras_of_other_papers_start_as_the_backbone_and_reload(preset, name, tmp_path):
    """PiSSA and OLoRA change the backbone's weights, and must find them again in the pretrained ones."""
    backbone, model = adapted("lora", {"preset": preset}, name)
    torch.testing.assert_close(logits(model, backbone), logits(speech_model(load(name)), backbone))
    expected = logits(stirred(model), backbone)
    model.save_pretrained(tmp_path)
    reloaded = peft.PeftModel.from_pretrained(speech_model(load(name)), tmp_path)
    assert torch.equal(logits(reloaded, backbone), expected)


def test_lora_fa_trains_b_alone_and_is_read_as_any_lora(tmp_path):
    backbone, model = adapted("lora_fa")

    def trainable():
        return {
            name.split(".")[-3] for name, one in model.named_parameters() if one.requires_grad and "head" not in name
        }

    assert trainable() == {"lora_B"}
    with model.disable_adapter():
        pass
    model.set_adapter("default")
    assert trainable() == {"lora_B"}
    expected = logits(stirred(model), backbone)
    model.save_pretrained(tmp_path)
    assert type(peft.PeftConfig.from_pretrained(tmp_path)) is peft.LoraConfig
    reloaded = peft.PeftModel.from_pretrained(speech_model(load("wav2vec2:tiny")), tmp_path)
    assert torch.equal(logits(reloaded, backbone), expected)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("svft", {"roles": "norm"}, "svft changes linear maps, which a LayerNorm is not: name other parts"),
        ("svft", {"off_diagonals": 32}, r"off_diagonals \(32\) must be below the smaller side of every weight \(32\)"),
        ("svft", {"off_diagonals": -1}, "off_diagonals=-1: Input should be greater than or equal to 0"),
        ("ssvd", {"k": 33}, r"k \(33\) must not exceed the smaller side of any weight \(32\)"),
        ("ssvd", {"rotation_ratio": 1.5}, "rotation_ratio=1.5: Input should be less than or equal to 1"),
        ("s2_lora", {"r": 0}, "r=0: Input should be greater than 0"),
        ("adalora", {"r": 4}, "of adalora: r is of LoRA, and PEFT's AdaLoRA does not heed it"),
        ("adalora", {"init_lora_weights": "pissa"}, "init_lora_weights is of LoRA"),
        ("adalora", {"target_r": 12}, r"target_r \(12\) must be above 0 and below init_r \(12\)"),
        ("adalora", {"total_step": 10}, "Unknown option of adalora: 'total_step'"),
    ],
)
def test_wrong_options_are_named(method, options, message):
    with pytest.raises(SureError, match=message):
        adapted(method, options)


def test_a_gate_hears_no_text_that_is_yet_to_be_written():
    backbone = load("whisper:tiny", head=False)
    with pytest.raises(SureError, match=r"roles=decoder_query: gated_lora takes a mean over time, and would read what"):
        applying.configure("gated_lora", backbone, {"roles": ["decoder_query"]})
