"""Linear probe: the backbone stays as it is, in evaluation mode and without gradients; only the head trains."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from sure.method import AdapterLayer, MethodConfig, register


@dataclass
class LinearProbe(MethodConfig):
    """SUPERB's protocol (Yang et al. 2021) with the last hidden state alone."""

    roles: ClassVar[tuple[str, ...]] = ("backbone",)
    needs_head: ClassVar[bool] = True


class ProbeLayer(AdapterLayer):
    """A frozen backbone: no dropout, no SpecAugment, no gradients."""

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
