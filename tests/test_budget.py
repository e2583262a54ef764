"""Parameter counts of the paper's methods, from the configuration alone."""

import pytest

from sure import registry
from sure.backbone import loading
from sure.budget import budget, measure
from sure.errors import SureError
from sure.heads import ClassificationHead
from sure.method import applying
from sure.model import ModelWithHead
from tests.factories.encoders import FITTING, SIZES, bare, has_the_parts

# SURE's table (Li et al. 2023), head of 11 labels included.
PUBLISHED = {
    "full_finetuning": 315_703_947,
    "bottleneck_adapter": 25_467_915,
    "prefix_tuning": 1_739_787,
    "lora": 3_804_171,
}
HEAD = 256 * 1024 + 256 + 11 * 256 + 11


def on(backbone, method, options=None):
    return budget(method, backbone, lambda width: ClassificationHead(width, 11), options)


def on_large(method, options=None):
    return on("wav2vec2-large-untrained", method, options)


@pytest.mark.parametrize("method", PUBLISHED)
def test_trainable_parameters_are_the_published_ones(method):
    measured = on_large(method)
    published, *_ = applying.published(method)
    assert (published.backbone, published.labels) == ("wav2vec2:large", 11)
    assert measured.trainable_parameters == PUBLISHED[method] == published.parameters
    assert measured.head_parameters == HEAD


def test_conv_adapter_has_the_parameters_of_the_release_not_of_the_table():
    measured = on_large("conv_adapter")
    assert measured.trainable_parameters == 24 * 141_824 + HEAD == 3_669_003
    assert [one.parameters for one in applying.published("conv_adapter")] == [2_952_539]


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


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_method_has_a_budget_on_every_backbone_that_takes_a_head(backbone):
    # Those of PEFT on the default backbone: they know no families.
    for method in applying.names() if backbone == "sure-mini" else registry.names("method"):
        if method in registry.names("method") and not has_the_parts(bare(backbone), method):
            continue
        measured = on(backbone, method, FITTING.get(method))
        assert measured.head_parameters <= measured.trainable_parameters <= measured.total_parameters, method
        assert measured.adapter_bytes >= 4 * measured.trainable_parameters, method
        assert measured.macs_per_second > 0, method


def test_a_whole_model_s_budget_is_refused_with_a_reason():
    with pytest.raises(SureError, match="sure-mini-tts: fastspeech2_conformer models are whole"):
        on("sure-mini-tts", "lora")


@pytest.mark.parametrize(("backbone", "method"), [*((name, "lora") for name in BACKBONES), ("wav2vec2:tiny", "boft")])
def test_a_budget_is_what_a_run_measures(backbone, method):
    loaded = loading.load(backbone, head=True)
    model = ModelWithHead(loaded, ClassificationHead(loaded.width, 11))
    assert on(backbone, method) == measure(applying.apply(model, applying.configure(method, loaded)))
