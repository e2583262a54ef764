"""What is pretrained: a small HuBERT, and the features whose clusters it first learns to tell."""

import torch
import torchaudio
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel

from sure.audio import SAMPLE_RATE

# 3.6 million parameters. Small encoders spend most of their time in the first layers of the CNN: here they are few and
# narrow. A frame sees 23 ms, one every 20 ms (wav2vec 2.0: 25 ms).
ARCHITECTURE = {
    "hidden_size": 256,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "intermediate_size": 768,
    "conv_dim": (32, 64, 128, 256),
    "conv_kernel": (20, 8, 4, 2),
    "conv_stride": (10, 4, 4, 2),
    "conv_bias": True,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 16,
    "layerdrop": 0.0,
}
# The data never repeat, so that nothing is left out at random while pretraining.
NO_DROPOUT = dict.fromkeys(
    ("hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout", "final_dropout"), 0.0
)

# Clusters of MFCCs in the first stage, of a layer's output in the second.
CLUSTERS = (100, 250)

# HuBERT learns from masked frames alone, for which an hour on two cores is too short.
UNMASKED_WEIGHT = 1.0


class Learner(nn.Module):
    """The encoder with a classifier of frames for each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = HubertModel(HubertConfig(**ARCHITECTURE, **NO_DROPOUT))
        self.classifiers = nn.ModuleList(nn.Linear(self.encoder.config.hidden_size, count) for count in CLUSTERS)

    def forward(self, waveforms: Tensor, labels: Tensor, mask: Tensor, stage: int) -> tuple[Tensor, Tensor]:
        """Loss and the share of masked frames whose cluster is found.

        Shapes: `waveforms` (batch, samples), `labels` and `mask` (batch, frames).
        """
        hidden = self.encoder(waveforms, mask_time_indices=mask).last_hidden_state
        logits = self.classifiers[stage](hidden).float()
        losses = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(mask)
        correct = (logits.argmax(dim=-1) == labels)[mask].float().mean()
        return losses[mask].mean() + UNMASKED_WEIGHT * losses[~mask].mean(), correct


def mfcc(waveforms: Tensor) -> Tensor:
    """13 coefficients with their first and second differences, at the encoder's frames: (batch, frames, 39).

    Loudness counts less, so that clusters tell sounds apart: a recogniser of recorded digits that sees clusters of
    these makes 0.47 character errors, 0.57 where it counts in full, and 0.58 where all coefficients count the same.
    """
    spectra = {"n_fft": 400, "hop_length": 320, "n_mels": 40, "center": False}
    # With its own channel axis each clip has its own loudest moment, below which 80 dB count.
    cepstra = torchaudio.transforms.MFCC(SAMPLE_RATE, n_mfcc=13, melkwargs=spectra).to(waveforms.device)
    static = cepstra(waveforms.unsqueeze(1)).squeeze(1)
    static[:, 0] *= 0.3
    first = torchaudio.functional.compute_deltas(static)
    return torch.cat([static, first, torchaudio.functional.compute_deltas(first)], dim=1).transpose(1, 2)
