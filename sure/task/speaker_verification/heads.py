"""Heads of speaker verification: an embedding per utterance, trained to tell the training speakers apart."""

import math

import torch
from torch import Tensor, nn

from sure.backbone.padding import Padding, RowBatchNorm
from sure.heads import PROJECTION, WeightedSum

# Keep the square root's gradient finite where a variance or a sine is zero. Fresh x-vectors hardly vary over time, so
# the one for variances must be small.
_SMALL_VARIANCE, _SMALL_SINE = 1e-12, 1e-7


class SpeakerHead(nn.Module):
    """An embedder, and while speakers are known the loss that trains it.

    With `states` hidden states to mix, or an embedder that reads every one, it gets them all (`all_layers`); otherwise
    it gets the last.
    """

    def __init__(
        self,
        embedder: "XVector | MeanEmbedding | AttentiveEmbedding | StatisticsEmbedding | FactorizedAttention",
        speakers: int,
        margin: float,
        scale: float,
        states: int = 0,
    ) -> None:
        super().__init__()
        self.all_layers = states > 0 or embedder.all_layers
        # As of `ClassificationHead`.
        self.mean_is_enough = isinstance(embedder, MeanEmbedding)
        self.mixture = WeightedSum(states) if states else nn.Identity()
        self.embedder = embedder
        self.classifier = AdditiveAngularMargin(embedder.size, speakers, margin, scale)

    def forward(
        self, hidden_states: Tensor, padding: Padding, labels: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Gives the loss and embeddings of shape (batch, size); `labels` has shape (batch,).

        -100 is the label of who is no training speaker; a batch of them alone has the loss zero.
        """
        embeddings = self.embedder(self.mixture(hidden_states), padding)
        if labels is None:
            return None, embeddings
        return self.classifier(self.embedder.before_classifier(embeddings), labels), embeddings


class AdditiveAngularMargin(nn.Module):
    """Additive angular margin softmax (ArcFace, Deng et al. 2019, equation 3).

    The cross-entropy of s cos(theta_y + m) against s cos(theta_j), theta_j being the angle between an embedding and
    the direction of speaker j. Beyond theta_y = pi - m, where the cosine would rise again, it goes on as
    cos(theta_y) - m sin(m), as in SpeechBrain; wespeaker subtracts 1 - cos(m) there.
    """

    def __init__(self, size: int, speakers: int, margin: float, scale: float) -> None:
        super().__init__()
        self.margin, self.scale = margin, scale
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(speakers, size)))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss from embeddings of shape (batch, size); labels of shape (batch,), -100 where there is none."""
        # Half precision cannot tell angles near 0 apart.
        with torch.autocast(embeddings.device.type, enabled=False):
            cosine = nn.functional.linear(
                nn.functional.normalize(embeddings.float()), nn.functional.normalize(self.weight.float())
            )
            sine = (1 - cosine.square()).clamp(min=_SMALL_SINE).sqrt()
            farther = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
            farther = torch.where(
                cosine > -math.cos(self.margin), farther, cosine - self.margin * math.sin(self.margin)
            )
            own = nn.functional.one_hot(labels.clamp(min=0), len(self.weight)).bool()
            cosine = self.scale * torch.where(own, farther, cosine)
            # A mean of none would be no number; whether there is any is not asked, for which a GPU would have to wait.
            return nn.functional.cross_entropy(cosine, labels, reduction="sum") / (labels >= 0).sum().clamp(min=1)


class MeanEmbedding(nn.Module):
    """A linear projection of the mean over frames; 256 dimensions, as SUPERB's utterance-level heads have."""

    all_layers = False
    size = PROJECTION

    def __init__(self, width: int) -> None:
        super().__init__()
        self.projector = nn.Linear(width, self.size)
        self.before_classifier = nn.Identity()

    def forward(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        """(batch, frames, width) -> (batch, 256)."""
        return self.projector(padding.mean(hidden_states))


class XVector(nn.Module):
    """SUPERB's x-vector (Snyder et al. 2018, as in s3prl's `sv_voxceleb1`).

    A projection to 512, five convolutions over time (kernels 5, 3, 3, 1, 1, dilations 1, 2, 3, 1, 1; the last with
    1500 channels), each followed by ReLU, mean and standard deviation over frames, and a layer of 512 with ReLU, which
    is the embedding; one more such layer lies before the classifier. Convolutions are not padded, which costs 14
    frames; an utterance with fewer than 15 is followed by zeros.
    """

    all_layers = False
    size = 512
    _KERNELS, _DILATIONS, _CHANNELS = (5, 3, 3, 1, 1), (1, 2, 3, 1, 1), (512, 512, 512, 512, 1500)
    # Frames that the convolutions need around one of theirs.
    _CONTEXT = 14

    def __init__(self, width: int) -> None:
        super().__init__()
        self.projector = nn.Linear(width, self.size)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, kernel, dilation=dilation)
            for before, after, kernel, dilation in zip(
                (self.size, *self._CHANNELS), self._CHANNELS, self._KERNELS, self._DILATIONS, strict=False
            )
        )
        self.embedding = nn.Sequential(nn.Linear(2 * self._CHANNELS[-1], self.size), nn.ReLU())
        self.before_classifier = nn.Sequential(nn.Linear(self.size, self.size), nn.ReLU())

    def forward(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        """(batch, frames, width) -> (batch, 512)."""
        frames = padding.zero(self.projector(hidden_states)).transpose(1, 2)
        frames = nn.functional.pad(frames, (0, max(0, self._CONTEXT + 1 - frames.shape[-1])))
        for convolution in self.convolutions:
            frames = convolution(frames).relu()
        kept = Padding()
        if padding.mask is not None:
            lengths = (padding.mask.sum(dim=1, keepdim=True) - self._CONTEXT).clamp(min=1)
            kept.mask = torch.arange(frames.shape[-1], device=frames.device) < lengths
        frames = frames.transpose(1, 2)
        mean = kept.mean(frames)
        return self.embedding(torch.cat([mean, _deviation(frames, mean, kept)], dim=-1))


class AttentiveEmbedding(nn.Module):
    """ECAPA-TDNN's pooling and embedding (Desplanques et al. 2020, section 3.1) on the hidden states themselves.

    For each channel an attention over frames, alpha = softmax_t(V tanh(W [h_t, mean, deviation] + b) + k), mean and
    deviation being those of the whole utterance, gives a weighted mean and standard deviation; a linear layer makes
    192 dimensions of them. The batch normalisation before and after that layer is left out, so that an utterance
    means the same whatever else is in its batch; so are the convolutions, which pretrained layers stand in for.
    """

    all_layers = False
    size = 192
    bottleneck = 128
    # Whether attention hears the utterance's mean and deviation beside each frame.
    context = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Linear(3 * width if self.context else width, self.bottleneck),
            nn.Tanh(),
            nn.Linear(self.bottleneck, width),
        )
        self.projector = nn.Linear(2 * width, self.size)
        self.before_classifier = nn.Identity()

    def forward(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        """(batch, frames, width) -> (batch, size)."""
        heard = hidden_states
        if self.context:
            mean = padding.mean(hidden_states)
            context = torch.stack([mean, _deviation(hidden_states, mean, padding)], dim=1).flatten(1)
            heard = torch.cat([heard, context.unsqueeze(1).expand(-1, heard.shape[1], -1)], dim=-1)
        attention = _over_frames(self.attention(heard), padding)
        mean = (attention * hidden_states).sum(dim=1)
        variance = (attention * (hidden_states - mean.unsqueeze(1)).square()).sum(dim=1)
        return self.projector(torch.cat([mean, variance.clamp(min=_SMALL_VARIANCE).sqrt()], dim=-1))


class FactorizedAttention(nn.Module):
    """Multi-head factorised attentive pooling of all layers (MHFA, Peng et al. 2022, SLT).

    Two mixtures of the hidden states, equal at first, are compressed to keys and to values; each head of attention has
    a linear map of its own from keys to weights over frames, softmax_t, and all share the values; a linear layer makes
    256 dimensions of the heads' sums. Sizes are those of the first author's code, 64 heads of 128 dimensions.
    """

    all_layers = True
    size = 256
    _CHANNELS = 128

    def __init__(self, width: int, states: int, heads: int = 64) -> None:
        super().__init__()
        self.key_mixture, self.value_mixture = WeightedSum(states), WeightedSum(states)
        self.key, self.value = nn.Linear(width, self._CHANNELS), nn.Linear(width, self._CHANNELS)
        self.attention = nn.Linear(self._CHANNELS, heads)
        self.projector = nn.Linear(heads * self._CHANNELS, self.size)
        self.before_classifier = nn.Identity()

    def forward(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        """(states, batch, frames, width) -> (batch, 256)."""
        keys, values = self.key(self.key_mixture(hidden_states)), self.value(self.value_mixture(hidden_states))
        attention = _over_frames(self.attention(keys), padding)
        return self.projector(torch.einsum("bth,btd->bhd", attention, values).flatten(1))


class LayerAggregation(AttentiveEmbedding):
    """Every layer through a small network of its own, side by side (wespeaker's system of 2510.04213).

    Each of the hidden states goes through Linear(128), layer normalisation, ReLU and Linear(128); attentive statistics
    of what they give together, 128 times as many channels as there are states, make 256 dimensions. The pooling is that
    of `AttentiveEmbedding`; whether theirs reads the whole utterance's mean and deviation too is not known.
    """

    all_layers = True
    size = 256
    _CHANNELS = 128

    def __init__(self, width: int, states: int) -> None:
        super().__init__(states * self._CHANNELS)
        self.adapters = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, self._CHANNELS),
                nn.LayerNorm(self._CHANNELS),
                nn.ReLU(),
                nn.Linear(self._CHANNELS, self._CHANNELS),
            )
            for _ in range(states)
        )

    def forward(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        """(states, batch, frames, width) -> (batch, 256)."""
        adapted = [adapter(states) for adapter, states in zip(self.adapters, hidden_states, strict=True)]
        return super().forward(torch.cat(adapted, dim=-1), padding)


class StatisticsEmbedding(nn.Module):
    """ResNet34's pooling and embedding, as wespeaker has them: mean and standard deviation over frames, 256 dimensions.

    Deviations are those of the frames themselves, not of a sample of them; with one frame they are zero.
    """

    all_layers = False
    size = 256

    def __init__(self, width: int) -> None:
        super().__init__()
        self.projector = nn.Linear(2 * width, self.size)
        self.before_classifier = nn.Identity()

    def forward(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        """(batch, frames, width) -> (batch, 256)."""
        mean = padding.mean(hidden_states)
        return self.projector(torch.cat([mean, _deviation(hidden_states, mean, padding)], dim=-1))


class AttentiveStatistics(AttentiveEmbedding):
    """ECAPA-TDNN's pooling and embedding whole: `AttentiveEmbedding` with batch normalisation before its projection.

    As wespeaker has it; statistics of batches are gathered in training alone.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.projector = nn.Sequential(RowBatchNorm(2 * width), self.projector)


class LocalAttentiveStatistics(AttentiveStatistics):
    """The same without global context: attention to a frame hears that frame alone."""

    context = False


# Those of all layers are made of the width and of the number of hidden states, the others of the width.
EMBEDDERS = {
    "ecapa": AttentiveEmbedding,
    "xvector": XVector,
    "mean": MeanEmbedding,
    "mhfa": FactorizedAttention,
    "layer_aggregation": LayerAggregation,
    "attentive_statistics": AttentiveStatistics,
    "local_attentive_statistics": LocalAttentiveStatistics,
    "statistics": StatisticsEmbedding,
}


def _over_frames(scores: Tensor, padding: Padding) -> Tensor:
    """Softmax over the frames that are not padding; (batch, frames, channels), in and out."""
    if padding.mask is not None:
        scores = scores.masked_fill(~padding.mask.unsqueeze(-1), -torch.inf)
    return scores.softmax(dim=1)


def _deviation(hidden_states: Tensor, mean: Tensor, padding: Padding) -> Tensor:
    """Standard deviation over the frames that are not padding: (batch, frames, width) -> (batch, width)."""
    return padding.mean((hidden_states - mean.unsqueeze(1)).square()).clamp(min=_SMALL_VARIANCE).sqrt()
