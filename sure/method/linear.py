"""What methods that change linear maps share: where they go, how their change is added and merged, the maps' SVD."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import Tensor, nn
from transformers import PreTrainedModel

from sure.errors import SureError
from sure.method import AdapterLayer, MethodConfig, bare_type, innermost

# Every linear projection of a layer.
LINEAR_ROLES = ("query", "key", "value", "output", "ffn_in", "ffn_out")


@dataclass
class LinearConfig(MethodConfig):
    """Configuration of a method that changes linear maps; by default every one of a layer."""

    roles: ClassVar[tuple[str, ...]] = LINEAR_ROLES

    # Where a family has convolutions in these roles, they are left out unless a user names them.
    linear_only: ClassVar[bool] = True

    def sizes(self, width: int) -> Sequence[int]:
        return range(1, width + 1)


class LinearLayer(AdapterLayer):
    """Around an `nn.Linear`, whose output is changed by what a subclass makes of the input.

    Raises `SureError` where there is no linear map.
    """

    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: MethodConfig) -> None:
        if not isinstance(innermost(base_layer), nn.Linear):
            raise SureError(
                f"{bare_type(config.peft_type).lower()} changes linear maps, which a "
                f"{type(innermost(base_layer)).__name__} is not: name other parts, such as --method_options "
                "roles=query,value (`sure backbones`)."
            )
        super().__init__(base_layer, model, adapter_name, config)
        # The class of PEFT has one list for all.
        self.merged_adapters = []

    @abstractmethod
    def change(self, adapter: nn.Module, inputs: Tensor) -> Tensor:
        """What is added to the map's output: (..., inputs) -> (..., outputs)."""

    def forward(self, inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.disable_adapters and self.merged:
            self.unmerge()
        output = self.base_layer(inputs, *args, **kwargs)
        if self.active is None or self.merged:
            return output
        return output + self.change(self.sure_adapter[self.active], inputs)


class MergeableLinearLayer(LinearLayer):
    """Of a `change` that is linear in the input and the same for every frame, so that the weight can take it in."""

    @torch.no_grad()
    def change_of_weight(self, adapter: nn.Module) -> Tensor:
        """(outputs, inputs), as the weight: what becomes of each unit vector."""
        weight = self.base_layer.weight
        return self.change(adapter, torch.eye(weight.shape[1], device=weight.device, dtype=weight.dtype)).T

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the change to the base layer's weight; `safe_merge` refuses one that is not finite (`ValueError`)."""
        for name in check_adapters_to_merge(self, adapter_names):
            if name not in self.sure_adapter:
                continue
            merged = self.base_layer.weight + self.change_of_weight(self.sure_adapter[name])
            if safe_merge and not merged.isfinite().all():
                raise ValueError(f"The adapter {name} has values that are not finite.")
            self.base_layer.weight.copy_(merged)
            self.merged_adapters.append(name)

    @torch.no_grad()
    def unmerge(self) -> None:
        """Take it out again."""
        while self.merged_adapters:
            self.base_layer.weight.sub_(self.change_of_weight(self.sure_adapter[self.merged_adapters.pop()]))


class FactoredLayer(MergeableLinearLayer):
    """Around a linear map with W = `left` diag(`sigma`) `right`, its singular value decomposition, which stays.

    It is not saved with an adapter but made anew from the weight. Singular vectors are defined but for their signs, and
    their last digits depend on the machine: they are computed in double precision, with the largest entry of each
    column of `left` positive, so that an adapter means the same wherever it is loaded. Of a weight with equal singular
    values, such as an orthogonal one, this does not hold. A large backbone's take minutes.
    """

    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: MethodConfig) -> None:
        super().__init__(base_layer, model, adapter_name, config)
        # (outputs, rank), (rank,) and (rank, inputs); the rank is the smaller of both.
        for name, factor in zip(
            ("left", "sigma", "right"), singular_value_decomposition(base_layer.weight), strict=True
        ):
            self.register_buffer(name, factor, persistent=False)


class LowRank(nn.Module):
    """B A x, with A as PyTorch starts linear maps (Kaiming) and B zero, as LoRA has them."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.a = nn.Linear(inputs, rank, bias=False)
        self.b = nn.Linear(rank, outputs, bias=False)
        nn.init.kaiming_uniform_(self.a.weight, a=math.sqrt(5))
        nn.init.zeros_(self.b.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        return self.b(self.a(inputs))


@torch.no_grad()
def singular_value_decomposition(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U (outputs, rank), sigma (rank,) from the largest on, and V (rank, inputs); on the meta device their shapes."""
    matrix = weight.to("meta" if weight.is_meta else "cpu", torch.float64)
    # Tall, it takes a third of the time.
    wide = matrix.shape[0] < matrix.shape[1]
    left, sigma, right = torch.linalg.svd(matrix.T if wide else matrix, full_matrices=False)
    if wide:
        left, right = right.T, left.T
    signs = left.gather(0, left.abs().argmax(dim=0, keepdim=True)).sign()
    return tuple(factor.to(weight).contiguous() for factor in (left * signs, sigma, right * signs.T))
