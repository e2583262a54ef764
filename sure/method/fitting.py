"""The largest setting of a method within a budget of trainable parameters, those of a task's head not counted."""

import re
from collections.abc import Callable, Sequence

from sure.errors import SureError

_UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}


class OutOfReach(SureError):
    """A method has no setting for a budget."""


def parameters_of(budget: str | float, backbone: int) -> int:
    """Parameters that a budget allows: a share of the backbone's (`1%`), or a number (`0.9M`, `900k`, `900000`).

    Raises `SureError` for anything else.
    """
    number = re.fullmatch(r"([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([kMG%]?)", str(budget))
    if not number or not float(number[1]):
        raise SureError(
            f"budget={budget}: give a share of the backbone's parameters, such as 1%, or a number, such as 0.9M."
        )
    value, unit = float(number[1]), number[2]
    return int(value / 100 * backbone if unit == "%" else value * _UNITS[unit])


def largest_within(allowed: int, sizes: Sequence[int], count: Callable[[int], int], what: str) -> int:
    """Of `sizes`, which stand in the order of what they cost, the last that costs no more than `allowed`.

    `count` gives the trainable parameters of a size. Raises `OutOfReach`, naming the range of `what`, where the budget
    is below the smallest or above the largest.
    """
    least, most = count(sizes[0]), count(sizes[-1])
    if not least <= allowed <= most:
        raise OutOfReach(
            f"{what} has {least:,} ({sizes[0]}) to {most:,} ({sizes[-1]}) parameters on this backbone; the budget is "
            f"{allowed:,}."
        )
    low, high = 0, len(sizes)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(sizes[middle]) <= allowed else (low, middle)
    return sizes[low]
