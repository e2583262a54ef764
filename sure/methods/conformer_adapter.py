"""Conformer adapter (Cappellazzo et al. 2023, 2312.03694): a Conformer's convolution module with few channels.

Pointwise(SiLU(BatchNorm(Depthwise(GLU(Pointwise(LN(x))))))), by default beside the feed-forward block.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from sure.backbone.padding import Padding, PaddingAwareBatchNorm
from sure.method import Preset, Published, register
from sure.method.placement import BottleneckConfig, PlacedAdapter, PlacedLayer


@dataclass
class ConformerAdapter(BottleneckConfig):
    """The paper's best: parallel, at the feed-forward block, no residual, width / 96 (8 of 768), kernel 31 for speech.

    Departures:

    - The text says that it lies parallel to attention; the released code, and this, has it at the feed-forward block.
    - Statistics of the batch normalisation are those of frames that are not padding, which checkpointed activations
      gather twice a step.
    - The released code for AST normalises its input and goes on without (`preset=released`); that for wav2vec 2.0 does
      not.
    """

    presets: ClassVar[dict[str, Preset]] = {
        "pfeiffer": Preset("Cappellazzo et al. 2023 (2312.03694), table 1, 'Pfeiffer'", {}),
        "houlsby": Preset(
            "Cappellazzo et al. 2023 (2312.03694), table 1, 'Houlsby': the normalisations train too",
            {"placement": ["attention", "ffn"], "train_norms": True},
        ),
        "ast": Preset(
            "'Pfeiffer' as table 1 counts it: the normalisation before each block trains too", {"train_norms": "before"}
        ),
        "ast_iemocap": Preset("table 3 of 2312.03694, IEMOCAP: by its count 32 channels of 768", {"reduction": 24}),
        "released": Preset("the release of 2312.03694 for AST: its normalisation has no effect", {"norm": "none"}),
    }
    published: ClassVar[tuple[Published, ...]] = (
        Published(
            271_000,
            "audio_spectrogram_transformer:base",
            None,
            "Cappellazzo et al. 2023, table 1",
            "ast",
            rounded=1000,
        ),
        Published(
            542_000,
            "audio_spectrogram_transformer:base",
            None,
            "Cappellazzo et al. 2023, table 1",
            "houlsby",
            rounded=1000,
        ),
        Published(
            272_000,
            "wav2vec2:base",
            None,
            "Cappellazzo et al. 2023, table 3",
            "ast",
            rounded=1000,
            difference="with the normalisation behind the last layer (1,536) it is theirs",
        ),
        Published(
            927_000,
            "wav2vec2:base",
            None,
            "Cappellazzo et al. 2023, table 3",
            "ast_iemocap",
            rounded=1000,
            difference="no number of channels comes nearer",
        ),
    )
    reads_ahead: ClassVar[str] = "conformer_adapter convolves over time"

    placement: list[str] = field(
        default_factory=lambda: ["ffn"], metadata={"help": "Parts of each layer that get an adapter."}
    )
    insertion: Literal["sequential", "parallel"] = field(
        default="parallel", metadata={"help": "Whether it reads what its part puts out or what that reads."}
    )
    norm: Literal["none", "before", "after"] = field(
        default="before", metadata={"help": "A layer normalisation of what it reads (before) or of what it gives."}
    )
    reduction: PositiveInt = field(
        default=96, metadata={"help": "By how much the width is divided where bottleneck_dimension is not given."}
    )
    kernel_size: PositiveInt = field(default=31, metadata={"help": "Of the depthwise convolution, in frames."})


class _ConformerAdapter(PlacedAdapter):
    def __init__(self, width: int, config: ConformerAdapter) -> None:
        super().__init__(width, config)
        channels = config.bottleneck(width)
        self.into = nn.Linear(width, 2 * channels)
        self.depthwise = nn.Conv1d(channels, channels, config.kernel_size, padding="same", groups=channels)
        self.batch_norm = PaddingAwareBatchNorm(channels)
        self.out = nn.Linear(channels, width)

    def change(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        gated = nn.functional.glu(self.into(hidden_states), dim=-1)
        # (batch, frames, channels) -> (batch, channels, frames) and back
        convolved = self.depthwise(padding.zero(gated).transpose(1, 2)).transpose(1, 2)
        return self.out(nn.functional.silu(self.batch_norm(convolved, padding)))


class _ConformerAdapterLayer(PlacedLayer):
    adapter_class = _ConformerAdapter


register(ConformerAdapter, _ConformerAdapterLayer)
