"""UniPELT (Mao et al. 2022, 2110.07577): an adapter, prefixes and LoRA, each let through by a gate of its own."""

from typing import ClassVar

from sure.method.composition import Composition


class Unipelt(Composition):
    """Theirs: bottleneck of width / 16, ten positions through a perceptron, rank 8 on query and value.

    With x what the feed-forward block reads, their adapter and its gate read h = LN(FFN(x) + x), and the layer hands on
    LN(g A(h) + FFN(x) + x). No module puts out that h before it is adapted, and layers that normalise first have none:
    here both read what the block puts out, FFN(x) + g A(FFN(x)). It has as many parameters.
    """

    made_of: ClassVar = {
        "bottleneck_adapter": {"placement": ["ffn"], "reduction": 16, "scale": "gated"},
        "prefix_tuning": {"preset": "unipelt", "gate": True},
        "gated_lora": {},
    }
