"""Heads that embed speakers: trained by every method, on one layer or all; pooling, padding and loss by definition."""

import math

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import nn

from sure.backbone.padding import Padding
from sure.errors import SureError
from sure.method import applying
from sure.task import speaker_verification
from sure.task.speaker_verification.heads import (
    EMBEDDERS,
    AdditiveAngularMargin,
    AttentiveEmbedding,
    FactorizedAttention,
    LayerAggregation,
    SpeakerHead,
    XVector,
)
from tests.factories.encoders import KINDS_OF_METHODS, bare, evaluation, has_the_parts, load, stirred, waveforms
from tests.factories.speakers import FourSpeakers

HEADS = tuple(EMBEDDERS)
OF_ALL_LAYERS = tuple(name for name, kind in EMBEDDERS.items() if kind.all_layers)
MIXING = ("weighted_sum_probe", "layer_output_adapter")


def embedder_and_states(head, states, width=24):
    """An embedder, and frames by which it is tested: (frames, width), of one of all layers (states, frames, width)."""
    kind = EMBEDDERS[head]
    made = kind(width, states) if kind.all_layers else kind(width)
    return made, lambda frames: torch.randn(*([states] if kind.all_layers else []), frames, width)


def fits(name, method, head):
    """Whether a family has what a method adapts, and no two of method and head mix the layers."""
    return has_the_parts(bare(name), method) and not (method in MIXING and head in OF_ALL_LAYERS)


def adapted(name, method, head, layers="last"):
    torch.manual_seed(1)
    backbone = load(name)
    model = FourSpeakers(head=head, layers=layers).build_model(backbone)
    return backbone, stirred(applying.apply(model, applying.configure(method, backbone)))


# Every kind of method with a head, and every head with some of them in turn, on a family that normalises before its
# layers, one after, and one without a waveform CNN; the layers in turn.
@pytest.mark.parametrize(
    ("name", "head", "layers", "method"),
    [
        (name, head, "last" if method in MIXING else layers, method)
        for name, head, layers, methods in (
            ("wav2vec2:tiny", "xvector", "weighted_sum", KINDS_OF_METHODS),
            ("wav2vec2:tiny", "mean", "last", KINDS_OF_METHODS[0::4]),
            ("wav2vec2:tiny", "layer_aggregation", "last", KINDS_OF_METHODS[0::4]),
            ("wavlm:tiny_like_base", "ecapa", "weighted_sum", KINDS_OF_METHODS[1::4]),
            ("wavlm:tiny_like_base", "xvector", "last", KINDS_OF_METHODS[2::4]),
            ("wavlm:tiny_like_base", "mhfa", "last", KINDS_OF_METHODS[3::4]),
            ("wav2vec2_bert:tiny", "mean", "weighted_sum", KINDS_OF_METHODS[2::4]),
            ("wav2vec2_bert:tiny", "ecapa", "last", KINDS_OF_METHODS[0::4]),
        )
        for method in methods
        if fits(name, method, head)
    ],
)
def test_every_method_trains_every_head_and_gives_it_back_whole(name, head, layers, method, tmp_path):
    backbone, model = adapted(name, method, head, layers)
    clips = waveforms(0.5, 1.3, 0.2)
    with evaluation(model):
        together = model(**backbone.inputs(clips)).logits
        alone = torch.cat([model(**backbone.inputs([clip])).logits for clip in clips])
    torch.testing.assert_close(together, alone, atol=2e-5, rtol=1e-4)
    model.save_pretrained(tmp_path)
    fresh = load(name)
    empty = FourSpeakers(head=head, layers=layers).build_model(fresh)
    with evaluation(reloaded := PeftModel.from_pretrained(empty, tmp_path)):
        assert torch.equal(reloaded(**backbone.inputs(clips)).logits, together)

    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model.train()
    loss = model(**backbone.inputs(clips), labels=torch.tensor([0, 2, 3])).loss
    loss.backward()
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == trainable
    torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1.0).step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved <= trainable
    assert any(".head." in name for name in moved)
    assert any(".head." not in name for name in moved) or method == "linear_probe"


@pytest.mark.parametrize("name", ["wav2vec2:tiny", "wavlm:tiny_like_base"])
@pytest.mark.parametrize("method", ["conv_adapter", "bottleneck_adapter", "full_finetuning", "lora"])
def test_a_head_of_all_layers_hears_what_the_method_made_of_each(name, method):
    """What one layer, with what the method has put around it, hands over is what the next one gets."""
    backbone, model = adapted(name, method, "mean", "weighted_sum")
    handed_over, received = [], []
    inner = model.base_model.model.backbone
    names = [name for name, _ in inner.named_modules() if name.endswith(("encoder.layers.0", "encoder.layers.1"))]
    for name in names:
        inner.get_submodule(name).register_forward_pre_hook(lambda _, inputs: received.append(inputs[0].detach()))
        inner.get_submodule(name).register_forward_hook(
            lambda *call: handed_over.append((call[-1][0] if isinstance(call[-1], tuple) else call[-1]).detach())
        )
    model.base_model.model.head.register_forward_pre_hook(lambda _, inputs: states.extend(inputs[0]))
    states = []
    with evaluation(model):
        model(**backbone.inputs(waveforms(0.5)))
    assert len(states) == 3
    for state, expected in zip(states, [received[0], handed_over[0]], strict=False):
        assert torch.equal(state, expected)
    assert torch.equal(states[1], received[1])
    with evaluation(model):
        last = inner(**backbone.inputs(waveforms(0.5))).last_hidden_state
    assert torch.equal(states[2], last)


