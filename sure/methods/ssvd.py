"""SSVD (Wang, Watanabe and Van hamme 2025, 2509.02830): the largest singular values change, their input side rotates.

U (diag(sigma) + sigmoid(g) diag(s)) R V for W = U diag(sigma) V, of the k largest singular values. R = I - 2 K, K being
skew-symmetric, is a rotation to first order (Cayley). All as ESPnet's release has it.
"""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from sure.errors import SureError
from sure.method import register
from sure.method.linear import FactoredLayer, LinearConfig


@dataclass
class Ssvd(LinearConfig):
    """k + k (k - 1) / 2 + 1 parameters for each weight; k is ESPnet's 0.4 of the smaller side unless given.

    As in the release s starts as Kaiming has it, from -sqrt(6 / k) to sqrt(6 / k), with K and g at zero: the singular
    values are not quite the pretrained ones at first. And where a map has fewer outputs than inputs its transpose is
    decomposed, so that R is on the side of the outputs. What the paper says of either was not seen.
    """

    k: PositiveInt | None = field(default=None, metadata={"help": "Singular values that change."})
    rotation_ratio: Annotated[float, Field(gt=0, le=1)] = field(
        default=0.4, metadata={"help": "Their share of all, where k is not given."}
    )

    dimension: ClassVar[str] = "k"


class _Rotation(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.shift = nn.Parameter(torch.empty(size))
        nn.init.kaiming_uniform_(self.shift.unsqueeze(0))
        # Of K above the diagonal, row by row.
        self.skew = nn.Parameter(torch.zeros(size * (size - 1) // 2))
        self.gate = nn.Parameter(torch.zeros(()))

    def sigma(self, sigma: Tensor) -> Tensor:
        """The singular values, changed: (size,), in and out."""
        return sigma + self.gate.sigmoid() * self.shift

    def rotation(self) -> Tensor:
        """I - 2 K: (size, size)."""
        square = {"device": self.skew.device, "dtype": self.skew.dtype}
        above = torch.ones(self.size, self.size, **square).triu(1).bool()
        upper = torch.zeros(self.size, self.size, **square).masked_scatter(above, self.skew)
        return torch.eye(self.size, **square) - 2 * (upper - upper.T)


class _SsvdLayer(FactoredLayer):
    def new_adapter(self, config: Ssvd) -> nn.Module:
        all_of_them = min(self.base_layer.weight.shape)
        size = config.k or max(1, int(all_of_them * config.rotation_ratio))
        if size > all_of_them:
            raise SureError(f"ssvd: k ({size}) must not exceed the smaller side of any weight ({all_of_them}).")
        return _Rotation(size)

    def change(self, adapter: nn.Module, inputs: Tensor) -> Tensor:
        left, sigma, right = self.left[:, : adapter.size], self.sigma[: adapter.size], self.right[: adapter.size]
        outputs, read = self.base_layer.weight.shape
        changed, rotation = adapter.sigma(sigma), adapter.rotation()
        core = changed.unsqueeze(1) * rotation if outputs >= read else rotation.T * changed
        return nn.functional.linear(
            nn.functional.linear(nn.functional.linear(inputs, right), core - sigma.diag()), left
        )


register(Ssvd, _SsvdLayer)
