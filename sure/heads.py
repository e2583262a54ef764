"""Task heads: hidden states (batch, frames, width) to a loss and outputs."""

import torch
from torch import Tensor, nn

from sure.backbones import Padding

# Of SURE's heads and of SUPERB's (Yang et al. 2021): 1024 -> 256 -> labels.
PROJECTION = 256


class ClassificationHead(nn.Module):
    """Projection, mean over the frames that are not padding, classifier (SURE, Li et al. 2023, section 3.1)."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.projector = nn.Linear(width, PROJECTION)
        self.classifier = nn.Linear(PROJECTION, labels)
        # How much each label counts in the loss; not part of what is saved.
        self.register_buffer("label_weights", torch.ones(labels), persistent=False)

    def forward(
        self, hidden_states: Tensor, padding: Padding, labels: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Gives the cross-entropy and logits of shape (batch, labels); `labels` has shape (batch,)."""
        logits = self.classifier(padding.mean(self.projector(hidden_states)))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels, weight=self.label_weights)
        return loss, logits
