"""CNN adapters of CHAPTER (Chen et al. 2022, 2212.01282): a second convolution block beside each of the CNN.

x_{i+1} = block_i(x_i) + s adapter_i(x_i), adapter_i being a block of the same recipe (convolution, normalisation where
the block has one, GELU) with its convolution zero and s = 0.01. So it is in the first author's code, which came out
weeks before the paper; that it is the paper's exact form is likely and not confirmed. The paper's adapters of the
transformer layers are `bottleneck_adapter` with `preset=chapter`.

The backward pass runs through the whole CNN, which others spare. At the start a normalisation in an adapter reads zeros
alone and divides by the root of its epsilon, so that the first step's gradient of the convolution is 316 times what the
scale leaves of it.
"""

import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import PreTrainedModel

from sure.errors import SureError
from sure.method import AdapterLayer, MethodConfig, register


@dataclass
class CnnAdapter(MethodConfig):
    """It starts as the identity, and costs as much as the CNN itself."""

    roles: ClassVar[tuple[str, ...]] = ("cnn_block",)

    scale: float = field(default=0.01, metadata={"help": "Factor of what an adapter gives."})


class _CnnAdapterLayer(AdapterLayer):
    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: CnnAdapter) -> None:
        if not isinstance(getattr(base_layer, "conv", None), nn.Conv1d):
            raise SureError(
                f"cnn_adapter lies beside blocks of a CNN on the waveform, which a {type(base_layer).__name__} is not: "
                "leave --method_options roles out."
            )
        super().__init__(base_layer, model, adapter_name, config)

    def new_adapter(self, config: CnnAdapter) -> nn.Module:
        # A normalisation that is told where the padding is stays so.
        block = copy.deepcopy(self.base_layer)
        nn.init.zeros_(block.conv.weight)
        if block.conv.bias is not None:
            nn.init.zeros_(block.conv.bias)
        if hasattr(block, "layer_norm"):
            block.layer_norm.reset_parameters()
        block.scale = config.scale
        return block

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(batch, channels, samples) -> (batch, channels, fewer samples)."""
        output = self.base_layer(hidden_states, *args, **kwargs)
        if self.active is None:
            return output
        adapter = self.sure_adapter[self.active]
        return output + adapter.scale * adapter(hidden_states)


register(CnnAdapter, _CnnAdapterLayer)
