"""UniPET-SPK (Sang and Hansen 2025, 2501.16542): inner and inter adapters and speaker prompts, each behind a gate.

What was seen of the paper is its summary: two kinds of parallel adapters, of features within the layers and of what all
layers put out; trainable prompts in the input of each; a learned gate in each layer. Sizes, starts and the gate's
equation are this project's reading: UniPELT's gates, and He et al.'s parallel adapter (2110.04366).
"""

from typing import ClassVar

from sure.method import Preset
from sure.method.composition import Composition


class UnipetSpk(Composition):
    """All three; or its earlier form without prompts and gates (`preset=inner_inter`)."""

    needs_head: ClassVar[bool] = True
    made_of: ClassVar = {
        "bottleneck_adapter": {
            "placement": ["ffn"],
            "insertion": "parallel",
            "bottleneck_dimension": 128,
            "initialisation": "lora",
            "scale": "gated",
        },
        "prompt_tuning": {"preset": "deep_speaker_prompting", "gate": True},
        "layer_output_adapter": {"preset": "inter"},
    }
    presets: ClassVar[dict[str, Preset]] = {
        "unipet_spk": Preset("Sang and Hansen 2025 (2501.16542), in this project's reading", {}),
        "inner_inter": Preset(
            "Inner+Inter adapter, Sang and Hansen 2024 (2403.00293), in this project's reading",
            {"parts": ["bottleneck_adapter", "layer_output_adapter"], "bottleneck_adapter.scale": 1.0},
        ),
    }
