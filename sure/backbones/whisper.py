"""Whisper, an encoder-decoder that writes what it hears (Radford et al. 2022, arXiv 2212.04356).

Where a task puts a head on it, its encoder alone counts; otherwise `layer` means the layers of both, any role behind
`encoder_` or `decoder_` (`encoder_layer`, `decoder_query`) is of one alone, and `cross_attention` is the decoder's
attention to the encoder, whose projections count among its others. Its layers have no feed-forward block of their own:
only its two projections can be named.

Every utterance is padded with silence or cut to the length of the model's window, 30 s as in pretraining. The encoder
hears the silence, and what comes after it is as if it had not been padded in the head: means are over real frames.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import torch
from tokenizers import pre_tokenizers
from torch import Tensor, nn
from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperProcessor,
    WhisperTokenizer,
)
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from sure.audio import SAMPLE_RATE
from sure.backbone.speech_to_text import TOKENS_PER_SECOND, SpeechToText
from sure.errors import SureError

# Of mel frames (10 ms) the encoder makes half as many.
_STRIDE = 2
_FRAMES_PER_SECOND = 50

_ROLES = {
    "layer": r"layers\.\d+",
    "attention": r"layers\.\d+\.self_attn",
    "query": r"layers\.\d+\.(?:self|encoder)_attn\.q_proj",
    "key": r"layers\.\d+\.(?:self|encoder)_attn\.k_proj",
    "value": r"layers\.\d+\.(?:self|encoder)_attn\.v_proj",
    "output": r"layers\.\d+\.(?:self|encoder)_attn\.out_proj",
    "ffn_in": r"layers\.\d+\.fc1",
    "ffn_out": r"layers\.\d+\.fc2",
    "norm": r"layers\.\d+\.(?:self_attn|encoder_attn|final)_layer_norm",
    "attention_norm": r"layers\.\d+\.self_attn_layer_norm",
    "ffn_norm": r"layers\.\d+\.final_layer_norm",
}
_CNN = r"conv[12]"
_PARTS = {"": "(?:encoder|decoder)", "encoder_": "encoder", "decoder_": "decoder"}

# Vocabularies of models for English alone are smaller, and their tokenizers name all languages too.
_OF_MANY_LANGUAGES = 51_865

# Where the model's code is not that of ISO 639-1.
_CODES = {"jv": "jw"}

# What a model of a named size writes with: bytes, and the special tokens that are asked for.
_SPECIAL = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>")
_SPECIAL += ("<|startofprev|>", "<|nospeech|>", "<|notimestamps|>")


def _language_token(language: str | None) -> str:
    return f"<|{_CODES.get(language, language)}|>"


def _note_input(last: nn.Module, first: nn.Module, args: tuple[Tensor]) -> None:
    last.block_input = args[0]


@dataclass
class WhisperOptions:
    """What can be chosen of a Whisper model."""

    window: float | None = field(
        default=None,
        metadata={
            "help": "Seconds that are heard of each utterance; as pretrained (30) by default. A shorter one cuts the "
            "table of positions, and costs in proportion."
        },
    )
    encoder_only: bool = field(
        default=False, metadata={"help": "In speech recognition too: CTC on the encoder, and no decoder."}
    )


class Whisper(SpeechToText):
    """Texts follow the prompt <|startoftranscript|><|language|><|transcribe|><|notimestamps|>.

    The two in the middle are left out where the model knows one language only, or not this one.
    """

    roles: ClassVar[dict[str, str]] = {
        f"{prefix}{role}": rf"model\.{part}\.{pattern}"
        for prefix, part in _PARTS.items()
        for role, pattern in _ROLES.items()
    } | {"cross_attention": r"model\.decoder\.layers\.\d+\.encoder_attn", "cnn": rf"model\.encoder\.{_CNN}"}
    options_class = WhisperOptions
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        # It hears five seconds.
        "tiny": {
            "d_model": 64,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 128,
            "decoder_ffn_dim": 128,
            "max_source_positions": 250,
            "max_target_positions": 64,
            "vocab_size": 256 + len(_SPECIAL),
        },
        # Of the released whisper-base (Radford et al. 2022, table 1).
        "base": {
            "d_model": 512,
            "encoder_layers": 6,
            "decoder_layers": 6,
            "encoder_attention_heads": 8,
            "decoder_attention_heads": 8,
            "encoder_ffn_dim": 2048,
            "decoder_ffn_dim": 2048,
            "vocab_size": 51_865,
        },
    }

    @classmethod
    def new_config(cls, **values: Any) -> PreTrainedConfig:
        end, start = 256, 257
        tokens = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
        return WhisperConfig(**tokens, **values)

    @classmethod
    def new_model(cls, config: PreTrainedConfig) -> PreTrainedModel:
        model = super().new_model(config)
        model.generation_config.lang_to_id = {"<|en|>": 256 + _SPECIAL.index("<|en|>")}
        return model

    @classmethod
    def read_processor(cls, place: str, revision: str | None) -> WhisperProcessor:
        processor = WhisperProcessor.from_pretrained(place, revision=revision)
        # Where its files are missing, `transformers` makes one that knows no text, if special tokens at all.
        tokenizer = processor.tokenizer
        if "<|startoftranscript|>" not in tokenizer.get_vocab() or not tokenizer.tokenize("a"):
            raise SureError(f"--backbone {place}: no tokenizer of Whisper's beside its weights (tokenizer.json).")
        return processor

    @classmethod
    def new_processor(cls, config: PreTrainedConfig) -> WhisperProcessor:
        # The smallest tokenizer that writes any text.
        letters = {byte: index for index, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
        tokenizer = WhisperTokenizer(vocab=letters, merges=[], extra_special_tokens=list(_SPECIAL[1:]))
        seconds = config.max_source_positions // _FRAMES_PER_SECOND
        return WhisperProcessor(WhisperFeatureExtractor(config.num_mel_bins, chunk_length=seconds), tokenizer)

    def prepare(self) -> None:
        """No layer is skipped at random, the window is cut, and of a model for a head the encoder is left."""
        model = self.model.model
        model.encoder.layerdrop = model.decoder.layerdrop = 0.0
        if self.options.window is not None:
            self._cut(model.encoder, self.options.window)
        self.window = self.config.max_source_positions / _FRAMES_PER_SECOND
        if self.processor is not None:
            self._hear_the_window(self.processor.feature_extractor)
        if self.head or self.options.encoder_only:
            self.model = model.encoder
            self.headless = self.autoregressive = False
            self.roles = _ROLES | {"cnn": _CNN}

    def _cut(self, encoder: nn.Module, seconds: float) -> None:
        """The first positions of the table, as many as so many seconds have frames."""
        frames, longest = seconds * _FRAMES_PER_SECOND, self.config.max_source_positions
        if not 0 < frames <= longest:
            raise SureError(
                f"--backbone_options window={seconds:g}: {self.name} hears from {1 / _FRAMES_PER_SECOND:g} to "
                f"{longest / _FRAMES_PER_SECOND:g} seconds."
            )
        positions = math.ceil(frames)
        encoder.embed_positions = nn.Embedding.from_pretrained(encoder.embed_positions.weight[:positions].detach())
        encoder.max_source_positions = self.config.max_source_positions = positions

    def _hear_the_window(self, extractor: WhisperFeatureExtractor) -> None:
        """What is saved of an extractor has whole seconds, and may be that of the model before its window was cut."""
        extractor.nb_max_frames = self.config.max_source_positions * _STRIDE
        extractor.n_samples = extractor.nb_max_frames * extractor.hop_length
        if self.window.is_integer():
            extractor.chunk_length = int(self.window)

    def note_block_inputs(self) -> None:
        for layer in self.model.modules():
            if hasattr(layer, "fc1"):
                layer.fc1.register_forward_pre_hook(partial(_note_input, layer.fc2))

    def inputs(self, waveforms: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """`input_features` (batch, bins, frames) with `attention_mask` (batch, frames); of longer utterances the
        beginning."""
        return dict(
            self.processor.feature_extractor(
                list(waveforms), sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True
            )
        )

    def frame_mask(self, inputs: Tensor, attention_mask: Tensor) -> Tensor:
        return attention_mask[:, ::_STRIDE].bool()

    def prompt(self, language: str | None) -> list[int]:
        token = _language_token(language)
        middle = [token, "<|transcribe|>"] if token in self._languages else []
        tokens = ["<|startoftranscript|>", *middle, "<|notimestamps|>"]
        return self.processor.tokenizer.convert_tokens_to_ids(tokens)

    def told(self, language: str | None) -> bool:
        return len(self._languages) < 2 or _language_token(language) in self._languages

    @cached_property
    def _languages(self) -> Collection[str]:
        """The tokens of the languages that it tells apart; of a model for one language none, or one."""
        known = getattr(self.model.generation_config, "lang_to_id", None)
        # Folders of fine-tuned models may lack generation_config.json.
        if known is None and self.config.vocab_size >= _OF_MANY_LANGUAGES:
            known = {_language_token(code) for code in LANGUAGES} & self.processor.tokenizer.get_vocab().keys()
        return known or ()

    def labels(self, texts: Sequence[str], language: str | None) -> Tensor:
        labels = [torch.tensor(ids[: self.config.max_target_positions]) for ids in self._tokens(texts, language)]
        return nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)

    def too_long(self, samples: Sequence[int], texts: Sequence[str], language: str | None) -> list[bool]:
        window, most = self.window * SAMPLE_RATE, self.config.max_target_positions
        tokens = self._tokens(texts, language)
        return [length > window or len(ids) > most for length, ids in zip(samples, tokens, strict=True)]

    def _tokens(self, texts: Sequence[str], language: str | None) -> list[list[int]]:
        tokenizer = self.processor.tokenizer
        _, *prompt = self.prompt(language)
        # Whisper's own texts begin with a space.
        tokens = tokenizer([f" {text}" for text in texts], add_special_tokens=False)["input_ids"]
        return [[*prompt, *ids, tokenizer.eos_token_id] for ids in tokens]

    def text(self, tokens: Sequence[int]) -> str:
        return self.processor.tokenizer.decode(tokens, skip_special_tokens=True)

    def example(self, seconds: int, device: torch.device) -> dict[str, Tensor]:
        frames = self.config.max_source_positions * _STRIDE
        example = {"input_features": torch.zeros(1, self.config.num_mel_bins, frames, device=device)}
        if self.headless:
            tokens = min(seconds * TOKENS_PER_SECOND, self.config.max_target_positions)
            example["labels"] = torch.zeros(1, tokens, dtype=torch.long, device=device)
        return example
