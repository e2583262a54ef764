"""IPET (Kim et al. 2022, 2211.02227): an adapter beside each feed-forward block, and prompts before each layer."""

from typing import ClassVar

from sure.method import Preset
from sure.method.composition import Composition


class Ipet(Composition):
    """As for wav2vec 2.0 on VoxCeleb1: 64 prompts, bottleneck 128.

    Departures:

    - The adapter reads what the feed-forward block reads, which is normalised; the release's reads the state before
      that normalisation, in AST, which normalises first, and in wav2vec 2.0, which normalises last, alike.
    - The release's code for wav2vec 2.0 also adds the adapter's input to what the feed-forward block gives, which moves
      the frozen model before anything is learned; here, as in its code for AST and in the paper's figure, nothing of it
      is added.
    """

    made_of: ClassVar = {
        "bottleneck_adapter": {"preset": "ipet", "bottleneck_dimension": 128},
        "prompt_tuning": {"preset": "ipet"},
    }
    presets: ClassVar[dict[str, Preset]] = {
        "voxceleb": Preset("the release's table: VoxCeleb1 with wav2vec 2.0", {}),
        "speech_commands": Preset(
            "the release's table: Speech Commands v2 with wav2vec 2.0", {"bottleneck_adapter.bottleneck_dimension": 64}
        ),
    }
