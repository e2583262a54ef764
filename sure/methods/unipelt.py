"""UniPELT (Mao et al. 2022, 2110.07577): an adapter, prefixes and LoRA, each let through by a gate of its own."""

from typing import ClassVar

from sure.method.composition import Composition


class Unipelt(Composition):
    """Theirs: bottleneck of width / 16, ten positions through a perceptron, rank 8 on query and value.

    Their adapter reads the normalised sum of the feed-forward block and its input, which is no module's output; here it
    reads what the block puts out.
    """

    made_of: ClassVar = {
        "bottleneck_adapter": {"placement": ["ffn"], "reduction": 16, "scale": "gated"},
        "prefix_tuning": {"preset": "unipelt", "gate": True},
        "gated_lora": {},
    }
