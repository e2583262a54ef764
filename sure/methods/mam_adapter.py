"""Mix-and-match adapter (He et al. 2022, 2110.04366, section 4.6): prefixes at attention, an adapter beside the FFN."""

from typing import ClassVar

from sure.method import Preset
from sure.method.composition import Composition


class MamAdapter(Composition):
    """He et al.'s: 30 positions through a perceptron, bottleneck 512, scale 4; Peng et al.'s by preset."""

    made_of: ClassVar = {"prefix_tuning": {"preset": "mam"}, "bottleneck_adapter": {"preset": "parallel"}}
    presets: ClassVar[dict[str, Preset]] = {
        "he": Preset("He et al. 2022 (2110.04366)", {}),
        "peng": Preset(
            "Peng et al. 2023 (2210.16032), MAMAdapter of the first author's code, whose normalisations train too; "
            "bottleneck 128",
            {
                "prefix_tuning.preset": "peng",
                "bottleneck_adapter.preset": "peng_parallel",
                "bottleneck_adapter.placement": ["ffn"],
                "bottleneck_adapter.bottleneck_dimension": 128,
            },
        ),
    }
