"""LoRA (Hu et al. 2022) as SURE has it: rank 8 on every projection of attention and feed-forward; PEFT's own tuner."""

from dataclasses import dataclass
from typing import ClassVar

import peft

from sure.method import Published


@dataclass
class Lora(peft.LoraConfig):
    """Scaling is `lora_alpha / r` = 1/8: loralib's default alpha of 1, which SURE leaves as it is.

    Any option of `peft.LoraConfig` can be given, `use_dora` and `use_rslora` among them.
    """

    roles: ClassVar[tuple[str, ...]] = ("query", "key", "value", "output", "ffn_in", "ffn_out")
    published: ClassVar[tuple[Published, ...]] = (Published(3_804_171, "wav2vec2:large", 11, "SURE, Li et al. 2023"),)

    r: int = 8
    lora_alpha: int = 1
