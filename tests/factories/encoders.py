"""Small real encoders for the tests: every family's own tiny sizes, smaller still, saved in the real format."""

import contextlib
import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from unittest import mock

import numpy as np
import torch
from torch import nn

from sure import registry
from sure.backbone import Backbone, loading
from sure.heads import ClassificationHead
from sure.method import by_name
from sure.model import ModelWithHead

# `<family>:<size>` of every size for tests, such as wavlm:tiny_like_base; a family in a new file brings its own.
SIZES = [
    f"{family}:{size}"
    for family in registry.names("backbone")
    for size in registry.get("backbone", family).sizes
    if size.startswith("tiny")
]

# Options that fit the widths of the tiny sizes. (Of two squeezed channels a ReLU may silence both.)
FITTING = {
    "unipelt": {"bottleneck_adapter.reduction": 4},
    "conv_adapter": {"reduction": 2},
    "boft": {"boft_block_size": 4},
    "c3a": {"block_size": 16},
    "fourierft": {"n_frequency": 16},
    "miss": {"r": 8},
    "oft": {"oft_block_size": 8},
    "road": {"group_size": 16},
    "shira": {"r": 4},
    "vblora": {"vector_length": 16},
    "waveft": {"n_frequency": 64},
}


# One of each way in which a method changes a model. The matrix has all; where a task or a family has a model of its
# own, what it shows of all is shown again of these.
KINDS_OF_METHODS = (
    *("full_finetuning", "linear_probe", "weighted_sum_probe", "bitfit", "lora", "s2_lora", "prefix_tuning"),
    *("prompt_tuning", "bottleneck_adapter", "conv_adapter", "mixture_of_adapters", "hyper_adapter", "cnn_adapter"),
    *("layer_output_adapter", "unipelt", "transformation_module"),
)


@cache
def bare(name: str) -> loading.Backbone:
    """What a size is, without weights and as a task's head finds it; only to be read."""
    with torch.device("meta"):
        return loading.load(name, weights=False, head=True)


def has_the_parts(backbone: Backbone | type[Backbone], method: str) -> bool:
    """Whether a family names the parts that a method adapts: one without attention takes no prefix."""
    roles = {"backbone", *backbone.roles}
    if "ffn_out" in roles:
        # A block that is no module is a place all the same.
        roles.add("ffn")
    if getattr(by_name.config_class(method), "reads_every_layer", False) and not any("layer" in role for role in roles):
        return False
    return set(by_name.roles_of(method)) <= roles


# Those that a task can put a head on.
ENCODERS = [name for name in SIZES if not bare(name).headless]

# Where a family has these values, tests need no more of them.
_SMALLER = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
}


def save_backbone(folder: Path, name: str) -> Path:
    """Write a model of a tiny size as `save_pretrained` does: config, safetensors, what makes its inputs."""
    family, _, size = name.partition(":")
    kind = registry.get("backbone", family)
    values = kind.sizes[size or "tiny"]
    config = kind.new_config(**values | {key: small for key, small in _SMALLER.items() if key in values})
    torch.manual_seed(0)
    model = kind.new_model(config)
    roughen(model)
    model.save_pretrained(folder)
    if processor := kind.new_processor(config):
        processor.save_pretrained(folder)
    return folder


def roughen(model: nn.Module) -> None:
    """Fresh biases are zero and fresh statistics trivial, where mistakes with them would not show."""
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


def without_chance(folder: Path) -> Path:
    """No dropout, and nothing masked: draws differ between one process and two."""
    config = json.loads((folder / "config.json").read_text())
    drawn = ("dropout", "mask_time_prob", "mask_feature_prob")
    (folder / "config.json").write_text(json.dumps(config | {key: 0.0 for key in config if key.endswith(drawn)}))
    return folder


@cache
def folder_of(name: str) -> Path:
    """Such a model, saved once and only to be read."""
    return save_backbone(Path(mkdtemp(prefix=f"sure-{name.replace(':', '-')}-")), name)


_READ: dict[Path, tuple] = {}


def load_copy(folder: Path, **options) -> loading.Backbone:
    """As `loading.load` of a folder that stays as it is, but read once and copied, which is several times as fast."""
    read = loading._pretrained

    def copied(*arguments):
        if folder not in _READ:
            _READ[folder] = read(*arguments)
        return copy.deepcopy(_READ[folder])

    with mock.patch.object(loading, "_pretrained", copied):
        return loading.load(str(folder), **options)


def load(name: str, head: bool = True) -> loading.Backbone:
    """One of `SIZES`, nothing of it shared, by default for a task that puts a head on it."""
    return load_copy(folder_of(name), head=head)


def speech_model(backbone: loading.Backbone, labels: int = 3) -> ModelWithHead:
    """A model with a classification head whose weights are always the same."""
    torch.manual_seed(1)
    return ModelWithHead(backbone, ClassificationHead(backbone.width, labels))


def waveforms(*seconds: float) -> list[np.ndarray]:
    """Noise of these lengths, each always the same."""
    generator = np.random.default_rng(0)
    return [generator.normal(size=int(16_000 * length)).astype(np.float32) for length in seconds]


@contextlib.contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Without dropout and gradients."""
    model.eval()
    with torch.no_grad():
        yield


def stirred(model: nn.Module, by: float = 0.05) -> nn.Module:
    """Adapters that start as the identity or with zeros would hide what tests look for."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(by * torch.randn_like(parameter))
    return model
