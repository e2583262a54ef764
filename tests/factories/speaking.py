"""Small real text-to-speech models for the tests, saved in the real format, and what they read and learn."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import sentencepiece
import torch
from torch import Tensor
from transformers import (
    FastSpeech2ConformerConfig,
    FastSpeech2ConformerModel,
    SpeechT5Config,
    SpeechT5FeatureExtractor,
    SpeechT5ForTextToSpeech,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    SpeechT5Processor,
    SpeechT5Tokenizer,
)

from sure.backbone import loading
from tests.factories.encoders import load_copy, roughen

SENTENCES = ["The quick brown fox jumps over the lazy dog.", "pack my box, with five dozen liquor jugs"]


def save_speecht5(folder: Path, **changes) -> Path:
    """A SpeechT5 of some thousand parameters that reads characters, with all that `microsoft/speecht5_tts` has."""
    folder.mkdir(parents=True, exist_ok=True)
    # As in the released model: <s>, <pad>, </s>, <unk>, then characters.
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_prefix=str(folder / "spm_char"),
        model_type="char",
        vocab_size=40,
        hard_vocab_limit=False,
        bos_id=0,
        pad_id=1,
        eos_id=2,
        unk_id=3,
        minloglevel=2,
    )
    (folder / "spm_char.vocab").unlink()
    tokenizer = SpeechT5Tokenizer(str(folder / "spm_char.model"))
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "speech_decoder_prenet_units": 16,
        "speech_decoder_postnet_units": 16,
        "speech_decoder_postnet_layers": 3,
        "speaker_embedding_dim": 12,
        "encoder_max_relative_position": 20,
        "max_text_positions": 200,
        "guided_attention_loss_num_heads": 1,
    }
    torch.manual_seed(0)
    model = SpeechT5ForTextToSpeech(SpeechT5Config(**(sizes | changes)))
    roughen(model)
    # Or it would stop at once.
    torch.nn.init.constant_(model.speech_decoder_postnet.prob_out.bias, -2.0)
    model.save_pretrained(folder)
    SpeechT5Processor(SpeechT5FeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


def save_hifigan(folder: Path, **changes) -> Path:
    """A vocoder of 80 bins every 256 samples at 16 kHz, with random weights."""
    torch.manual_seed(0)
    sizes = {
        "upsample_initial_channel": 16,
        "upsample_rates": [8, 8, 4],
        "upsample_kernel_sizes": [16, 16, 8],
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3]],
    }
    SpeechT5HifiGan(SpeechT5HifiGanConfig(**(sizes | changes))).save_pretrained(folder)
    return folder


def even_durations(samples: int, tokens: int) -> list[int]:
    """Frames of 256 samples at 22.05 kHz, as many for each token as can be."""
    frames = 1 + round(samples * 22_050 / 16_000) // 256
    return [frames // tokens + (index < frames % tokens) for index in range(tokens)]


def save_fastspeech2_conformer(folder: Path, **changes) -> Path:
    """A FastSpeech2Conformer of some thousand parameters that reads characters."""
    folder.mkdir(parents=True, exist_ok=True)
    symbols = ["<blank>", "<unk>", *" ',.abcdefghijklmnopqrstuvwxyz", "<sos/eos>"]
    (folder / "vocab.json").write_text(json.dumps({symbol: index for index, symbol in enumerate(symbols)}))
    sizes = {
        "vocab_size": len(symbols),
        "hidden_size": 64,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_num_attention_heads": 2,
        "decoder_num_attention_heads": 4,
        "encoder_linear_units": 48,
        "decoder_linear_units": 48,
        "decoder_kernel_size": 7,
        "speech_decoder_postnet_layers": 3,
        "speech_decoder_postnet_units": 16,
        "duration_predictor_channels": 16,
        "energy_predictor_channels": 16,
        "pitch_predictor_channels": 16,
        "speaker_embed_dim": 12,
        **{"mel_mean": 0.0, "mel_deviation": 1.0, "pitch_mean": 5.0, "pitch_deviation": 0.5},
        **{"energy_mean": 1.0, "energy_deviation": 2.0},
    }
    torch.manual_seed(0)
    model = FastSpeech2ConformerModel(FastSpeech2ConformerConfig(**(sizes | changes)))
    roughen(model)
    # Or it would say nothing: some frames for each token.
    torch.nn.init.constant_(model.duration_predictor.linear.bias, 0.5)
    model.save_pretrained(folder)
    return folder


FAMILIES = {"fastspeech2_conformer": save_fastspeech2_conformer, "speecht5": save_speecht5}
TEXTS = ["my box", "the quick fox", "dog"]


@cache
def folder_of(family: str) -> Path:
    """A model of a family, saved once and only to be read."""
    return FAMILIES[family](Path(mkdtemp(prefix=f"sure-{family}-")))


def load(family: str) -> loading.Backbone:
    """A model of a family, nothing of it shared."""
    return load_copy(folder_of(family))


def inputs(backbone: loading.Backbone, texts: list[str] = TEXTS) -> dict[str, Tensor]:
    """A batch of texts, and a voice for each."""
    generator = torch.Generator().manual_seed(0)
    voices = torch.randn(len(texts), backbone.speaker_width(), generator=generator)
    return backbone.text_inputs(texts) | {"speaker_embeddings": voices}


def targets(backbone: loading.Backbone, texts: list[str] = TEXTS) -> dict[str, Tensor]:
    """What a model learns of recordings of these texts, which are noise."""
    generator = np.random.default_rng(0)
    lengths = (9000, 14000, 6000)
    return backbone.targets(
        [
            {
                "id": text,
                "text": text,
                "waveform": generator.normal(scale=0.1, size=length).astype(np.float32),
                "durations": even_durations(length, len(text) + 1),
            }
            for text, length in zip(texts, lengths, strict=False)
        ],
    )
