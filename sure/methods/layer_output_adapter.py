"""Adapters on the way from each layer to the head (Otake, Kawakami and Inoue 2023), and a mixture of what they give.

sum over l of softmax(a)_l A_l(h_l); h_l is what layer l hands on, the last one after the encoder's last normalisation
where there is one; the input of the first layer is not among them. a is equal at first.

l_adapter   A(h) = LN(f(W h + b)), W from N(0, 0.001) (adapter-wavlm, the first author's code; taken up in ELP-adapters,
            Inoue et al. 2024, 2407.21066); one linear map takes the sum back to the width, so that every head fits. In
            the release that map is the head's, and no part of its counts.
inter       A(h) = h + Up(f(Down(h))), Up zero at first. That adapters sit at the outputs of all layers is the word of
            Sang and Hansen (2024, 2403.00293; UniPET-SPK, 2501.16542); the equation and its sizes are this project's
            reading.

By itself it leaves nothing to learn within the backbone, and no backward pass goes through it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from sure.backbone.padding import Padding
from sure.errors import SureError
from sure.heads import WeightedSum, start_normal
from sure.method import AdapterLayer, MethodConfig, Preset, Published, register
from sure.method.placement import ACTIVATIONS
from sure.methods.bottleneck_adapter import Bottleneck, BottleneckAdapter
from sure.methods.weighted_sum_probe import refuse_mixing_twice


@dataclass
class LayerOutputAdapter(MethodConfig):
    """Unless told otherwise the L-adapters of Otake, Kawakami and Inoue (2023), without their E-adapters."""

    reads_every_layer: ClassVar[bool] = True
    roles: ClassVar[tuple[str, ...]] = ("backbone",)
    dimension: ClassVar[str | None] = "bottleneck_dimension"
    needs_head: ClassVar[bool] = True
    presets: ClassVar[dict[str, Preset]] = {
        "l_adapter": Preset("L-adapters alone (Otake, Kawakami and Inoue 2023, adapter-wavlm)", {}),
        "inter": Preset(
            "the Inter adapter of Sang and Hansen (2403.00293, 2501.16542), in this project's reading of it",
            {"form": "inter", "bottleneck_dimension": 128},
        ),
    }
    published: ClassVar[tuple[Published, ...]] = (
        Published(
            4_740_000,
            "wavlm:base",
            None,
            "adapter-wavlm, Otake et al. 2023",
            rounded=10_000,
            difference="the map from 512 dimensions to the width (393,984), in the release the head's",
        ),
    )

    form: Literal["l_adapter", "inter"] = field(
        default="l_adapter", metadata={"help": "What lies on each way: LN(f(W h)), or h + Up(f(Down(h)))."}
    )
    bottleneck_dimension: PositiveInt = field(
        default=512, metadata={"help": "Size of what W gives, or between Down and Up."}
    )
    activation: Literal["relu", "gelu", "silu"] = field(default="relu", metadata={"help": "f."})


class _LAdapter(nn.Module):
    def __init__(self, width: int, config: LayerOutputAdapter) -> None:
        super().__init__()
        self.down = nn.Linear(width, config.bottleneck_dimension)
        start_normal(self.down, deviation=0.001)
        self.activation = ACTIVATIONS[config.activation]()
        self.norm = nn.LayerNorm(config.bottleneck_dimension)

    def forward(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        """(batch, frames, width) -> (batch, frames, bottleneck_dimension)."""
        return self.norm(self.activation(self.down(hidden_states)))


class _InterAdapter(Bottleneck):
    def __init__(self, width: int, config: LayerOutputAdapter) -> None:
        size, activation = config.bottleneck_dimension, config.activation
        super().__init__(
            width, BottleneckAdapter(bottleneck_dimension=size, activation=activation, initialisation="lora")
        )

    def forward(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        """(batch, frames, width), in and out."""
        return super().forward(hidden_states, hidden_states, padding)


class _Ways(nn.Module):
    """From every layer to the head."""

    def __init__(self, width: int, layers: int, config: LayerOutputAdapter) -> None:
        super().__init__()
        inter = config.form == "inter"
        self.adapters = nn.ModuleList((_InterAdapter if inter else _LAdapter)(width, config) for _ in range(layers))
        self.mixture = WeightedSum(layers)
        self.to_width = nn.Identity() if inter else nn.Linear(config.bottleneck_dimension, width)

    def forward(self, hidden_states: Sequence[Tensor], padding: Padding) -> Tensor:
        """What the layers hand on, each (batch, frames, width), to one such tensor."""
        adapted = [adapter(states, padding) for adapter, states in zip(self.adapters, hidden_states, strict=True)]
        return self.to_width(self.mixture(torch.stack(adapted)))


class _LayerOutputLayer(AdapterLayer):
    def __init__(
        self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: LayerOutputAdapter
    ) -> None:
        refuse_mixing_twice(model, "layer_output_adapter", "another method")
        super().__init__(base_layer, model, adapter_name, config)
        if not isinstance(self.get_base_layer(), PreTrainedModel):
            raise SureError(
                "layer_output_adapter lies between the whole backbone and the head; leave --method_options roles out."
            )

    def new_adapter(self, config: LayerOutputAdapter) -> nn.Module:
        return _Ways(self.model_config.hidden_size, self.model_config.num_hidden_layers, config)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.active is None:
            return self.base_layer(*args, **kwargs)
        output = self.base_layer(*args, output_hidden_states=True, **kwargs)
        mixture = self.sure_adapter[self.active](output.hidden_states[1:], self.padding)
        return BaseModelOutput(last_hidden_state=mixture)


register(LayerOutputAdapter, _LayerOutputLayer)
