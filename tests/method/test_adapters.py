"""The arithmetic of adapters of hidden states, one at a time, against their equations written out."""

import pytest
import torch

from sure.backbone.padding import Padding, PaddingAwareBatchNorm
from sure.errors import SureError
from sure.method import applying
from sure.methods.adapter_bias import _AdapterBias
from sure.methods.conformer_adapter import ConformerAdapter, _ConformerAdapter
from sure.methods.convpass import Convpass, _Convpass
from sure.methods.mixture_of_adapters import MixtureOfAdapters, _Mixture
from sure.methods.multi_conv_adapter import MultiConvAdapter, _MultiConvAdapter
from tests.factories.encoders import load, speech_model, stirred, waveforms


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def padded(lengths, frames):
    padding = Padding()
    padding.mask = torch.arange(frames) < torch.tensor(lengths).unsqueeze(1)
    return padding


def convolve(signal, weight, bias=None):
    """Signals of shape (frames, channels) with as many frames out as in, tap by tap."""
    out, per_group, taps = weight.shape
    groups = signal.shape[1] // per_group
    result = torch.zeros(len(signal), out) if bias is None else bias.expand(len(signal), -1).clone()
    for frame in range(len(signal)):
        for channel in range(out):
            first = channel // (out // groups) * per_group
            for tap in range(taps):
                time = frame + tap - (taps - 1) // 2
                if 0 <= time < len(signal):
                    result[frame, channel] += weight[channel, :, tap] @ signal[time, first : first + per_group]
    return result


@torch.no_grad()
def test_convpass():
    adapter = stirred(_Convpass(8, Convpass(bottleneck_dimension=3))).eval()
    x = torch.randn(5, 8)
    q = lambda a: a * torch.sigmoid(1.702 * a)  # noqa: E731
    down = q(x @ adapter.down.weight.T + adapter.down.bias)
    expected = q(convolve(down, adapter.convolution.weight, adapter.convolution.bias)) @ adapter.up.weight.T
    torch.testing.assert_close(adapter.change(x[None], Padding())[0], expected + adapter.up.bias, atol=1e-6, rtol=1e-5)
    released = _Convpass(8, Convpass(bottleneck_dimension=3, variant="released")).eval()
    released.load_state_dict(adapter.state_dict())
    torch.testing.assert_close(released.change(x[None], Padding())[0], down @ adapter.up.weight.T + adapter.up.bias)


@torch.no_grad()
def test_the_kernel_of_convpass_may_start_as_the_identity():
    adapter = _Convpass(8, Convpass(bottleneck_dimension=3, initialisation="identity"))
    x = torch.randn(1, 3, 6)
    assert torch.equal(adapter.convolution(x), x)


@torch.no_grad()
def test_conformer_adapter_with_padding():
    adapter = stirred(_ConformerAdapter(8, ConformerAdapter(bottleneck_dimension=2, kernel_size=3))).train()
    lengths, frames = [5, 3], 5
    x = torch.randn(2, frames, 8)
    convolved = []
    for utterance, length in zip(x, lengths, strict=True):
        a, b = (utterance[:length] @ adapter.into.weight.T + adapter.into.bias).chunk(2, dim=-1)
        convolved.append(convolve(a * torch.sigmoid(b), adapter.depthwise.weight, adapter.depthwise.bias))
    heard = torch.cat(convolved)
    normed = (heard - heard.mean(0)) / (heard.var(0, unbiased=False) + 1e-5).sqrt()
    normed = normed * adapter.batch_norm.weight + adapter.batch_norm.bias
    expected = (normed * torch.sigmoid(normed)) @ adapter.out.weight.T + adapter.out.bias
    actual = adapter.change(x, padded(lengths, frames))
    torch.testing.assert_close(torch.cat([actual[0, :5], actual[1, :3]]), expected, atol=1e-5, rtol=1e-4)
    # What it will normalise by when it is used.
    torch.testing.assert_close(adapter.batch_norm.running_mean, 0.1 * heard.mean(0), atol=1e-6, rtol=1e-5)


def test_batch_normalisation_gives_every_frame_that_is_heard_its_gradient():
    norm, x = PaddingAwareBatchNorm(3).train(), torch.randn(2, 4, 3, requires_grad=True)
    norm(x, padded([4, 2], 4)).square().sum().backward()
    assert (x.grad[1, 2:] == 0).all()
    assert (x.grad[1, :2] != 0).any()


@torch.no_grad()
@pytest.mark.parametrize("padding", [Padding(), padded([1], 4)])
def test_a_single_frame_is_normalised_by_what_was_gathered(padding):
    norm, x = PaddingAwareBatchNorm(3), torch.randn(1, 4 if padding.mask is not None else 1, 3)
    norm.running_mean.normal_()
    before = norm.running_mean.clone()
    torch.testing.assert_close(norm.train()(x, padding)[:, :1], (x[:, :1] - before) / (1 + norm.eps) ** 0.5)
    assert norm.running_mean.equal(before)


