"""Parts of adapters that several places of a model have in common, such as the generators of a hypernetwork.

The first place of a group holds them and the others know of them, so that they are counted, trained and saved once.
Which is the first follows from the model and from what is adapted in it: it is the same when an adapter is read again.
"""

import re
from abc import abstractmethod
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from sure.method import AdapterLayer, MethodConfig


def stack_of(name: str) -> str:
    """The name of a place up to its layer's number, which is the encoder's or the decoder's: `encoder.layers`."""
    return re.split(r"\.\d+(?:\.|$)", name)[0]


class SharingLayer(AdapterLayer):
    """A layer whose adapters have a part in common, `adapter.common`, with those of the other places of its group.

    A subclass says what its group is; where the layer `is_first` of it, its `new_adapter` makes that part.
    """

    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: MethodConfig) -> None:
        name = next(name for name, module in model.named_modules() if module is base_layer)
        self.group = self.group_of(name, base_layer, config)
        same = (other for other in model.modules() if type(other) is type(self) and other.group == self.group)
        # One list for all of them, in which they are not registered.
        self.places = next((other.places for other in same), [])
        self.places.append(self)
        super().__init__(base_layer, model, adapter_name, config)

    @abstractmethod
    def group_of(self, name: str, base_layer: nn.Module, config: MethodConfig) -> str:
        """What is the same for places that share; `name` is the base layer's in the model: `encoder.layers.3.ffn`."""

    @property
    def is_first(self) -> bool:
        """Whether it holds what is shared."""
        return self.places[0] is self

    def add(self, adapter_name: str, config: MethodConfig) -> None:
        super().add(adapter_name, config)
        if not self.is_first:
            known: dict[str, Any] = vars(self.sure_adapter[adapter_name])
            # Past `nn.Module`, which would register it here too.
            known["common"] = self.places[0].sure_adapter[adapter_name].common
