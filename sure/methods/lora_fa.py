"""LoRA-FA (Zhang et al. 2023, 2308.03303): LoRA whose A stays as it was drawn, so that B alone trains."""

from dataclasses import dataclass
from typing import ClassVar

from sure.method import Preset, Published
from sure.methods.lora import Lora


@dataclass
class LoraFa(Lora):
    """Of SURE's places, rank and scale unless told otherwise, with r times the outputs of each map for parameters.

    A is saved with the adapter, which PEFT reads as any LoRA; made to train on there, its A would train too. PEFT's own
    `create_lorafa_optimizer` also projects gradients; here any optimiser trains B.
    """

    presets: ClassVar[dict[str, Preset]] = {}
    published: ClassVar[tuple[Published, ...]] = ()
    dimension: ClassVar[str] = "r"

    # Of the parts of PEFT's LoRA, those that do not train.
    frozen: ClassVar[tuple[str, ...]] = ("lora_A",)
