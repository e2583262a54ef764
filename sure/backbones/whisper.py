"""Whisper, an encoder-decoder that writes what it hears (Radford et al. 2022, arXiv 2212.04356).

`layer` means the layers of both; any role behind `encoder_` or `decoder_` (`encoder_layer`, `decoder_query`) is of one
alone, and `cross_attention` is the decoder's attention to the encoder, whose projections count among its others.

Every utterance is padded with silence or cut to the length of the model's window (30 s), as in pretraining.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, WhisperProcessor

from sure.audio import SAMPLE_RATE
from sure.backbone import Backbone
from sure.backbone.padding import Padding
from sure.backbone.speech_to_text import TOKENS_PER_SECOND, SpeechToTextFamily
from sure.errors import SureError

# Of mel frames (10 ms) the encoder makes half as many.
_STRIDE = 2

_ROLES = {
    "layer": r"model\.{part}\.layers\.\d+",
    "attention": r"model\.{part}\.layers\.\d+\.self_attn",
    "query": r"model\.{part}\.layers\.\d+\.(?:self|encoder)_attn\.q_proj",
    "key": r"model\.{part}\.layers\.\d+\.(?:self|encoder)_attn\.k_proj",
    "value": r"model\.{part}\.layers\.\d+\.(?:self|encoder)_attn\.v_proj",
    "output": r"model\.{part}\.layers\.\d+\.(?:self|encoder)_attn\.out_proj",
    "ffn_in": r"model\.{part}\.layers\.\d+\.fc1",
    "ffn_out": r"model\.{part}\.layers\.\d+\.fc2",
}
# Where the model's code is not that of ISO 639-1.
_CODES = {"jv": "jw"}

_PARTS = {"": "(?:encoder|decoder)", "encoder_": "encoder", "decoder_": "decoder"}


class Whisper(SpeechToTextFamily):
    """Texts follow the prompt <|startoftranscript|><|language|><|transcribe|><|notimestamps|>.

    The two in the middle are left out where the model knows one language only, or not this one.
    """

    roles: ClassVar[dict[str, str]] = {
        f"{prefix}{role}": pattern.replace("{part}", part)
        for prefix, part in _PARTS.items()
        for role, pattern in _ROLES.items()
    } | {"cross_attention": r"model\.decoder\.layers\.\d+\.encoder_attn"}

    def processor(self, name: str, revision: str | None) -> WhisperProcessor:
        processor = WhisperProcessor.from_pretrained(name, revision=revision)
        # Where its files are missing, `transformers` makes an empty one.
        if "<|startoftranscript|>" not in processor.tokenizer.get_vocab():
            raise SureError(f"--backbone {name}: no tokenizer of Whisper's beside its weights (tokenizer.json).")
        return processor

    def prepare(self, model: PreTrainedModel, padding: Padding) -> None:
        """Nothing reads padding, since there is none; no layer is skipped at random."""
        model.model.encoder.layerdrop = model.model.decoder.layerdrop = 0.0

    def inputs(self, processor: WhisperProcessor, waveforms: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """`input_features` of shape (batch, bins, frames); of longer utterances the beginning."""
        return dict(processor.feature_extractor(list(waveforms), sampling_rate=SAMPLE_RATE, return_tensors="pt"))

    def prompt(self, backbone: Backbone, language: str | None) -> list[int]:
        languages = getattr(backbone.model.generation_config, "lang_to_id", {})
        language = _CODES.get(language, language)
        middle = [f"<|{language}|>", "<|transcribe|>"] if f"<|{language}|>" in languages else []
        tokens = ["<|startoftranscript|>", *middle, "<|notimestamps|>"]
        return backbone.feature_extractor.tokenizer.convert_tokens_to_ids(tokens)

    def labels(self, backbone: Backbone, texts: Sequence[str], language: str | None) -> Tensor:
        tokens = self._tokens(backbone, texts, language)
        labels = [torch.tensor(ids[: backbone.model.config.max_target_positions]) for ids in tokens]
        return torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)

    def too_long(
        self, backbone: Backbone, samples: Sequence[int], texts: Sequence[str], language: str | None
    ) -> list[bool]:
        window, most = (
            backbone.feature_extractor.feature_extractor.n_samples,
            backbone.model.config.max_target_positions,
        )
        tokens = self._tokens(backbone, texts, language)
        return [length > window or len(ids) > most for length, ids in zip(samples, tokens, strict=True)]

    def _tokens(self, backbone: Backbone, texts: Sequence[str], language: str | None) -> list[list[int]]:
        tokenizer = backbone.feature_extractor.tokenizer
        _, *prompt = self.prompt(backbone, language)
        # Whisper's own texts begin with a space.
        tokens = tokenizer([f" {text}" for text in texts], add_special_tokens=False)["input_ids"]
        return [[*prompt, *ids, tokenizer.eos_token_id] for ids in tokens]

    def text(self, backbone: Backbone, tokens: Sequence[int]) -> str:
        return backbone.feature_extractor.tokenizer.decode(tokens, skip_special_tokens=True)

    def example(self, config: PreTrainedConfig, seconds: int, device: torch.device) -> dict[str, Any]:
        features = torch.zeros(1, config.num_mel_bins, config.max_source_positions * _STRIDE, device=device)
        tokens = min(seconds * TOKENS_PER_SECOND, config.max_target_positions)
        return {"input_features": features, "labels": torch.zeros(1, tokens, dtype=torch.long, device=device)}
