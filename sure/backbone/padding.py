"""Where the padding of a batch is, and layers that do not read it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer


class Padding:
    """Where the padding of the current batch is; the parts of a model that must know share one of these."""

    def __init__(self) -> None:
        self.sample_lengths: Tensor | None = None
        self.mask: Tensor | None = None

    def __deepcopy__(self, memo: dict) -> "Padding":
        # A copied backbone (full fine-tuning keeps the original) still serves the same batches.
        return self

    @contextmanager
    def lengthened(self, more: int, *layers: nn.Module) -> Iterator[None]:
        """Meanwhile `more` frames stand before the first, none of them padding.

        And again when gradient checkpointing computes one of `layers` a second time.
        """
        mask = self.mask
        if mask is not None:
            self.mask = lengthened_mask(mask, more)
        checkpoints = {layer: layer._gradient_checkpointing_func for layer in layers if _checkpointed(layer)}
        for layer, checkpoint in checkpoints.items():
            layer._gradient_checkpointing_func = partial(
                checkpoint, context_fn=lambda: (nullcontext(), self.lengthened(more))
            )
        try:
            yield
        finally:
            self.mask = mask
            for layer, checkpoint in checkpoints.items():
                layer._gradient_checkpointing_func = checkpoint

    def zero(self, hidden_states: Tensor) -> Tensor:
        """`hidden_states` of shape (batch, frames, width) with zeros in its padding."""
        return hidden_states if self.mask is None else hidden_states.masked_fill(~self.mask.unsqueeze(-1), 0.0)

    def mean(self, hidden_states: Tensor) -> Tensor:
        """Mean over the frames that are not padding: (batch, frames, width) -> (batch, width)."""
        if self.mask is None:
            return hidden_states.mean(dim=1)
        return self.zero(hidden_states).sum(dim=1) / self.mask.sum(dim=1, keepdim=True).to(hidden_states.dtype)


class PaddingAwareGroupNorm(nn.GroupNorm):
    """Group normalisation of each channel over the frames that are not padding; input (batch, channels, frames)."""

    padding: Padding
    kernel: int
    stride: int

    def forward(self, hidden_states: Tensor) -> Tensor:
        if self.padding.sample_lengths is None:
            return super().forward(hidden_states)
        frames = ((self.padding.sample_lengths - self.kernel) // self.stride + 1).view(-1, 1, 1)
        mask = torch.arange(hidden_states.shape[-1], device=hidden_states.device) < frames
        values = hidden_states.float()
        mean = (values * mask).sum(-1, keepdim=True) / frames
        variance = ((values - mean).square() * mask).sum(-1, keepdim=True) / frames
        normalised = (values - mean) * torch.rsqrt(variance + self.eps)
        return (normalised * self.weight.unsqueeze(-1) + self.bias.unsqueeze(-1)).to(hidden_states.dtype)


def by_what_was_gathered(norm: nn.BatchNorm1d, inputs: Tensor) -> Tensor:
    """A batch normalisation with the statistics that it has, in training too."""
    return nn.functional.batch_norm(
        inputs, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
    )


class RowBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of (rows, channels); a single row, which has no deviation, by what was gathered."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) if len(inputs) > 1 else by_what_was_gathered(self, inputs)


class PaddingAwareBatchNorm(RowBatchNorm):
    """Batch normalisation of each channel over the frames that are not padding; input (batch, frames, channels)."""

    def forward(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        heard = padding.mask
        if not self.training or heard is None:
            return super().forward(hidden_states.flatten(0, 1)).unflatten(0, hidden_states.shape[:2])
        return torch.zeros_like(hidden_states).masked_scatter(
            heard.unsqueeze(-1), super().forward(hidden_states[heard]).to(hidden_states.dtype)
        )


class FixedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation with the statistics of pretraining, in training too.

    Those of a batch would depend on its padding; and gathered while an adapter trains they would be part of the
    backbone, which no adapter saves.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        return by_what_was_gathered(self, inputs)


def fix_batch_norms(model: nn.Module) -> None:
    """Every batch normalisation of a model becomes a `FixedBatchNorm`."""
    for module in model.modules():
        if type(module) is nn.BatchNorm1d:
            module.__class__ = FixedBatchNorm


def zero_padding(hidden_states: Tensor, mask: Tensor | None) -> Tensor:
    """`hidden_states` of shape (batch, channels, frames) with zeros where `mask` (batch, frames) is 0."""
    return hidden_states if mask is None else hidden_states * mask.unsqueeze(1).to(hidden_states.dtype)


def _checkpointed(layer: nn.Module) -> bool:
    return isinstance(layer, GradientCheckpointingLayer) and layer.training and layer.gradient_checkpointing


def lengthened_mask(mask: Tensor, more: int) -> Tensor:
    """A mask with `more` frames before the first, which every frame attends to.

    (batch, frames), (batch, 1, frames) or, by query, (batch, 1, frames, frames), where the new frames attend to what
    the first one does. It is true or 1 where there is something to attend to, or of four dimensions added to scores.
    """
    if mask.ndim > 2 and mask.shape[-2] > 1:
        mask = torch.cat([mask[..., :1, :].expand(*mask.shape[:-2], more, -1), mask], dim=-2)
    added = mask.ndim == 4 and mask.dtype.is_floating_point
    return nn.functional.pad(mask, (more, 0), value=0 if added else 1)
