"""CHAPTER (Chen et al. 2022, 2212.01282): adapters of the CNN's blocks, and one in each transformer layer."""

from typing import ClassVar

from sure.method.composition import Composition


class Chapter(Composition):
    """As the first author's code has it, which is likely but not confirmed to be the paper's."""

    made_of: ClassVar = {"cnn_adapter": {}, "bottleneck_adapter": {"preset": "chapter"}}
