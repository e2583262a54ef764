"""Of PEFT's methods, which option makes each larger or smaller, for a budget, and the values that it can have."""

import functools
import math
from collections.abc import Sequence

import peft
from torch import nn

from sure.backbone import Backbone
from sure.method import targeting
from sure.method.fitting import Size

# The option of which they have more or less. Those that are not here have one size, such as IA3.
DIMENSIONS = dict.fromkeys(
    (
        *("deft", "delora", "glora", "gralora", "hira", "hra", "lily", "loha", "lokr", "lora", "miss", "peanut"),
        *("psoft", "pvera", "randlora", "shira", "vera"),
    ),
    "r",
) | {
    "boft": "boft_block_size",
    "c3a": "block_size",
    "fourierft": "n_frequency",
    "frod": "sparse_rate",
    "oft": "oft_block_size",
    "osf": "effective_rank",
    "road": "variant",
    "supertuning": "sparsity",
    "tinylora": "u",
    "unilora": "theta_d_length",
    "vblora": "num_vectors",
    "waveft": "n_frequency",
}

# Of which no option alone says the size: how AdaMSS divides a weight, and so what trains of it, depends on its values.
CHANGED_BY = {"adamss": ("r", "num_subspaces", "subspace_rank")}

# PEFT's HRA starts symmetrically only with an even number of reflections; of AdaLoRA's ranks a third falls away.
_STEPS = {"hra": 2, "adalora": 3}

# Of how many parts of a weight some train: a power of two, in which widths have whole shares, and counts grow evenly.
_PARTS = 8192


def sizes(name: str, config: peft.PeftConfig, backbone: Backbone) -> Sequence[Size]:
    """Values of a method's dimension in the order of what they cost, for what its config adapts of a backbone.

    Of those that cost the same the one that leaves out least; of most methods, ranks up to the backbone's width.
    """
    width, shapes = backbone.width, _shapes(backbone, config)
    side, entries = min(map(min, shapes)), min(map(math.prod, shapes))
    match name:
        case "gralora":
            return range(config.gralora_k, width + 1, config.gralora_k)
        case "psoft":
            return range(1, side + 1)
        case "osf":
            # What is left of a weight's directions trains.
            return range(side - 1, 0, -1)
        case "randlora":
            # As many bases as give a full rank: of ranks with as many, the smallest.
            return sorted({-(-side // bases) for bases in range(1, side + 1)}, reverse=True)
        case "shira":
            # As many entries as a LoRA of this rank has, and no more than there are.
            return range(1, min(math.prod(shape) // sum(shape) for shape in shapes) + 1)
        case "pvera" | "vera" | "tinylora":
            # Of what is random and frozen there can be more than the width.
            return range(1, 4 * width + 1)
        case "vblora":
            return range(config.topk, 4 * width + 1)
        case "unilora":
            # All entries of the LoRA that its vector fills.
            return range(1, config.r * sum(map(sum, shapes)) + 1)
        case "fourierft" | "waveft":
            return range(1, entries + 1)
        case "boft" | "oft":
            # A block of one has nothing to rotate.
            return [size for size in _divisors(inputs for inputs, _ in shapes) if size > 1]
        case "c3a":
            return _divisors(side for shape in shapes for side in shape)[::-1]
        case "frod":
            # The diagonal trains besides.
            return [part / _PARTS for part in range(1, _PARTS - _PARTS // side)]
        case "supertuning":
            # One entry at least of the smallest weight.
            return [1 - part / _PARTS for part in range(_PARTS // entries + 1, _PARTS)]
        case "road":
            return ["road_1", "road_2", "road_4"]
    step = _STEPS.get(name, 1)
    return range(step, width + 1, step)


def _shapes(backbone: Backbone, config: peft.PeftConfig) -> list[tuple[int, int]]:
    """Inputs and outputs of the linear maps that a config names; of all of them where it names none."""
    modules = dict(backbone.named_modules())
    named = {place: modules[place] for place in targeting.modules_named(backbone, config.target_modules)}
    for places in (named, modules):
        found = [(one.in_features, one.out_features) for one in places.values() if isinstance(one, nn.Linear)]
        if found:
            return found
    return [(backbone.width, backbone.width)]


def _divisors(numbers: Sequence[int]) -> list[int]:
    common = functools.reduce(math.gcd, numbers)
    return [size for size in range(1, common + 1) if common % size == 0]
