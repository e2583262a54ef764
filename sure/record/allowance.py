"""A budget of trainable parameters, as it is written on command lines."""

import math
import re

from sure.errors import SureError

_UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}


def parameters_of(budget: str | float, backbone: int) -> int:
    """Parameters that a budget allows: a share of the backbone's (`1%`), or a number (`0.9M`, `900k`, `900000`).

    Raises `SureError` for anything else.
    """
    number = re.fullmatch(r"([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([kMG%]?)", str(budget))
    allowed = math.nan
    if number:
        value, unit = float(number[1]), number[2]
        allowed = value / 100 * backbone if unit == "%" else value * _UNITS[unit]
    if not 0 < allowed < math.inf:
        raise SureError(
            f"budget={budget}: give a share of the backbone's parameters, such as 1%, or a number, such as 0.9M."
        )
    return int(allowed)