@pytest.mark.parametrize(("head", "layers"), [("mean", "weighted_sum"), *((head, "last") for head in OF_ALL_LAYERS)])
@pytest.mark.parametrize(
    ("method", "other"),
    [("weighted_sum_probe", "--method linear_probe"), ("layer_output_adapter", "another method")],
)
def test_layers_are_not_mixed_twice(method, other, head, layers):
    with pytest.raises(SureError, match=rf"{method} mixes all layers, and so .* {other} with it"):
        adapted("wav2vec2", method, head, layers)


def test_the_xvector_head_has_as_many_parameters_as_in_superb():
    """At the width of base models and VoxCeleb1's 1,211 speakers: projection, convolutions, two layers, classifier."""
    head = SpeakerHead(XVector(768), 1211, margin=0.4, scale=30)
    assert sum(map(torch.numel, head.parameters())) == 393_728 + 3_917_276 + 1_799_168 + 620_032


def test_the_xvector_head_is_a_time_delay_network():
    """Frames spliced with their neighbours before each linear layer, as the x-vector's paper describes it."""
    torch.manual_seed(0)
    head = XVector(24).eval()
    hidden_states = torch.randn(1, 40, 24)
    frames = head.projector(hidden_states[0])
    for convolution, offsets in zip(
        head.convolutions, [(0, 1, 2, 3, 4), (0, 2, 4), (0, 3, 6), (0,), (0,)], strict=True
    ):
        count = len(frames) - offsets[-1]
        spliced = torch.stack([frames[offset : offset + count] for offset in offsets], dim=-1)
        frames = torch.einsum("tik,oik->to", spliced, convolution.weight) + convolution.bias
        frames = frames.relu()
    assert len(frames) == 40 - 14
    statistics = torch.cat([frames.mean(dim=0), frames.std(dim=0, correction=0)])
    expected = (head.embedding[0].weight @ statistics + head.embedding[0].bias).relu()
    torch.testing.assert_close(head(hidden_states, Padding())[0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_padding_of_any_value_and_length_does_not_change_an_embedding(head):
    torch.manual_seed(0)
    embedder, random = embedder_and_states(head, 3)
    # In training some go by the statistics of their batch.
    embedder.eval()
    clips = [random(frames) for frames in (1, 9, 15, 16, 60)]
    together = torch.stack([nn.functional.pad(clip, (0, 0, 0, 60 - clip.shape[-2]), value=7.0) for clip in clips], -3)
    padding = Padding()
    padding.mask = torch.arange(60) < torch.tensor([[clip.shape[-2]] for clip in clips])
    alone = torch.cat([embedder(clip.unsqueeze(-3), Padding()) for clip in clips])
    torch.testing.assert_close(embedder(together, padding), alone, atol=1e-5, rtol=1e-4)
    assert alone.isfinite().all()


def test_attentive_statistics_are_those_of_ecapa():
    """Frame by frame and channel by channel (Desplanques et al. 2020, equations 1 to 4)."""
    torch.manual_seed(0)
    head = AttentiveEmbedding(6)
    hidden_states = torch.randn(11, 6)
    context = torch.cat([hidden_states.mean(dim=0), hidden_states.std(dim=0, correction=0)])
    (first, _, second) = head.attention
    statistics = []
    for channel in range(6):
        scores = []
        for frame in hidden_states:
            inside = torch.tanh(first.weight @ torch.cat([frame, context]) + first.bias)
            scores.append(second.weight[channel] @ inside + second.bias[channel])
        attention = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
        mean = sum(attention * hidden_states[:, channel])
        deviation = (sum(attention * hidden_states[:, channel] ** 2) - mean**2).sqrt()
        statistics.append((mean, deviation))
    means, deviations = (torch.stack(part) for part in zip(*statistics, strict=True))
    expected = head.projector(torch.cat([means, deviations]))
    torch.testing.assert_close(head(hidden_states.unsqueeze(0), Padding())[0], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("heads", "parameters"), [(64, 2_302_554), (32, 1_249_850), (8, 460_322)])
def test_factorised_attention_has_as_many_parameters_as_its_authors(heads, parameters):
    """With the 13 hidden states of base models (WavLM-Base+ of the first author's code)."""
    assert sum(map(torch.numel, FactorizedAttention(768, 13, heads).parameters())) == parameters


@torch.no_grad()
def test_factorised_attention_pools_head_by_head():
    """c_h = sum over t of softmax_t(w_h . k_t + b_h) v_t; k and v of two mixtures of the layers."""
    torch.manual_seed(0)
    head = stirred(FactorizedAttention(6, 3, heads=2), by=1.0)
    states = torch.randn(3, 11, 6)
    frames = []
    for mixture, compress in ((head.key_mixture, head.key), (head.value_mixture, head.value)):
        weights = mixture.weights.exp() / mixture.weights.exp().sum()
        mixed = sum(weight * layer for weight, layer in zip(weights, states, strict=True))
        frames.append([compress.weight @ frame + compress.bias for frame in mixed])
    keys, values = frames
    pooled = []
    for weight, bias in zip(head.attention.weight, head.attention.bias, strict=True):
        scores = torch.stack([weight @ key + bias for key in keys]).exp()
        pooled.append(sum(score * value for score, value in zip(scores / scores.sum(), values, strict=True)))
    expected = head.projector.weight @ torch.cat(pooled) + head.projector.bias
    torch.testing.assert_close(head(states.unsqueeze(1), Padding())[0], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_layer_aggregation_pools_what_each_layer_gives_side_by_side():
    torch.manual_seed(0)
    head = stirred(LayerAggregation(6, 3), by=0.1)
    states = torch.randn(3, 11, 6)
    parts = []
    for state, (first, norm, _, second) in zip(states, head.adapters, strict=True):
        inside = state @ first.weight.T + first.bias
        inside = (inside - inside.mean(-1, keepdim=True)) / (inside.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
        parts.append((inside * norm.weight + norm.bias).clamp(min=0) @ second.weight.T + second.bias)
    pooling = AttentiveEmbedding(3 * 128)
    pooling.projector = nn.Linear(2 * 3 * 128, 256)
    pooling.load_state_dict({name: tensor for name, tensor in head.state_dict().items() if "adapters" not in name})
    expected = pooling(torch.cat(parts, dim=-1).unsqueeze(0), Padding())
    torch.testing.assert_close(head(states.unsqueeze(1), Padding()), expected, atol=1e-5, rtol=1e-4)
    # The layers' part of the w2v-BERT 2.0 system: 25 states of 1,024 dimensions.
    of_one = (1024 * 128 + 128) + 2 * 128 + (128 * 128 + 128)
    with torch.device("meta"):
        assert sum(map(torch.numel, LayerAggregation(1024, 25).adapters.parameters())) == 25 * of_one == 3_699_200


def test_the_loss_adds_the_margin_to_the_angle():
    torch.manual_seed(0)
    margin, scale = 0.3, 30.0
    classifier = AdditiveAngularMargin(8, 5, margin, scale)
    directions = nn.functional.normalize(classifier.weight.detach()).numpy().astype(float)
    # The last embedding lies opposite its speaker's direction, beyond pi - margin.
    embeddings = torch.cat([torch.randn(4, 8), -3 * classifier.weight[2:3].detach()])
    labels = [0, 4, 1, 1, 2]
    losses = []
    for embedding, label in zip(embeddings.numpy().astype(float), labels, strict=True):
        angles = np.arccos(np.clip(directions @ embedding / np.linalg.norm(embedding), -1, 1))
        logits = np.cos(angles)
        if angles[label] < math.pi - margin:
            logits[label] = math.cos(angles[label] + margin)
        else:
            logits[label] -= margin * math.sin(margin)
        losses.append(np.log(np.exp(scale * logits).sum()) - scale * logits[label])
    loss = classifier(embeddings, torch.tensor(labels))
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-4)
    loss.backward()
    assert classifier.weight.grad.isfinite().all()
    plain = AdditiveAngularMargin(8, 5, 0.0, scale)
    plain.weight = classifier.weight
    assert plain(embeddings, torch.tensor(labels)) < loss


def test_only_training_speakers_have_a_loss():
    torch.manual_seed(0)
    head = SpeakerHead(EMBEDDERS["mean"](6), 3, 0.2, 30.0)
    hidden_states = torch.randn(2, 5, 6)
    assert head(hidden_states, Padding())[0] is None
    assert head(hidden_states, Padding(), torch.tensor([-100, -100]))[0].item() == 0
    known, _ = head(hidden_states[1:], Padding(), torch.tensor([2]))
    torch.testing.assert_close(head(hidden_states, Padding(), torch.tensor([-100, 2]))[0], known)


def test_choices_are_those_that_there_are():
    assert speaker_verification._CHOICES["head"] == HEADS
    assert speaker_verification._OF_ALL_LAYERS == OF_ALL_LAYERS
