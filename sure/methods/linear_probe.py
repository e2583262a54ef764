"""Linear probe: the backbone stays as it is, in evaluation mode and without gradients; only the head trains."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import PreTrainedModel

from sure.errors import SureError
from sure.method import AdapterLayer, MethodConfig, register


@dataclass
class LinearProbe(MethodConfig):
    """SUPERB's protocol (Yang et al. 2021) with the last hidden state alone."""

    roles: ClassVar[tuple[str, ...]] = ("backbone",)
    needs_head: ClassVar[bool] = True
    alone: ClassVar[bool] = True


class ProbeLayer(AdapterLayer):
    """A frozen backbone: no dropout, no SpecAugment, no gradients."""

    mean_is_enough: ClassVar[bool] = True

    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: MethodConfig) -> None:
        if not isinstance(base_layer, PreTrainedModel):
            raise SureError("A probe keeps the whole backbone as it is; leave --method_options roles out.")
        super().__init__(base_layer, model, adapter_name, config)

    def new_adapter(self, config: MethodConfig) -> nn.Module:
        return nn.Identity()

    def train(self, mode: bool = True) -> "ProbeLayer":
        super().train(mode)
        self.base_layer.eval()
        return self

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            return self.base_layer(*args, **kwargs)


register(LinearProbe, ProbeLayer)
