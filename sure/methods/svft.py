"""SVFT (Lingam et al. 2024, 2405.19597): a banded matrix between a weight's singular vectors.

U (diag(sigma) + sigmoid(g) M) V for W = U diag(sigma) V, as ESPnet has it for the benchmark of Wang, Watanabe and Van
hamme 2025 (2509.02830). M is zero at first, and so is g; W is what it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from sure.errors import SureError
from sure.method import register
from sure.method.linear import FactoredLayer, LinearConfig


@dataclass
class Svft(LinearConfig):
    """By default M is a diagonal, as in ESPnet's recipe: the singular values alone change.

    With n the smaller side of a weight and r off-diagonals it has (2r + 1) n - r (r + 1) + 1 parameters.
    """

    off_diagonals: Annotated[int, Field(ge=0)] = field(
        default=0, metadata={"help": "Diagonals of M on each side of the main one."}
    )

    dimension: ClassVar[str] = "off_diagonals"

    def sizes(self, width: int) -> Sequence[int]:
        return range(width)


class _Band(nn.Module):
    """sigmoid(g) M, of which only the entries in the band are held: diagonal by diagonal, from the lowest on."""

    def __init__(self, size: int, off_diagonals: int) -> None:
        super().__init__()
        if off_diagonals >= size:
            raise SureError(
                f"svft: off_diagonals ({off_diagonals}) must be below the smaller side of every weight ({size})."
            )
        self.offsets = range(-off_diagonals, off_diagonals + 1)
        self.lengths = [size - abs(offset) for offset in self.offsets]
        self.entries = nn.Parameter(torch.zeros(sum(self.lengths)))
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, vectors: Tensor) -> Tensor:
        """Its product with vectors: (..., size), in and out."""
        product = torch.zeros_like(vectors)
        for offset, length, diagonal in zip(self.offsets, self.lengths, self.entries.split(self.lengths), strict=True):
            # Entry i of the product has M[i, i + offset] times entry i + offset.
            column, row = max(offset, 0), max(-offset, 0)
            product = product + nn.functional.pad(diagonal * vectors.narrow(-1, column, length), (row, column))
        return self.gate.sigmoid() * product


class _SvftLayer(FactoredLayer):
    def new_adapter(self, config: Svft) -> nn.Module:
        return _Band(min(self.base_layer.weight.shape), config.off_diagonals)

    def change(self, adapter: nn.Module, inputs: Tensor) -> Tensor:
        return nn.functional.linear(adapter(nn.functional.linear(inputs, self.right)), self.left)


register(Svft, _SvftLayer)
