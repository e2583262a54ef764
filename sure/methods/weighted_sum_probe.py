"""Weighted-sum probe (SUPERB, Yang et al. 2021): a learned mixture of all hidden states of a frozen backbone."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from sure.errors import SureError
from sure.heads import WeightedSum
from sure.method import MethodConfig, register
from sure.methods.linear_probe import ProbeLayer


@dataclass
class WeightedSumProbe(MethodConfig):
    """s3prl's Featurizer: sum over l of softmax(w)_l h_l, h_0 being the input of the first layer, w zero at first."""

    reads_every_layer: ClassVar[bool] = True
    roles: ClassVar[tuple[str, ...]] = ("backbone",)
    needs_head: ClassVar[bool] = True
    alone: ClassVar[bool] = True


def refuse_mixing_twice(model: PreTrainedModel, method: str, other: str) -> None:
    """Raises `SureError` where the task's head mixes all layers, as the method does; `other` would go with the head."""
    if getattr(model, "all_layers", False):
        raise SureError(
            f"{method} mixes all layers, and so does this task's head: choose one of the last hidden state (of speaker "
            f"verification's head=ecapa, xvector or mean, with layers=last), or {other} with it."
        )


class _WeightedSumLayer(ProbeLayer):
    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: MethodConfig) -> None:
        refuse_mixing_twice(model, "weighted_sum_probe", "--method linear_probe")
        super().__init__(base_layer, model, adapter_name, config)

    def new_adapter(self, config: MethodConfig) -> nn.Module:
        return WeightedSum(self.model_config.num_hidden_layers + 1)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.active is None:
            return super().forward(*args, **kwargs)
        output = super().forward(*args, output_hidden_states=True, **kwargs)
        mixture = self.sure_adapter[self.active](torch.stack(output.hidden_states))
        return BaseModelOutput(last_hidden_state=mixture)


register(WeightedSumProbe, _WeightedSumLayer)
