"""LoRA (Hu et al. 2022) as SURE has it: rank 8 on every projection of attention and feed-forward; PEFT's own tuner."""

from dataclasses import dataclass
from typing import ClassVar

import peft

from sure.method import Preset, Published
from sure.method.linear import LINEAR_ROLES

# Of PEFT's initialisations, those that are made by a pass over training data or go with quantised weights. Nobody makes
# it here, and then PEFT starts as plain LoRA.
_PREPARED = ("corda", "eva", "loftq", "lora_ga")


@dataclass
class Lora(peft.LoraConfig):
    """Scaling is `lora_alpha / r` = 1/8: loralib's default alpha of 1, which SURE leaves as it is.

    Any option of `peft.LoraConfig` can be given, `use_dora` and `use_rslora` among them; of `init_lora_weights` all but
    corda, eva, loftq and lora_ga, which are prepared on training data or for quantised weights.

    PiSSA and OLoRA take their start out of the backbone's weights. What is left of these is computed again from the
    pretrained ones wherever the adapter is loaded, and is what the model has while the adapter is disabled.
    """

    roles: ClassVar[tuple[str, ...]] = LINEAR_ROLES
    published: ClassVar[tuple[Published, ...]] = (
        Published(3_804_171, "wav2vec2:large", 11, "SURE, Li et al. 2023"),
        Published(
            221_000,
            "audio_spectrogram_transformer:base",
            None,
            "Cappellazzo et al. 2023, table 1",
            "ast",
            rounded=1000,
        ),
    )

    presets: ClassVar[dict[str, Preset]] = {
        "sure": Preset("SURE, Li et al. 2023", {}),
        "ast": Preset(
            "Cappellazzo et al. 2023 (2312.03694): query and value, rank 6 (width 768 / 128), scale 16 / 128",
            {"roles": ["query", "value"], "r": 6, "lora_alpha": 0.75},
        ),
        "efficient_tuning": Preset(
            "Chen et al. 2022 (2210.06175) as their code has it: key and query, rank 8, alpha 1",
            {"roles": ["query", "key"]},
        ),
        "peng": Preset(
            "LoRaAdapter of Peng et al. 2023 (2210.16032), as in the first author's code: query and key, rank 32, "
            "scale 1; without the biases of its maps and without the normalisations, which train there (ln_tuning "
            "beside it)",
            {"roles": ["query", "key"], "r": 32, "lora_alpha": 32},
        ),
        "peft_ser": Preset(
            "PEFT-SER, Feng and Narayanan 2023 (2306.05350): the maps of the feed-forward block, rank 16, alpha 1",
            {"roles": ["ffn_in", "ffn_out"], "r": 16},
        ),
        "w2vbert": Preset(
            "the LoRA of 2510.04213, whose layer adapters are a head of speaker verification (head=layer_aggregation): "
            "query and value, rank 64, alpha 128",
            {"roles": ["query", "value"], "r": 64, "lora_alpha": 128},
        ),
        "dora": Preset("DoRA, Liu et al. 2024 (2402.09353), of SURE's rank and scale", {"use_dora": True}),
        "rslora": Preset(
            "rsLoRA, Kalajdzievski 2023 (2312.03732), of SURE's rank and alpha: scale alpha / sqrt(r)",
            {"use_rslora": True},
        ),
        "pissa": Preset(
            "PiSSA, Meng et al. 2024 (2404.02948), of SURE's rank: starts as the largest singular values; alpha is r",
            {"init_lora_weights": "pissa", "lora_alpha": 8},
        ),
        "olora": Preset(
            "OLoRA, Buyukakyuz 2024 (2406.01775), of SURE's rank and scale: starts from a QR decomposition",
            {"init_lora_weights": "olora"},
        ),
    }

    r: int = 8
    lora_alpha: float = 1

    def __post_init__(self) -> None:
        if self.init_lora_weights in _PREPARED:
            raise ValueError(
                f"init_lora_weights={self.init_lora_weights} wants a preparation that no run here makes, without which "
                f"it is plain LoRA. Of PEFT's initialisations choose another than {', '.join(_PREPARED)}."
            )
        super().__post_init__()
