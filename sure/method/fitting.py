"""The largest setting of a method within a budget of trainable parameters, those of a task's head not counted."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from sure.errors import SureError

# Layers of the two backbones whose difference is a layer. (WavLM's first layer has more than others, and its second
# keeps for a backward pass what further ones share.)
FEW, _MORE = 2, 3

# A value of a method's dimension: of most a whole number.
Size = int | float | str


class OutOfReach(SureError):
    """A method has no setting for a budget."""


def largest_within(allowed: int, sizes: Sequence[Size], count: Callable[[Size], int], what: str) -> Size:
    """Of `sizes`, which stand in the order of what they cost, the last that costs no more than `allowed`.

    `count` gives the trainable parameters of a size. Raises `OutOfReach`, naming the range of `what`, where the budget
    is below the smallest or above the largest.
    """
    least, most = count(sizes[0]), count(sizes[-1])
    _refuse_beyond(allowed, (least, sizes[0]), (most, sizes[-1]), what)
    if most == allowed:
        return sizes[-1]
    low, high, under, over = 0, len(sizes) - 1, least, most
    for turn in itertools.count():
        if high - low == 1:
            return sizes[low]
        # Most counts grow in a straight line: the first guess is right, the second shows it. Others are halved.
        straight = low + (allowed - under) * (high - low) // (over - under)
        middle = max(straight, low + 1) if turn < 2 else (low + high) // 2
        if (found := count(sizes[middle])) <= allowed:
            low, under = middle, found
        else:
            high, over = middle, found


def shared(
    allowed: int, parts: dict[str, tuple[Sequence[Size], Callable[[Size], int]]], besides: int, what: str
) -> dict[str, Size]:
    """For each of several `parts`, of which `largest_within` would be asked alone, the largest size within its share.

    `besides` are parameters that are there whatever the sizes. Each part has what its smallest size costs, and of what
    then remains an equal share; what one cannot use the others have, until one size more of any would be too many.
    Raises `OutOfReach` where the budget is below the smallest sizes of all or above the largest.
    """
    ends = {part: (count(sizes[0]), count(sizes[-1])) for part, (sizes, count) in parts.items()}
    said = [", ".join(f"{part}={sizes[end]}" for part, (sizes, _) in parts.items()) for end in (0, -1)]
    least, most = (besides + sum(costs) for costs in zip(*ends.values(), strict=True))
    _refuse_beyond(allowed, (least, said[0]), (most, said[1]), what)
    taken, left, found = {part: least for part, (least, _) in ends.items()}, allowed - least, {}
    # Those that can use least come first, and leave the others more; what falls between sizes goes round once again.
    narrow = sorted(parts, key=lambda part: ends[part][1] - ends[part][0])
    turns = [(part, len(parts) - turn) for turn, part in enumerate(narrow)] + [(part, 1) for part in parts]
    for part, sharing in turns:
        sizes, count = parts[part]
        found[part] = largest_within(min(taken[part] + left // sharing, ends[part][1]), sizes, count, what)
        left -= count(found[part]) - taken[part]
        taken[part] = count(found[part])
    return {part: found[part] for part in parts}


def interpolated(
    sizes: Sequence[Size], count: Callable[[Size], int], of_few: Callable[[Size], int]
) -> Callable[[Size], int]:
    """`count`, which is asked of no further size once three have shown that it grows in a straight line, or four that
    it is a polynomial of the second degree.

    It is one for most methods: a dimension has its own parameters, and at most so many for each pair of its values.
    Others bend otherwise, and are counted size by size. `of_few` counts fewer layers, which show it as well.
    """
    count, of_few, last = functools.cache(count), functools.cache(of_few), len(sizes) - 1
    if last < 6:
        return count

    @functools.cache
    def known() -> list[tuple[Size, int]] | None:
        seen = [sizes[0], sizes[-1]]
        for test in (sizes[last // 2], sizes[last // 3]):
            if _through([(size, of_few(size)) for size in seen], test) == of_few(test):
                return [(size, count(size)) for size in seen]
            seen.append(test)
        return None

    def counted(size: Size) -> int:
        if size in (sizes[0], sizes[-1]) or (points := known()) is None:
            return count(size)
        return int(_through(points, size))

    return counted


def _refuse_beyond(allowed: int, smallest: tuple[int, Size], largest: tuple[int, Size], what: str) -> None:
    (least, small), (most, large) = smallest, largest
    if not least <= allowed <= most:
        raise OutOfReach(
            f"{what} has {least:,} ({small}) to {most:,} ({large}) parameters on this backbone; the budget is "
            f"{allowed:,}."
        )


def _through(points: Sequence[tuple[float, int]], place: float) -> Fraction:
    """The polynomial through points, by Lagrange."""
    places = [Fraction(at) for at, _ in points]
    return sum(
        value * math.prod((Fraction(place) - other) / (at - other) for other in places if other != at)
        for at, (_, value) in zip(places, points, strict=True)
    )


def of_depth(depth: int, measure: Callable[[int], Sequence[int]]) -> list[int]:
    """What `measure` gives of so many layers, from what it gives of two and of three: every further one costs alike.

    For what is the same in every layer, such as a method's parameters where it adapts them all.
    """
    if depth <= _MORE:
        return list(measure(depth))
    return [few + (depth - FEW) * (more - few) for few, more in zip(measure(FEW), measure(_MORE), strict=True)]
