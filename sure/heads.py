"""Task heads: hidden states (batch, frames, width) to a loss and outputs."""

import torch
from torch import Tensor, nn

from sure.backbone.padding import Padding

# Of SURE's heads and of SUPERB's (Yang et al. 2021): 1024 -> 256 -> labels.
PROJECTION = 256

# What a padding frame holds in every entry; the trainer pads with the same between batches.
NO_FRAME = -100.0


def start_normal(*linears: nn.Linear, deviation: float = 0.02) -> None:
    """Weights from N(0, deviation), biases zero: how SURE's release starts new linear maps, in `from_pretrained`."""
    for linear in linears:
        nn.init.normal_(linear.weight, std=deviation)
        nn.init.zeros_(linear.bias)


class WeightedSum(nn.Module):
    """sum over l of softmax(w)_l h_l, w zero at first: s3prl's Featurizer (SUPERB, Yang et al. 2021)."""

    def __init__(self, states: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(states))

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(states, batch, frames, width) -> (batch, frames, width)."""
        return torch.einsum("l,lbtd->btd", self.weights.softmax(dim=0), hidden_states)


class ClassificationHead(nn.Module):
    """Projection, mean over the frames that are not padding, classifier (SURE, Li et al. 2023, section 3.1).

    `labels` are the numbers of labels that are told apart, several where an utterance has a label in several columns:
    a classifier each, side by side in one linear map.
    """

    # Whether the mean over frames tells it as much as all of them: what is linear can come before or after it.
    mean_is_enough = True

    def __init__(self, width: int, *labels: int) -> None:
        super().__init__()
        self.labels = labels
        self.projector = nn.Linear(width, PROJECTION)
        self.classifier = nn.Linear(PROJECTION, sum(labels))
        start_normal(self.projector, self.classifier)
        # How much each label counts in the loss; not part of what is saved.
        self.register_buffer("label_weights", torch.ones(sum(labels)), persistent=False)

    def items(self, labels: Tensor) -> Tensor:
        """The sum of the weights of the labels, which the loss is divided by; of several columns that of all."""
        return self._weights(labels).sum()

    def forward(
        self, hidden_states: Tensor, padding: Padding, labels: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Gives the cross-entropy, of several columns the sum of theirs, and logits of shape (batch, labels).

        `labels` has shape (batch,), or of several columns (batch, columns). Weighted sums of columns are all divided by
        the same, `items` / columns, so that losses of parts of a batch, weighted by `items`, make that of the whole.
        """
        logits = self.classifier(padding.mean(self.projector(hidden_states)))
        if labels is None:
            return None, logits
        weights = self._weights(labels).sum(dim=0)
        columns = zip(
            logits.split(self.labels, dim=-1),
            labels.reshape(len(labels), -1).unbind(dim=-1),
            self.label_weights.split(self.labels),
            # All 1 where labels have no weights, or are of one column.
            weights / weights.mean(),
            strict=True,
        )
        losses = [share * nn.functional.cross_entropy(part, own, weight=weight) for part, own, weight, share in columns]
        return sum(losses), logits

    def _weights(self, labels: Tensor) -> Tensor:
        """How much each label counts: (batch,) or (batch, columns) -> (batch, columns)."""
        places = labels.reshape(len(labels), -1)
        if len(self.labels) > 1:
            # Of one column there is nothing to add, and on a GPU nothing to wait for.
            places = places + torch.tensor([0, *self.labels[:-1]], device=labels.device).cumsum(dim=0)
        return self.label_weights.to(labels.device)[places]


class CTCHead(nn.Module):
    """A linear map of each frame to tokens, of which 0 is the blank (CTC, Graves et al. 2006)."""

    # It aligns texts to frames.
    needs_time = True

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(width, tokens)

    def items(self, labels: Tensor) -> Tensor:
        """The utterances."""
        return labels.new_tensor(len(labels))

    def forward(
        self, hidden_states: Tensor, padding: Padding, labels: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Gives the loss and log probabilities of shape (batch, frames, tokens), -100 throughout in padding frames.

        `labels` has shape (batch, longest text), padded with -100. The loss is the mean over utterances of the negative
        log likelihood / tokens of the text; an utterance with more text than its frames can hold counts as 0.
        """
        # In half precision the sums over alignments would not hold.
        log_probabilities = self.classifier(hidden_states).float().log_softmax(dim=-1)
        mask = padding.mask
        if mask is None:
            mask = torch.ones(hidden_states.shape[:2], dtype=torch.bool, device=hidden_states.device)
        loss = None
        if labels is not None:
            loss = nn.functional.ctc_loss(
                log_probabilities.transpose(0, 1),
                labels.clamp(min=0),
                mask.sum(dim=-1),
                (labels >= 0).sum(dim=-1),
                zero_infinity=True,
            )
        return loss, log_probabilities.masked_fill(~mask.unsqueeze(-1), NO_FRAME)
