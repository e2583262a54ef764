"""Bottleneck adapter (Houlsby et al. 2019), anywhere in a layer: s Up(f(Down(h))), by default as SURE places it.

The many adapters of this form differ in place, in what they read, in their activation and in how they start; a paper's
choice is had by name (`preset=...`).
"""

import math
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from sure.backbone.padding import Padding
from sure.heads import start_normal
from sure.method import Preset, Published, register
from sure.method.placement import ACTIVATIONS, BottleneckConfig, PlacedAdapter, PlacedLayer

_TWICE = {"placement": ["attention", "ffn"]}
_ONCE = {"placement": ["ffn"]}


@dataclass
class BottleneckAdapter(BottleneckConfig):
    """Unless told otherwise SURE's (Li et al. 2023): once per layer, after it, half the width, AdapterHub's start."""

    presets: ClassVar[dict[str, Preset]] = {
        "sure": Preset("SURE, Li et al. 2023", {}),
        "houlsby": Preset(
            "Houlsby et al. 2019, section 2: after attention and after the feed-forward block, before either is added; "
            "the layer's normalisations train",
            _TWICE | {"bottleneck_dimension": 64, "initialisation": "near_zero", "train_norms": True},
        ),
        "parallel": Preset(
            "He et al. 2022 (2110.04366), scaled parallel adapter beside the feed-forward block",
            _ONCE | {"insertion": "parallel", "scale": 4.0, "bottleneck_dimension": 512, "initialisation": "lora"},
        ),
        "chapter": Preset(
            "Chen et al. 2022 (2210.06175, 2212.01282) as their code has it: once, on the feed-forward block's output; "
            "the sequential one of PEFT for Speech (Lin et al. 2024, 2401.02122) too",
            _ONCE | {"bottleneck_dimension": 32, "activation": "gelu", "initialisation": "torch"},
        ),
        "peft_for_speech": Preset(
            "the parallel one of PEFT for Speech (2401.02122): beside the whole layer; theirs is added before a last "
            "normalisation of the layer, here behind it",
            {"insertion": "parallel", "bottleneck_dimension": 32, "activation": "gelu", "initialisation": "torch"},
        ),
        "peft_ser": Preset(
            "PEFT-SER (Feng and Narayanan 2023, 2306.05350): beside the feed-forward block, whose input it reads and "
            "adds once more; its code's adapter reads and adds the state before the normalisation ahead of that block",
            _ONCE
            | {"insertion": "parallel", "residual": True, "scale": 0.1}
            | {"bottleneck_dimension": 128, "initialisation": "lora"},
        ),
        "asr_transfer": Preset(
            "Thomas, Kessler and Karout 2022 (2202.03218): two per layer; the start is this project's reading of "
            "'near-identity'; by their counts the normalisation before the first layer (1,536) trains too, here those "
            "of layers alone",
            _TWICE | {"bottleneck_dimension": 256, "initialisation": "near_zero", "train_norms": True},
        ),
        "conventional": Preset(
            "the two per layer that E-adapters are compared with (Otake, Kawakami and Inoue 2023, adapter-wavlm)",
            _TWICE | {"bottleneck_dimension": 256, "norm": "after", "initialisation": "near_zero", "train_norms": True},
        ),
        "e_adapter": Preset(
            "E-adapters alone (Otake, Kawakami and Inoue 2023, adapter-wavlm): h + LN(Up(ReLU(Down(h)))) on the "
            "feed-forward block's output",
            _ONCE | {"bottleneck_dimension": 256, "norm": "after", "initialisation": "near_zero", "train_norms": True},
        ),
        "peng_sequential": Preset(
            "Peng et al. 2023 (2210.16032), SeqAdapter of the first author's code, which trains every layer "
            "normalisation, here those of layers",
            _TWICE | {"bottleneck_dimension": 64, "activation": "gelu", "train_norms": True},
        ),
        "peng_parallel": Preset(
            "Peng et al. 2023 (2210.16032), ParallelAdapter of the first author's code, with the same difference",
            _TWICE | {"insertion": "parallel", "bottleneck_dimension": 64, "activation": "gelu", "train_norms": True},
        ),
        "ipet": Preset(
            "the adapter of IPET (Kim et al. 2022, 2211.02227) beside the feed-forward block, without its prompts; it "
            "reads the normalised state, theirs the state before that normalisation",
            _ONCE
            | {"insertion": "parallel", "scale": 0.1, "dropout": 0.1}
            | {"bottleneck_dimension": 64, "initialisation": "lora"},
        ),
        "ast": Preset(
            "Cappellazzo et al. 2023 (2312.03694), table 1, bottleneck 'Pfeiffer': the normalisation before each block "
            "trains too; the release starts with initialisation=zeros",
            _ONCE
            | {"insertion": "parallel", "reduction": 64, "activation": "gelu"}
            | {"initialisation": "lora", "train_norms": "before"},
        ),
        "ast_houlsby": Preset(
            "the same, 'Houlsby': beside attention too",
            _TWICE
            | {"insertion": "parallel", "reduction": 64, "activation": "gelu"}
            | {"initialisation": "lora", "train_norms": True},
        ),
        "ast_iemocap": Preset(
            "Cappellazzo et al. 2023 (2312.03694), table 3, IEMOCAP: wider, and by its count no normalisation trains",
            _ONCE | {"insertion": "parallel", "reduction": 16, "activation": "gelu", "initialisation": "lora"},
        ),
    }
    published: ClassVar[tuple[Published, ...]] = (
        Published(25_467_915, "wav2vec2:large", 11, "SURE, Li et al. 2023"),
        Published(9_530_000, "wavlm:base", None, "adapter-wavlm, Otake et al. 2023", "conventional", rounded=10_000),
        Published(4_790_000, "wavlm:base", None, "adapter-wavlm, Otake et al. 2023", "e_adapter", rounded=10_000),
        Published(
            249_000,
            "audio_spectrogram_transformer:base",
            None,
            "Cappellazzo et al. 2023, table 1",
            "ast",
            rounded=1000,
        ),
        Published(
            498_000,
            "audio_spectrogram_transformer:base",
            None,
            "Cappellazzo et al. 2023, table 1",
            "ast_houlsby",
            rounded=1000,
        ),
        Published(
            250_000,
            "wav2vec2:base",
            None,
            "Cappellazzo et al. 2023, table 3",
            "ast",
            rounded=1000,
            difference="with the normalisation behind the last layer (1,536) it is theirs",
        ),
        Published(
            895_000,
            "wav2vec2:base",
            None,
            "Cappellazzo et al. 2023, table 3",
            "ast_iemocap",
            rounded=1000,
        ),
    )

    activation: Literal["relu", "gelu", "silu"] = field(default="relu", metadata={"help": "Between Down and Up."})
    dropout: Annotated[float, Field(ge=0, lt=1)] = field(default=0.0, metadata={"help": "After the activation."})
    initialisation: Literal["bert", "lora", "near_zero", "torch", "zeros"] = field(
        default="bert",
        metadata={
            "help": "bert: N(0, 0.02) (AdapterHub, SURE); lora: Down Kaiming, Up zero, so that it starts as the "
            "identity (He et al. 2022); near_zero: N(0, 0.001); torch: PyTorch's own; zeros: all zero, from where "
            "neither Down nor Up ever learns with an activation that is zero at zero (the release of 2312.03694)."
        },
    )


class Bottleneck(PlacedAdapter):
    """Up(f(Down(h)))."""

    def __init__(self, width: int, config: BottleneckAdapter) -> None:
        super().__init__(width, config)
        self.down = nn.Linear(width, config.bottleneck(width))
        self.up = nn.Linear(config.bottleneck(width), width)
        self.activation = ACTIVATIONS[config.activation]()
        self.dropout = nn.Dropout(config.dropout)
        if config.initialisation != "torch":
            self._initialise(config.initialisation)

    def _initialise(self, kind: str) -> None:
        deviation = {"bert": 0.02, "near_zero": 0.001, "zeros": 0.0, "lora": 0.0}[kind]
        start_normal(self.down, self.up, deviation=deviation)
        if kind == "lora":
            nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))

    def change(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        return self.up(self.dropout(self.activation(self.down(hidden_states))))


class _BottleneckLayer(PlacedLayer):
    adapter_class = Bottleneck


register(BottleneckAdapter, _BottleneckLayer)
