"""Parameter counts of the paper's methods, from the configuration alone."""

import functools
import re

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import Wav2Vec2Model

from sure import budget as module
from sure import registry
from sure.backbone import loading
from sure.budget import Batch, Budgets, budget, measure
from sure.errors import SureError
from sure.heads import ClassificationHead
from sure.method import applying, by_name, fitting
from sure.model import ModelWithHead
from tests.factories.encoders import (
    FITTING,
    SIZES,
    bare,
    has_the_parts,
    load,
    save_backbone,
    speech_model,
    without_chance,
)

# SURE's table (Li et al. 2023), head of 11 labels included.
PUBLISHED = {
    "full_finetuning": 315_703_947,
    "bottleneck_adapter": 25_467_915,
    "prefix_tuning": 1_739_787,
    "lora": 3_804_171,
}
HEAD = 256 * 1024 + 256 + 11 * 256 + 11


@functools.cache
def budgets(backbone):
    return Budgets(backbone, lambda width: ClassificationHead(width, 11))


def on(backbone, method, options=None):
    (found,) = budgets(backbone).of(method, options)
    return found


def on_large(method, options=None):
    return on("wav2vec2-large-untrained", method, options)


@pytest.mark.parametrize("method", PUBLISHED)
def test_trainable_parameters_are_the_published_ones(method):
    measured = budget(method, "wav2vec2-large-untrained", lambda width: ClassificationHead(width, 11))
    published, *_ = by_name.published(method)
    assert (published.backbone, published.labels) == ("wav2vec2:large", 11)
    assert measured.trainable_parameters == PUBLISHED[method] == published.parameters
    assert measured.head_parameters == HEAD


def test_conv_adapter_has_the_parameters_of_the_release_not_of_the_table():
    measured = on_large("conv_adapter")
    assert measured.trainable_parameters == 24 * 141_824 + HEAD == 3_669_003
    assert [one.parameters for one in by_name.published("conv_adapter")] == [2_952_539]


def test_probes_train_the_head_and_one_weight_per_hidden_state():
    assert on_large("linear_probe").method_parameters == 0
    assert on_large("weighted_sum_probe").method_parameters == 25


def test_bitfit_trains_every_bias():
    width, ffn, channels, layers = 1024, 4096, 512, 24
    per_layer = 4 * width + ffn + width + 2 * width
    cnn = 7 * 2 * channels
    rest = channels + width + width + width  # feature projection's norm and map, positional convolution, last norm
    assert on_large("bitfit").method_parameters == layers * per_layer + cnn + rest


def test_full_finetuning_is_the_whole_and_others_are_a_share_of_backbone_method_and_head():
    assert on_large("full_finetuning").trainable_share == 1.0
    lora = on_large("lora")
    assert lora.total_parameters == PUBLISHED["full_finetuning"] + lora.method_parameters
    assert lora.trainable_share_without_head == lora.method_parameters / (lora.total_parameters - HEAD)


