"""Backbones: pretrained speech encoders of `transformers`, one file per model family.

A family says where the parts of its models sit, so that a method names roles and works on every family:

`layer`      a transformer or conformer layer, whose output has shape (batch, frames, width)
`attention`  the self-attention of a layer
`query`, `key`, `value`, `output`   its projections
`ffn_in`, `ffn_out`   the first and the last projection of a feed-forward block
`cnn`        the convolutional feature encoder on the waveform, where there is one
`backbone`   the whole encoder

Padding never changes an utterance's representation: where a family's convolutions or normalisations would read the
padding of a batch, they are told where it is (`Padding`), so that a batch gives what each utterance gives alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    PreTrainedModel,
)

from sure.audio import SAMPLE_RATE
from sure.backbone.padding import Padding, PaddingAwareGroupNorm
from sure.errors import SureError


class Family:
    """A family of models. The defaults are the tree that wav2vec 2.0 shares with most of its successors."""

    roles: ClassVar[dict[str, str]] = {
        "layer": r"encoder\.layers\.\d+",
        "attention": r"encoder\.layers\.\d+\.attention",
        "query": r"encoder\.layers\.\d+\.attention\.q_proj",
        "key": r"encoder\.layers\.\d+\.attention\.k_proj",
        "value": r"encoder\.layers\.\d+\.attention\.v_proj",
        "output": r"encoder\.layers\.\d+\.attention\.out_proj",
        "ffn_in": r"encoder\.layers\.\d+\.feed_forward\.intermediate_dense",
        "ffn_out": r"encoder\.layers\.\d+\.feed_forward\.output_dense",
        "cnn": r"feature_extractor",
    }

    # A batch has at least this many samples (or feature frames), so that SpecAugment's spans of ten frames fit.
    shortest_batch: ClassVar[int] = 4000

    # Whole by itself: no task puts a head on it, and nothing but the method trains.
    headless: ClassVar[bool] = False

    # Says its frames one after another: what sees other frames than its own has no place in a `decoder_layer`.
    autoregressive: ClassVar[bool] = False

    # What of `transformers` makes the model of a configuration, and reads its weights.
    auto_class: ClassVar[type] = AutoModel

    def processor(self, name: str, revision: str | None) -> Any:
        """What makes a model's inputs, from the folder or hub repository that has its weights."""
        return AutoFeatureExtractor.from_pretrained(name, revision=revision)

    def prepare(self, model: PreTrainedModel, padding: Padding) -> None:
        """Make `model` read `padding`. Here: a CNN with group normalisation over time, as in wav2vec 2.0 base."""
        norm = model.feature_extractor.conv_layers[0].layer_norm
        if isinstance(norm, nn.GroupNorm):
            norm.__class__ = PaddingAwareGroupNorm
            norm.padding, norm.kernel, norm.stride = padding, model.config.conv_kernel[0], model.config.conv_stride[0]

    def inputs(self, processor: Any, waveforms: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """A padded batch with its attention mask from waveforms of shape (samples,), 16 kHz."""
        batch = processor(
            list(waveforms), sampling_rate=SAMPLE_RATE, padding=True, return_attention_mask=True, return_tensors="pt"
        )
        missing = self.shortest_batch - batch["attention_mask"].shape[1]
        if missing > 0:
            for key, tensor in batch.items():
                batch[key] = nn.functional.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, missing))
        return dict(batch)

    def frame_mask(self, model: PreTrainedModel, inputs: Tensor, attention_mask: Tensor) -> Tensor:
        """(batch, samples) -> (batch, frames), true where a frame is not padding."""
        frames = int(model._get_feat_extract_output_lengths(inputs.shape[1]))
        lengths = model._get_feat_extract_output_lengths(attention_mask.sum(dim=-1))
        return torch.arange(frames, device=inputs.device) < lengths.unsqueeze(1)


@dataclass
class Backbone:
    """A loaded encoder with what is needed to feed it and to find its parts."""

    name: str
    family_name: str
    family: Family
    revision: str
    pretrained: bool
    model: PreTrainedModel
    feature_extractor: Any
    padding: Padding

    @property
    def width(self) -> int:
        """Size of a hidden state."""
        return self.model.config.hidden_size

    def modules(self, role: str, prefix: str = "backbone") -> str:
        """Regular expression for the names of the modules that play a role, under `prefix`."""
        if role == "backbone":
            return prefix
        if role not in self.family.roles:
            raise SureError(
                f"{self.family_name} backbones have no {role!r}; its roles: backbone, {', '.join(self.family.roles)}."
            )
        return rf"{prefix}\.{self.family.roles[role]}"

    def inputs(self, waveforms: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """A padded batch from waveforms of shape (samples,), 16 kHz."""
        return self.family.inputs(self.feature_extractor, waveforms)


def skip_frozen_cnn(model: nn.Module) -> None:
    """Keep gradients out of a CNN that does not train.

    `transformers` marks the CNN's input as requiring gradients while it trains, which would run its whole backward pass
    for nothing.
    """
    for module in model.modules():
        if hasattr(module, "_requires_grad") and hasattr(module, "conv_layers"):
            module._requires_grad = any(parameter.requires_grad for parameter in module.parameters())
