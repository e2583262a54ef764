"""Small real models for the tests: every backbone family with a few thousand parameters, saved in the real format."""

from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor

from sure.backbone import loading
from sure.heads import ClassificationHead
from sure.model import ModelWithHead

# One configuration per family; wav2vec 2.0 and HuBERT in both shapes that their releases have.
FAMILIES = {
    "wav2vec2": ("wav2vec2", {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}),
    "wav2vec2_group_norm": ("wav2vec2", {}),
    "hubert": ("hubert", {}),
    "wavlm": ("wavlm", {"num_buckets": 16, "max_bucket_distance": 32}),
    "wavlm_stable": (
        "wavlm",
        {
            "num_buckets": 16,
            "max_bucket_distance": 32,
            "feat_extract_norm": "layer",
            "do_stable_layer_norm": True,
            "conv_bias": True,
        },
    ),
    "data2vec_audio": ("data2vec-audio", {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}),
    "unispeech_sat": ("unispeech-sat", {"num_clusters": 8}),
    "wav2vec2_bert": ("wav2vec2-bert", {"feature_projection_input_dim": 160}),
}


def save_backbone(folder: Path, family: str) -> Path:
    """Write a tiny model of a family as `save_pretrained` does: config, safetensors, preprocessor config."""
    model_type, options = FAMILIES[family]
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    if model_type == "wav2vec2-bert":
        extractor = SeamlessM4TFeatureExtractor()
    else:
        sizes |= {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
        extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True)
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(model_type, **(sizes | options)))
    # Fresh biases are zero, where mistakes with them would not show.
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.1)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def speech_model(backbone: loading.Backbone, labels: int = 3) -> ModelWithHead:
    """A model with a classification head whose weights are always the same."""
    torch.manual_seed(1)
    return ModelWithHead(backbone, ClassificationHead(backbone.width, labels))


def waveforms(*seconds: float) -> list[np.ndarray]:
    """Noise of these lengths, each always the same."""
    generator = np.random.default_rng(0)
    return [generator.normal(size=int(16_000 * length)).astype(np.float32) for length in seconds]