def test_macs_are_those_of_the_matrix_products_and_convolutions():
    """An independent count for 10 s of audio: CNN, projection, positional convolution, layers, head."""
    samples, macs, channels = 160_000, 0, 1
    for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), strict=True):
        samples = (samples - kernel) // stride + 1
        macs += samples * 512 * channels * kernel
        channels = 512
    frames, width = samples, 1024
    macs += frames * 512 * width + (frames + 1) * width * (width // 16) * 128
    macs += 24 * (4 * frames * width**2 + 2 * frames**2 * width + 2 * frames * width * 4096)
    macs += frames * width * 256 + 256 * 11
    assert on_large("linear_probe").macs_per_second == pytest.approx(macs / 10, rel=1e-6)


def test_a_module_that_trains_whole_is_counted_once():
    lora, more = on_large("lora"), on_large("lora", {"modules_to_save": ["feature_projection.layer_norm"]})
    assert more.method_parameters == lora.method_parameters + 2 * 512
    assert (more.head_parameters, more.total_parameters) == (HEAD, lora.total_parameters)
    assert more.adapter_bytes == lora.adapter_bytes + 4 * 2 * 512


def test_options_and_roles_change_the_budget():
    everything, queries = on_large("lora"), on_large("lora", {"r": 16, "roles": "query"})
    assert queries.method_parameters == 24 * 16 * (1024 + 1024)
    assert everything.adapter_bytes == 4 * everything.trainable_parameters


# A shipped one is stored in float16; of each family the size that is built fastest.
BACKBONES = ["sure-mini", *(name for name in SIZES if name.endswith(":tiny") and not bare(name).headless)]


# Those that meet what families have of their own: convolutions, attention, what a layer is called with, all layers.
MEETING = ["bitfit", "conv_adapter", "lora", "prefix_tuning", "prompt_tuning", "layer_output_adapter", "unipelt"]


# Those of PEFT know no families.
@pytest.mark.parametrize(
    ("backbone", "methods"),
    [*((backbone, MEETING) for backbone in BACKBONES), ("wav2vec2:tiny", registry.from_peft())],
)
def test_methods_have_a_budget_on_every_backbone_that_takes_a_head(backbone, methods):
    for method in methods:
        if method in registry.names("method") and not has_the_parts(bare(backbone), method):
            continue
        measured = on(backbone, method, FITTING.get(method))
        assert measured.head_parameters <= measured.trainable_parameters <= measured.total_parameters, method
        assert measured.adapter_bytes >= 4 * measured.trainable_parameters, method
        assert measured.macs_per_second > 0, method


def test_a_whole_model_s_budget_is_refused_with_a_reason():
    with pytest.raises(SureError, match="sure-mini-tts: fastspeech2_conformer models are whole"):
        on("sure-mini-tts", "lora")


@pytest.mark.parametrize(
    ("backbone", "method"),
    [
        *((name, "lora" if has_the_parts(bare(name), "lora") else "bitfit") for name in BACKBONES),
        ("wav2vec2:tiny", "boft"),
    ],
)
def test_a_budget_is_what_a_run_measures(backbone, method):
    loaded = loading.load(backbone, head=True)
    model = ModelWithHead(loaded, ClassificationHead(loaded.width, 11))
    assert on(backbone, method) == measure(applying.apply(model, applying.configure(method, loaded)))


# A family for which nearly every method is.
OURS = [method for method in registry.names("method") if has_the_parts(bare("wav2vec2:tiny"), method)]

# A straight line, a bent one, one that falls, and several methods of which one is in all layers but the last.
SIZED = ["lora", "ssvd", "conv_adapter", "elp_adapters"]

# Of PEFT's, some that share what they learn between layers.
SHARING = ["lily", "randlora", "tinylora", "vera"]


@pytest.mark.parametrize(
    ("backbone", "methods"),
    [("wavlm:tiny", ["lora", "prefix_tuning"]), ("wav2vec2:tiny", [*OURS, *SHARING])],
)
def test_what_two_and_three_layers_tell_is_what_all_of_them_have(backbone, methods, monkeypatch):
    family, _, size = backbone.partition(":")
    kind = registry.get("backbone", family)
    monkeypatch.setitem(kind.sizes, "deep", kind.sizes[size] | {"num_hidden_layers": 4})

    def costs():
        counting = Budgets(f"{family}:deep", lambda width: ClassificationHead(width, 11))
        # Those fields too that are not part of equality.
        fitted = {f"{name}, 9%": vars(counting.of(name, {}, ["9%"])[0]) for name in SIZED if name in methods}
        return fitted | {name: vars(counting.of(name, FITTING.get(name))[0]) for name in methods}

    extrapolated = costs()
    monkeypatch.setattr(applying, "of_every_layer", lambda backbone, options, measure: list(measure(None)))
    monkeypatch.setattr(applying, "_layers_alike", lambda backbone, options: False)
    monkeypatch.setattr(fitting, "interpolated", lambda sizes, count, of_few: functools.cache(count))
    assert extrapolated == costs()


@pytest.mark.parametrize("name", ["wavlm:tiny", "wav2vec2_bert:tiny"])
def test_a_twin_is_its_own(name):
    """Of what is copied for each count nothing is heard of in the next, and nothing is missing."""
    backbone = bare(name)
    with loading.WithoutValues():
        one, other = loading.twin(backbone, 2), loading.twin(backbone, 2)
        made = loading.load(name, weights=False)
    apart = [{id(one) for one in (*twin.model.modules(), *twin.model.parameters())} for twin in (one, other)]
    assert apart[0].isdisjoint(apart[1])
    assert one.model.config is one.model.encoder.config is not other.model.config
    few = {name: tensor.shape for name, tensor in one.model.state_dict().items()}
    whole = {name: tensor.shape for name, tensor in made.model.state_dict().items()}
    assert few == {name: shape for name, shape in whole.items() if not re.match(r"encoder\.layers\.[2-9]", name)}


def operations(model):
    model.eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(**model.source.example(1, "cpu"))
    return counter.get_total_flops()


def test_what_can_be_merged_then_costs_what_the_backbone_does_and_nothing_else_can():
    expected = operations(speech_model(load("wav2vec2:tiny")))
    for method in (*OURS, *registry.from_peft()):
        backbone = load("wav2vec2:tiny")
        model = applying.apply(speech_model(backbone), applying.configure(method, backbone, FITTING.get(method)))
        if by_name.can_be_merged(method):
            assert operations(model.merge_and_unload()) == expected, method
        else:
            with pytest.raises((SureError, NotImplementedError)):
                model.merge_and_unload()


def test_what_cannot_be_merged_keeps_its_cost():
    prefix, lora = on("wav2vec2:tiny", "prefix_tuning"), on("wav2vec2:tiny", "lora")
    assert prefix.merged_macs_per_second == prefix.macs_per_second
    assert lora.merged_macs_per_second == on("wav2vec2:tiny", "linear_probe").macs_per_second < lora.macs_per_second


@pytest.mark.parametrize("method", ["full_finetuning", "lora", "bottleneck_adapter", "prefix_tuning"])
def test_activations_are_what_autograd_keeps_of_real_utterances(method, tmp_path):
    """On a CPU, whose fused attention keeps what that of GPUs does, but for the sums of weights, which are padded."""
    place = str(without_chance(save_backbone(tmp_path, "wav2vec2:tiny")))
    options = {"dropout": 0.0} if method == "prefix_tuning" else {}
    estimated = Budgets(place, lambda width: ClassificationHead(width, 11), batch=Batch(3, 2)).of(method, options)[0]
    backbone = loading.load(place, head=True)
    model = ModelWithHead(backbone, ClassificationHead(backbone.width, 11))
    adapted = applying.apply(model, applying.configure(method, backbone, options)).train()
    held = {tensor.untyped_storage().data_ptr() for tensor in (*adapted.parameters(), *adapted.buffers())}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = adapted(input_values=torch.zeros(3, 2 * 16_000))
    measured = sum(size for place, size in kept.items() if place not in held)
    assert output.logits.requires_grad
    assert estimated.activation_bytes == pytest.approx(measured, rel=0.02)
    assert estimated.optimizer_bytes == 12 * estimated.trainable_parameters
    assert estimated.training_bytes > estimated.activation_bytes + 4 * estimated.total_parameters


def test_where_there_is_a_gpu_a_step_of_the_whole_batch_is_measured_with_its_moments(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "_GPU", torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: seen.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 12345)
    monkeypatch.setattr(Wav2Vec2Model, "forward", _watched(Wav2Vec2Model.forward, seen))
    counting = Budgets("wav2vec2:tiny", lambda width: ClassificationHead(width, 3), batch=Batch(2, 1))
    seen.clear()
    assert counting._measured("lora", {}) == 12345
    assert seen == ["reset", (2, 16_000), "reset", (2, 16_000)]

    def full(*_, **__):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Wav2Vec2Model, "forward", full)
    assert counting._measured("lora", {}) is None


def _watched(forward, seen):
    def watching(self, inputs, *args, **kwargs):
        seen.append(tuple(inputs.shape))
        return forward(self, inputs, *args, **kwargs)

    return watching
