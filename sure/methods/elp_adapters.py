"""ELP-adapters (Inoue et al. 2024, 2407.21066): in the layers, from each layer to the head, and before the first frame.

E-adapters serve what is said, L-adapters who says it and how; the P-adapter adds pseudo features to the CNN's. E and L
are those of the earlier paper and its release (Otake, Kawakami and Inoue 2023); P is this project's reading.
"""

from typing import ClassVar

from sure.method import Preset, Published
from sure.method.composition import Composition

_EARLIER = "Otake, Kawakami and Inoue 2023 (adapter-wavlm)"


class ElpAdapters(Composition):
    """All three, E-adapters in all layers but the last; the normalisations of every layer train, the last one's too."""

    needs_head: ClassVar[bool] = True
    made_of: ClassVar = {
        "bottleneck_adapter": {"preset": "e_adapter", "layers": "0--2"},
        # It has no E-adapter, but an L-adapter as all have.
        "ln_tuning": {"layers": "-1"},
        "layer_output_adapter": {"preset": "l_adapter"},
        "pseudo_features": {},
    }
    published: ClassVar[tuple[Published, ...]] = (
        Published(
            9_130_000,
            "wavlm:base",
            None,
            "adapter-wavlm, Otake et al. 2023",
            "el",
            rounded=10_000,
            difference="the map from 512 dimensions to the width (393,984), in the release the head's",
        ),
    )
    presets: ClassVar[dict[str, Preset]] = {
        "elp": Preset("Inoue et al. 2024 (2407.21066)", {}),
        "el": Preset(f"{_EARLIER}: E and L", {"parts": ["bottleneck_adapter", "ln_tuning", "layer_output_adapter"]}),
    }
