"""AdapterBias (Fu et al. 2022, 2205.00305): a shift of the feed-forward block's output, weighted for each frame.

W_2 u + v (w . u + c), u being what the block's last map reads; v is one vector for a layer, w . u + c a number.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sure.errors import SureError
from sure.method import AdapterLayer, MethodConfig, Preset, innermost, register


@dataclass
class AdapterBias(MethodConfig):
    """As in the paper v is zero at first, and the layer what it was. The paper also trains layer normalisations."""

    roles: ClassVar[tuple[str, ...]] = ("ffn_out",)
    presets: ClassVar[dict[str, Preset]] = {
        "paper": Preset("Fu et al. 2022 (2205.00305), without its layer normalisations", {}),
        "speech": Preset(
            "Chen et al. 2022 (2210.06175) as their code has it: v is one at first, so that it starts elsewhere",
            {"start": "ones"},
        ),
    }

    reads: Literal["hidden", "output"] = field(
        default="hidden", metadata={"help": "What w reads: the block's hidden activation, or its output."}
    )
    start: Literal["zeros", "ones"] = field(default="zeros", metadata={"help": "v at first."})


class _AdapterBias(nn.Module):
    def __init__(self, read: int, width: int, start: str) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(width) if start == "zeros" else torch.ones(width))
        self.weight = nn.Linear(read, 1)

    def forward(self, read: Tensor) -> Tensor:
        """(batch, frames, read) -> (batch, frames, width)."""
        return self.vector * self.weight(read)


class _AdapterBiasLayer(AdapterLayer):
    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: AdapterBias) -> None:
        shifted = innermost(base_layer)
        if not isinstance(shifted, nn.Linear | nn.Conv1d):
            raise SureError(
                f"adapter_bias shifts what a linear map puts out, which a {type(shifted).__name__} is not: name other "
                "parts, such as --method_options roles=output (`sure backbones`)."
            )
        self.reads_output = config.reads == "output"
        # A convolution over time has its channels before its frames.
        self.channels_first = isinstance(shifted, nn.Conv1d)
        super().__init__(base_layer, model, adapter_name, config)

    def new_adapter(self, config: AdapterBias) -> nn.Module:
        # (outputs, inputs), and of a convolution its taps
        width, read = self.get_base_layer().weight.shape[:2]
        return _AdapterBias(width if self.reads_output else read, width, config.start)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        output = self.base_layer(hidden_states, *args, **kwargs)
        if self.active is None:
            return output
        read, adapter = output if self.reads_output else hidden_states, self.sure_adapter[self.active]
        return output + (adapter(read.transpose(1, 2)).transpose(1, 2) if self.channels_first else adapter(read))


register(AdapterBias, _AdapterBiasLayer)
