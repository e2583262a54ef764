"""BitFit (Ben Zaken et al. 2022): every bias of the backbone trains, nothing else.

Biases of recurrent layers, which AMCRN has, stay frozen.
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import nn
from torch.func import functional_call

from sure.backbone import Backbone
from sure.method import AdapterLayer, MethodConfig, Published, register


@dataclass
class BitFit(MethodConfig):
    """Biases of projections, normalisations and convolutions alike."""

    roles: ClassVar[tuple[str, ...]] = ("backbone",)
    published: ClassVar[tuple[Published, ...]] = (
        Published(
            102_000,
            "audio_spectrogram_transformer:base",
            None,
            "Cappellazzo et al. 2023, table 1",
            rounded=1000,
            difference="the bias of the patches' convolution (768), which theirs leaves out",
        ),
    )

    def targets(self, backbone: Backbone, roles: tuple[str, ...]) -> list[str]:
        """Every module that has a bias of its own, in the parts named by `roles`."""
        inside = re.compile(rf"(?:{super().targets(backbone, roles)})(?:\..*)?")
        return [
            name
            for name, module in backbone.named_modules()
            if isinstance(getattr(module, "bias", None), nn.Parameter) and inside.fullmatch(name)
        ]


class _BitFitLayer(AdapterLayer):
    """Runs the base layer with its own copy of the bias."""

    container = nn.ParameterDict
    copies_bias = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # The class of PEFT has one list for all.
        self.merged_adapters = []
        self._own_bias: torch.Tensor | None = None

    def new_adapter(self, config: MethodConfig) -> nn.Parameter:
        return nn.Parameter(self.get_base_layer().bias.detach().clone())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.disable_adapters and self.merged:
            self.unmerge()
        if self.active is None or self.merged:
            return self.base_layer(*args, **kwargs)
        # Where another method's layer is between, the bias is deeper in.
        deep = next(name for name, module in self.base_layer.named_modules() if module is self.get_base_layer())
        bias = f"{deep}.bias".removeprefix(".")
        return functional_call(self.base_layer, {bias: self.sure_adapter[self.active]}, args, kwargs)

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Write the trained bias into the base layer; `safe_merge` refuses one that is not finite (`ValueError`)."""
        for name in check_adapters_to_merge(self, adapter_names):
            if name not in self.sure_adapter:
                continue
            if safe_merge and not self.sure_adapter[name].isfinite().all():
                raise ValueError(f"The adapter {name} has values that are not finite.")
            bias = self.get_base_layer().bias
            if not self.merged:
                self._own_bias = bias.clone()
            bias.copy_(self.sure_adapter[name])
            self.merged_adapters.append(name)

    @torch.no_grad()
    def unmerge(self) -> None:
        """Write the base layer's own bias back."""
        if self.merged:
            self.get_base_layer().bias.copy_(self._own_bias)
            self.merged_adapters.clear()


register(BitFit, _BitFitLayer)
