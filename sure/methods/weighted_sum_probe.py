"""Weighted-sum probe (SUPERB, Yang et al. 2021): a learned mixture of all hidden states of a frozen backbone."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from sure.methods import MethodConfig, register
from sure.methods.linear_probe import ProbeLayer


@dataclass
class WeightedSumProbe(MethodConfig):
    """s3prl's Featurizer: sum over l of softmax(w)_l h_l, h_0 being the input of the first layer, w zero at first."""

    roles: ClassVar[tuple[str, ...]] = ("backbone",)


class _WeightedSum(nn.Module):
    def __init__(self, states: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(states))

    def forward(self, hidden_states: tuple[Tensor, ...]) -> Tensor:
        """As many tensors of shape (batch, frames, width) as there are weights, to one."""
        return torch.einsum("l,lbtd->btd", self.weights.softmax(dim=0), torch.stack(hidden_states))


class _WeightedSumLayer(ProbeLayer):
    def new_adapter(self, config: MethodConfig) -> nn.Module:
        return _WeightedSum(self.model_config.num_hidden_layers + 1)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.active is None:
            return super().forward(*args, **kwargs)
        output = super().forward(*args, output_hidden_states=True, **kwargs)
        return BaseModelOutput(last_hidden_state=self.sure_adapter[self.active](output.hidden_states))


register(WeightedSumProbe, _WeightedSumLayer)
