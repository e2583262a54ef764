"""Full fine-tuning: every parameter of the backbone trains; the reference that the other methods are measured by."""

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn
from transformers import PreTrainedModel

from sure.method import AdapterLayer, MethodConfig, Published, register


@dataclass
class FullFinetuning(MethodConfig):
    """As SURE (Li et al. 2023) has it: its CNN trains too."""

    roles: ClassVar[tuple[str, ...]] = ("backbone",)
    alone: ClassVar[bool] = True
    published: ClassVar[tuple[Published, ...]] = (
        Published(315_703_947, "wav2vec2:large", 11, "SURE, Li et al. 2023"),
        Published(
            85_000_000,
            "audio_spectrogram_transformer:base",
            None,
            "Cappellazzo et al. 2023, table 1",
            rounded=1_000_000,
            difference="the study's windows are shorter, and have fewer positions",
        ),
    )


class FullFinetuningLayer(AdapterLayer):
    """Trains a copy of the backbone.

    The original is kept out of the module tree: it stays in main memory, where it costs an accelerator nothing, is
    counted nowhere, and comes to the device when adapters are first disabled.
    """

    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: MethodConfig) -> None:
        self._original = [base_layer]
        super().__init__(base_layer, model, adapter_name, config)
        del self._modules["base_layer"]

    def __getattr__(self, name: str) -> Any:
        return self._original[0] if name == "base_layer" else super().__getattr__(name)

    def new_adapter(self, config: MethodConfig) -> nn.Module:
        return copy.deepcopy(self.base_layer).requires_grad_(True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.active is not None:
            return self.sure_adapter[self.active](*args, **kwargs)
        device = next(self.sure_adapter.parameters()).device
        return self.base_layer.to(device)(*args, **kwargs)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """The trained backbone takes the place of the original."""
        self._original[0] = self.sure_adapter[(adapter_names or self.active_adapters)[0]]


register(FullFinetuning, FullFinetuningLayer)
