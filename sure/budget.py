"""What a method costs on a backbone before any training: parameters, adapter size, multiply-accumulates."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.utils import ModulesToSaveWrapper
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sure.backbone import loading
from sure.heads import ClassificationHead
from sure.method import applying
from sure.model import ModelWithHead

# Utterance length at which multiply-accumulates are counted; attention makes them grow a little faster than length.
MACS_SECONDS = 10

# Methods of PEFT's that start from the values of weights; here those are random.
_FROM_VALUES = {"adamss", "boft", "frod", "shira", "unilora", "waveft"}


@dataclass(frozen=True)
class Budget:
    """Parameters are counted as tensors hold them; a share is between 0 and 1."""

    trainable_parameters: int
    head_parameters: int
    total_parameters: int
    adapter_bytes: int
    macs_per_second: int
    # What of the method's options makes it larger or smaller, such as `r=8`.
    setting: str | None = field(default=None, compare=False)

    @property
    def method_parameters(self) -> int:
        """Trainable parameters without the task head."""
        return self.trainable_parameters - self.head_parameters

    @property
    def trainable_share(self) -> float:
        """Trainable / total, head included in both, as PEFT prints it."""
        return self.trainable_parameters / self.total_parameters

    @property
    def trainable_share_without_head(self) -> float:
        """The same with the head left out of both."""
        return self.method_parameters / (self.total_parameters - self.head_parameters)


def budget(
    method: str,
    backbone: str,
    build_head: Callable[[int], nn.Module],
    options: dict[str, Any] | None = None,
    backbone_options: dict[str, Any] | None = None,
) -> Budget:
    """The budget of a method with a task's head, from the backbone's configuration alone: no weights are read.

    `build_head` makes the head from the backbone's width, as `Task.build_head` does.
    """
    with _without_weights(method):
        model = _adapted(method, backbone, build_head, options, backbone_options)
        measured = measure(model)
    dimension = applying.dimension(method)
    value = applying.value_of(model.peft_config[model.active_adapter], dimension) if dimension else None
    return measured if value is None else replace(measured, setting=f"{dimension}={value}")


def count(method: str, backbone: str, options: dict[str, Any] | None = None, labels: int | None = None) -> int:
    """Trainable parameters of a method, with the head that tells so many labels apart, or without any."""
    with _without_weights(method):
        model = _adapted(method, backbone, lambda width: ClassificationHead(width, labels or 1), options)
    trainable, of_head = _trainable(model)
    return trainable - of_head if labels is None else trainable


def measure(model: PeftModel) -> Budget:
    """The budget of an adapted model as it stands, on any device."""
    trainable, head_parameters = _trainable(model)
    total = _count(model)
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            # PEFT keeps the untrained head beside the trained one; one of them is not part of the model.
            total -= _count(module.original_module)
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return Budget(
        trainable_parameters=trainable,
        head_parameters=head_parameters,
        total_parameters=total,
        adapter_bytes=sum(tensor.numel() * tensor.element_size() for tensor in state.values()),
        macs_per_second=_macs_per_second(model),
    )


def _without_weights(method: str) -> torch.device:
    """Where models without weights are made for a method: on the meta device, if it can start there."""
    return torch.device("cpu" if method in _FROM_VALUES else "meta")


def _adapted(
    method: str,
    backbone: str,
    build_head: Callable[[int], nn.Module],
    options: dict[str, Any] | None = None,
    backbone_options: dict[str, Any] | None = None,
) -> PeftModel:
    loaded = loading.load(backbone, weights=False, options=backbone_options, head=True)
    config = applying.configure(method, loaded, options)
    return applying.apply(ModelWithHead(loaded, build_head(loaded.width)), config)


def _trainable(model: PeftModel) -> tuple[int, int]:
    """Trainable parameters, and those of them that are the head's."""
    head = getattr(model.get_base_model(), "head", None)
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return trainable, 0 if head is None else _count(head.modules_to_save[model.active_adapter])


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _macs_per_second(model: PeftModel) -> int:
    """Half of the floating-point operations that PyTorch counts in matrix products, convolutions and attention.

    Of an utterance of ten seconds, or of as many as the model hears.
    """
    training = model.training
    model.eval()
    base = model.get_base_model()
    seconds = min(MACS_SECONDS, base.source.window or MACS_SECONDS)
    # PyTorch does not count its fused attention on CPUs; unfused it is the same matrix products on every device.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        base.run_example(math.ceil(seconds))
    model.train(training)
    return int(counter.get_total_flops() / 2 / seconds)
