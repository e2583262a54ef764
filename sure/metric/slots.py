"""The slots of a text such as `PLAY B-artist DIANA ROSS E-artist`, as SUPERB's metrics of slot filling read them."""

import re
from collections import defaultdict

_SLOT = re.compile(r"B-(\S+) (.+?) E-\1")


def slots(text: str) -> dict[str, list[str]]:
    """By type the values of its slots, in their order.

    A slot goes from its B to the first E of the same type; tags inside it are left out of its value. A tag that nothing
    closes is no slot, nor are two with nothing between them.
    """
    found = defaultdict(list)
    for kind, value in _SLOT.findall(re.sub(" +", " ", text)):
        found[kind].append(re.sub(r" E-\S+", "", re.sub(r"B-\S+ ", "", value)))
    return dict(found)
