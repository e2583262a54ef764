"""Pseudo features: learned vectors among the features of the CNN (P-adapter of ELP-adapters, Inoue et al. 2024).

Of the P-adapter (2407.21066) it is known here that it 'appends pseudo features to the CNN features'; all else is this
project's reading. They are free vectors, the same for every utterance, that go through the frozen feature projection,
the positional convolution and all layers with the frames, and are dropped behind the last layer. They stand before the
first frame, not behind the last, which would depend on the padding of a batch.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from transformers import PreTrainedModel

from sure.backbone.padding import lengthened_mask
from sure.errors import SureError
from sure.method import AdapterLayer, MethodConfig, register


@dataclass
class PseudoFeatures(MethodConfig):
    """Ten vectors from N(0, 1), which most feature projections normalise."""

    roles: ClassVar[tuple[str, ...]] = ("encoder",)
    dimension: ClassVar[str] = "frames"

    frames: PositiveInt = field(default=10, metadata={"help": "How many stand before the first frame."})


class _PseudoFeaturesLayer(AdapterLayer):
    container = nn.ParameterDict

    def __init__(
        self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: PseudoFeatures
    ) -> None:
        if not hasattr(base_layer, "layers"):
            raise SureError(
                f"pseudo_features are put before all layers, which a {type(base_layer).__name__} does not hold: choose "
                "--method_options roles=encoder (`sure backbones`)."
            )
        self.source = model.source
        super().__init__(base_layer, model, adapter_name, config)

    def new_adapter(self, config: PseudoFeatures) -> nn.Parameter:
        width = self.source.model.feature_projection.projection.in_features
        return nn.Parameter(torch.randn(config.frames, width))

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> Any:
        if self.active is None:
            return self.base_layer(hidden_states, attention_mask=attention_mask, **kwargs)
        features = self.sure_adapter[self.active]
        more = len(features)
        # With dropout each utterance has its own.
        projected = self.source.model.feature_projection(features.expand(len(hidden_states), -1, -1))
        # Some families give the normalised features too.
        projected = projected[0] if isinstance(projected, tuple) else projected
        longer = torch.cat([projected.to(hidden_states.dtype), hidden_states], dim=1)
        if attention_mask is not None:
            attention_mask = lengthened_mask(attention_mask, more)
        with self.padding.lengthened(more, *self.get_base_layer().modules()):
            output = self.base_layer(longer, attention_mask=attention_mask, **kwargs)
        if isinstance(output, tuple):
            return output[0][:, more:], *output[1:]
        output.last_hidden_state = output.last_hidden_state[:, more:]
        return output


register(PseudoFeatures, _PseudoFeaturesLayer)
