"""LoRA (Hu et al. 2022) as SURE has it: rank 8 on every projection of attention and feed-forward; PEFT's own tuner."""

from dataclasses import dataclass
from typing import ClassVar

import peft

from sure.method import Published

# Of PEFT's initialisations, those that are made by a pass over training data or go with quantised weights. Nobody makes
# it here, and then PEFT starts as plain LoRA.
_PREPARED = ("corda", "eva", "loftq", "lora_ga")


@dataclass
class Lora(peft.LoraConfig):
    """Scaling is `lora_alpha / r` = 1/8: loralib's default alpha of 1, which SURE leaves as it is.

    Any option of `peft.LoraConfig` can be given, `use_dora` and `use_rslora` among them; of `init_lora_weights` all but
    corda, eva, loftq and lora_ga, which are prepared on training data or for quantised weights.
    """

    roles: ClassVar[tuple[str, ...]] = ("query", "key", "value", "output", "ffn_in", "ffn_out")
    published: ClassVar[tuple[Published, ...]] = (Published(3_804_171, "wav2vec2:large", 11, "SURE, Li et al. 2023"),)

    r: int = 8
    lora_alpha: int = 1

    def __post_init__(self) -> None:
        if self.init_lora_weights in _PREPARED:
            raise ValueError(
                f"init_lora_weights={self.init_lora_weights} wants a preparation that no run here makes, without which "
                f"it is plain LoRA. Of PEFT's initialisations choose another than {', '.join(_PREPARED)}."
            )
        super().__post_init__()