@torch.no_grad()
def test_multi_conv_adapter():
    adapter = stirred(_MultiConvAdapter(8, MultiConvAdapter(bottleneck_dimension=4, kernel_sizes=[3, 5])))
    x = torch.randn(6, 8)
    down = x @ adapter.down.weight.T
    parts = zip(adapter.convolutions, down.chunk(2, dim=1), strict=True)
    w = torch.cat([convolve(part, convolution.weight) for convolution, part in parts], dim=1)
    expected = (w + adapter.gain * w) @ adapter.up.weight.T
    torch.testing.assert_close(adapter.change(x[None], Padding())[0], expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(SureError, match="3 kernels share 4 channels"):
        _MultiConvAdapter(8, MultiConvAdapter(bottleneck_dimension=4, kernel_sizes=[1, 3, 5]))


@torch.no_grad()
def test_slots_start_as_xavier_has_it_for_width_experts_and_slots():
    started = _Mixture(4096, MixtureOfAdapters(bottleneck_dimension=1, experts=7, slots=2)).slots
    # Fans of (width, experts, slots): experts * slots and width * slots.
    assert float(started.std()) == pytest.approx((2 / (7 * 2 + 4096 * 2)) ** 0.5, rel=0.03)


@torch.no_grad()
@pytest.mark.parametrize("slots", [1, 2])
def test_soft_mixture_is_told_where_the_padding_is(slots):
    adapter = stirred(_Mixture(8, MixtureOfAdapters(bottleneck_dimension=2, experts=3, slots=slots)))
    lengths, frames = [4, 2], 4
    x = torch.randn(2, frames, 8)
    actual = adapter.change(x, padded(lengths, frames))
    for utterance, length, result in zip(x, lengths, actual, strict=True):
        heard = utterance[:length]
        logits = heard @ adapter.slots
        expected = torch.zeros(length, 8)
        for slot in range(3 * slots):
            mixed = logits[:, slot].softmax(0) @ heard
            hidden = torch.nn.functional.gelu(mixed @ adapter.down[slot // slots] + adapter.down_bias[slot // slots, 0])
            said = hidden @ adapter.up[slot // slots] + adapter.up_bias[slot // slots, 0]
            expected += logits.softmax(-1)[:, slot : slot + 1] * said
        torch.testing.assert_close(result[:length], expected, atol=1e-5, rtol=1e-4)
        assert (result[length:] == 0).all()


@torch.no_grad()
def test_dense_mixture():
    adapter = stirred(_Mixture(8, MixtureOfAdapters(bottleneck_dimension=2, experts=3, routing="dense")))
    x = torch.randn(5, 8)
    weights = (x @ adapter.router.weight.T + adapter.router.bias).softmax(-1)
    expected = sum(
        weights[:, expert : expert + 1]
        * (torch.nn.functional.gelu(x @ adapter.down[expert] + adapter.down_bias[expert]) @ adapter.up[expert])
        + weights[:, expert : expert + 1] * adapter.up_bias[expert]
        for expert in range(3)
    )
    torch.testing.assert_close(adapter.change(x[None], Padding())[0], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_adapter_bias():
    bias = stirred(_AdapterBias(6, 4, "ones"))
    u = torch.randn(5, 6)
    expected = torch.stack([bias.vector * (bias.weight.weight[0] @ row + bias.weight.bias[0]) for row in u])
    torch.testing.assert_close(bias(u[None])[0], expected)


@pytest.mark.parametrize(
    ("method", "options", "silent"),
    [
        (
            "bottleneck_adapter",
            {"initialisation": "zeros", "activation": "gelu"},
            {"down.weight", "down.bias", "up.weight"},
        ),
        ("convpass", {"variant": "released"}, {"convolution.weight", "convolution.bias"}),
        ("bottleneck_adapter", {"initialisation": "lora"}, set()),
        ("convpass", {}, set()),
    ],
)
def test_what_never_learns_as_released_and_what_does(method, options, silent):
    """Two steps of training: a gradient reaches every tensor but those that the release of 2312.03694 forgets."""
    backbone = load("wav2vec2:tiny")
    model = applying.apply(speech_model(backbone), applying.configure(method, backbone, options)).train()
    trainable = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    optimizer = torch.optim.SGD(trainable.values(), lr=0.1)
    learnt = set()
    for _ in range(2):
        optimizer.zero_grad()
        model(**backbone.inputs(waveforms(0.5, 0.7)), labels=torch.tensor([0, 1])).loss.backward()
        learnt |= {
            name for name, weight in trainable.items() if weight.grad is not None and weight.grad.abs().sum() > 0
        }
        optimizer.step()
    assert {name.split("sure_adapter.default.")[1] for name in trainable.keys() - learnt} == silent
