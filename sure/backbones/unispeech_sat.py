"""UniSpeech-SAT (Chen et al. 2022)."""

from typing import Any, ClassVar

from sure.backbones.wav2vec2 import Wav2Vec2


class UniSpeechSat(Wav2Vec2):
    """The tree of wav2vec 2.0."""

    # Its clusters are of a loss of pretraining's.
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        name: values | {"num_clusters": 8} for name, values in Wav2Vec2.sizes.items()
    }
