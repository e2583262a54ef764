"""Which modules a method adapts: those that play the roles asked for, in the layers asked for, that it can adapt."""

import logging
import re
from typing import Any

from torch import nn

from sure.backbone import Backbone
from sure.errors import SureError

# Those of PEFT that adapt convolutions over time too.
_CONVOLUTIONS_TOO = {"hira", "loha", "lokr", "osf"}

_log = logging.getLogger("sure")


def modules_named(backbone: Backbone, targets: list[str] | str) -> list[str]:
    """The modules of a backbone that PEFT would adapt: a string is an expression for whole names, a list has ends."""
    names = [name for name, _ in backbone.named_modules()]
    if isinstance(targets, str):
        return [name for name in names if re.fullmatch(targets, name)]
    return [name for name in names if f".{name}".endswith(tuple(f".{target}" for target in targets))]


def layers_chosen(options: dict[str, Any]) -> list[tuple[int, int]]:
    """The layers that `layers` or `top` in the options choose, taken out of them: first and last of each range.

    A negative number counts from the end. PEFT's own `layers_to_transform` means the same, and is left in.
    """
    given = {name: options[name] for name in ("layers", "top", "layers_to_transform") if options.get(name) is not None}
    for name in ("layers", "top"):
        options.pop(name, None)
    if len(given) > 1 or options.get("layers_pattern"):
        raise SureError(f"--method_options {', '.join(given)}: one of layers=0-5 and top=6 chooses layers, no other.")
    if not given:
        return []
    ((name, value),) = given.items()
    if name == "top":
        ranges = [("-" + str(value), "-1")] if re.fullmatch("[1-9][0-9]*", str(value)) else [None]
    else:
        parts = value if isinstance(value, list) else str(value).split(",")
        found = [re.fullmatch(r"\s*(-?\d+)(?:-(-?\d+))?\s*", str(part)) for part in parts]
        ranges = [match and (match[1], match[2] or match[1]) for match in found]
    if not all(ranges):
        raise SureError(
            f"--method_options {name}={value}: layers are numbered from 0, such as layers=0-5 or layers=0,2,4; the "
            "last six are top=6, and 0--2 all but the last."
        )
    return [(int(low), int(high)) for low, high in ranges]


def linear_alone(name: str, backbone: Backbone, targets: list[str] | str) -> list[str] | str:
    """The linear maps among what a method would adapt, where others are among them that it cannot."""
    modules = dict(backbone.named_modules())
    found = modules_named(backbone, targets)
    linear = [place for place in found if isinstance(modules[place], nn.Linear)]
    if name in _CONVOLUTIONS_TOO or not linear or len(linear) == len(found):
        return targets
    _log.warning(
        "%s adapts the linear maps of %s's layers; the others are convolutions, which it cannot adapt.",
        *(name, backbone.name),
    )
    return linear


def in_layers(backbone: Backbone, targets: list[str] | str, ranges: list[tuple[int, int]]) -> list[str]:
    """Of the modules that a method would adapt, those in the layers chosen, of an encoder-decoder in either part."""
    layer = re.compile(
        rf"({'|'.join(backbone.modules(role) for role in backbone.roles if role.endswith('layer'))})(?:\..+)?"
    )
    # By stack of layers how many there are.
    layers = {}
    for name, _ in backbone.named_modules():
        if match := layer.fullmatch(name):
            stack, _, number = match[1].rpartition(".")
            layers[stack] = max(layers.get(stack, 0), int(number) + 1)
    chosen = {
        stack: {number for low, high in ranges for number in range(low % count, high % count + 1)}
        for stack, count in layers.items()
        if all(-count <= end < count for ends in ranges for end in ends)
    }
    found = []
    for name in modules_named(backbone, targets):
        if match := layer.fullmatch(name):
            stack, _, number = match[1].rpartition(".")
            if stack not in chosen:
                break
            if int(number) in chosen[stack]:
                found.append(name)
    else:
        if found:
            return found
    numbers = ", ".join(f"{stack}: 0 to {count - 1}" for stack, count in layers.items())
    raise SureError(
        f"--method_options: not all of the layers chosen are there; those of {backbone.name} are {numbers}."
    )


def refuse_absent(backbone: Backbone, option: str, chosen: list[str] | set[str] | str | None) -> None:
    """PEFT says nothing where one of several modules is not there."""
    if not chosen or chosen == "all-linear":
        return
    for target in [chosen] if isinstance(chosen, str) else chosen:
        sought = rf"(?:.*\.)?(?:{target})" if option.endswith("pattern") else target
        try:
            there = modules_named(backbone, sought if sought != target or isinstance(chosen, str) else [target])
        except re.error as error:
            raise SureError(f"--method_options {option}={target}: no regular expression ({error}).") from None
        if not there:
            ends = f"; for names that end in it write [{target}]" if isinstance(chosen, str) else ""
            raise SureError(
                f"--method_options {option}={target}: no module of {backbone.name} has this name{ends}. Parts by "
                f"their roles are simpler: roles=query,value (`sure backbones {backbone.family()}`)."
            )
