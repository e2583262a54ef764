"""SpeechT5 for text-to-speech (Ao et al. 2022): a text encoder, and a decoder that says one frame after another.

`layer` means the layers of both; any role behind `encoder_` or `decoder_` (`encoder_layer`, `decoder_query`) is of one
alone, and `cross_attention` is the decoder's attention to the encoder, whose projections count among its others.

A model speaks with a fixed seed, since the dropout of its decoder's prenet stays on (Shen et al. 2018, section 2.2),
and stops of itself or after ten frames of 16 ms for each character.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import (
    PreTrainedConfig,
    SpeechT5ForTextToSpeech,
    SpeechT5HifiGan,
    SpeechT5Processor,
)
from transformers.cache_utils import EncoderDecoderCache
from transformers.modeling_outputs import Seq2SeqSpectrogramOutput
from transformers.models.speecht5.modeling_speecht5 import (
    SpeechT5Attention,
    SpeechT5ScaledPositionalEncoding,
    SpeechT5SpeechDecoderPostnet,
)

from sure.audio.log_mel import LogMel
from sure.backbone.attention import attend
from sure.backbone.padding import fix_batch_norms, zero_padding
from sure.backbone.text_to_speech import CHARACTERS_PER_SECOND, TextToSpeech, padded_labels
from sure.errors import SureError

# Slow speech has eight characters a second, of eight frames each; with the library's own limit of 20, a model that has
# not learnt to stop babbles on and on.
FRAMES_PER_TOKEN = 10

# Probability of the end at which it stops, as in the library.
_STOP = 0.5
_SEED = 0
_FRAMES_PER_SECOND = 62.5

_ENCODER = r"speecht5\.encoder\.wrapped_encoder\.layers\.\d+"
_DECODER = r"speecht5\.decoder\.wrapped_decoder\.layers\.\d+"
_ATTENTION = {"encoder": rf"{_ENCODER}\.attention", "decoder": rf"{_DECODER}\.(?:self_attn|encoder_attn)"}
_PARTS = {
    part: {
        "layer": layer,
        "attention": rf"{layer}\.(?:attention|self_attn)",
        "query": rf"{_ATTENTION[part]}\.q_proj",
        "key": rf"{_ATTENTION[part]}\.k_proj",
        "value": rf"{_ATTENTION[part]}\.v_proj",
        "output": rf"{_ATTENTION[part]}\.out_proj",
        "ffn": rf"{layer}\.feed_forward",
        "ffn_in": rf"{layer}\.feed_forward\.intermediate_dense",
        "ffn_out": rf"{layer}\.feed_forward\.output_dense",
        "norm": rf"{layer}\.(?:self_attn_|encoder_attn_|final_)?layer_norm",
    }
    for part, layer in (("encoder", _ENCODER), ("decoder", _DECODER))
}


class SpeechT5(TextToSpeech):
    """The text-to-speech model of SpeechT5's several."""

    roles: ClassVar[dict[str, str]] = (
        {role: rf"(?:{pattern}|{_PARTS['decoder'][role]})" for role, pattern in _PARTS["encoder"].items()}
        | {f"{part}_{role}": pattern for part, roles in _PARTS.items() for role, pattern in roles.items()}
        | {"cross_attention": rf"{_DECODER}\.encoder_attn"}
    )
    autoregressive = True
    positions: ClassVar[str | None] = "position_bias"
    vocoder_class = SpeechT5HifiGan

    @classmethod
    def read_processor(cls, place: str, revision: str | None) -> SpeechT5Processor:
        try:
            return SpeechT5Processor.from_pretrained(place, revision=revision)
        except ImportError:
            raise SureError('SpeechT5 reads text with sentencepiece: pip install "sure-bench[tts]".') from None

    def prepare(self) -> None:
        """Nothing reads padding, nothing is skipped at random, and adapters reach the attention."""
        model = self.model
        model.__class__ = _SpeechT5
        model.speecht5.decoder.prenet.encode_positions.__class__ = _Positions
        model.speech_decoder_postnet.__class__ = _Postnet
        model.speech_decoder_postnet.mask = None
        model.speecht5.encoder.wrapped_encoder.layerdrop = model.speecht5.decoder.wrapped_decoder.layerdrop = 0.0
        fix_batch_norms(model)
        # Of its own, because a method may name another function in it, for which masks would be made in another way.
        config = copy.copy(model.config)
        for module in model.modules():
            if isinstance(module, SpeechT5Attention):
                module.__class__, module.config = _Attention, config

    def lengthened_positions(self, positions: Tensor, hidden_states: Tensor, more: int) -> Tensor:
        """(frames, frames, width of a head) of the encoder, whose layers alone are told any."""
        return self.model.speecht5.encoder.wrapped_encoder.embed_positions(hidden_states)

    def log_mel(self) -> LogMel:
        extractor = self.processor.feature_extractor
        return LogMel(
            rate=extractor.sampling_rate,
            fft=extractor.n_fft,
            window=extractor.sample_size,
            hop=extractor.sample_stride,
            bins=extractor.num_mel_bins,
            lowest=extractor.fmin,
            highest=extractor.fmax,
            floor=extractor.mel_floor,
        )

    def speaker_width(self) -> int:
        return self.config.speaker_embedding_dim

    def text_inputs(self, texts: Sequence[str]) -> dict[str, Tensor]:
        inputs = self.processor.tokenizer(list(texts), padding=True, return_tensors="pt")
        longest = self.config.max_text_positions
        for text, tokens in zip(texts, inputs["attention_mask"].sum(dim=1).tolist(), strict=True):
            if tokens > longest:
                raise SureError(
                    f"{text[:40]!r}...: {tokens} tokens, and {self.name} reads at most {longest}. Shorten it, and "
                    "its recording where it has one."
                )
        return {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}

    def targets(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Spectrograms of `SpeechT5FeatureExtractor`, cut to whole steps of the decoder, and their mask."""
        log_mel, step = self.log_mel(), self.config.reduction_factor
        spectrograms = [log_mel(row["waveform"]) for row in rows]
        labels, mask = padded_labels([spectrogram[: len(spectrogram) // step * step] for spectrogram in spectrograms])
        return {"labels": labels, "decoder_attention_mask": mask}

    def example(self, seconds: int, device: torch.device) -> dict[str, Tensor]:
        config = self.config
        frames = int(seconds * _FRAMES_PER_SECOND) // config.reduction_factor * config.reduction_factor
        length = min(seconds * CHARACTERS_PER_SECOND, config.max_text_positions)
        tokens = torch.full((1, length), config.vocab_size - 1, device=device)
        return {
            "input_ids": tokens,
            "attention_mask": torch.ones_like(tokens),
            "speaker_embeddings": torch.zeros(1, config.speaker_embedding_dim, device=device),
            "labels": torch.zeros(1, frames, config.num_mel_bins, device=device),
            "decoder_attention_mask": torch.ones(1, frames, dtype=torch.long, device=device),
        }


class _SpeechT5(SpeechT5ForTextToSpeech):
    """Gives its loss with labels, and speaks without."""

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        speaker_embeddings: Tensor,
        labels: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
    ) -> Seq2SeqSpectrogramOutput | list[Tensor]:
        self.speech_decoder_postnet.mask = decoder_attention_mask
        if labels is None:
            with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                torch.manual_seed(_SEED)
                return self._speak(input_ids, attention_mask, speaker_embeddings)
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            speaker_embeddings=speaker_embeddings,
            labels=labels,
            decoder_attention_mask=decoder_attention_mask,
            use_cache=False,
        )

    @torch.no_grad()
    def _speak(self, input_ids: Tensor, attention_mask: Tensor, speaker_embeddings: Tensor) -> list[Tensor]:
        """As `generate_speech`, whose batches go on until the longest text's limit, for all of them."""
        decoder, postnet, step = self.speecht5.decoder, self.speech_decoder_postnet, self.config.reduction_factor
        encoded = self.speecht5.encoder(input_values=input_ids, attention_mask=attention_mask).last_hidden_state
        longest = (attention_mask.sum(dim=1) * FRAMES_PER_TOKEN // step).clamp(max=self.config.max_speech_positions)
        steps = torch.zeros_like(longest)
        frame = encoded.new_zeros(len(encoded), 1, self.config.num_mel_bins)
        frames, cache = [], None
        for made in range(int(longest.max())):
            with decoder.prenet.encode_positions.starting_at(made):
                hidden_states = decoder.prenet(frame, speaker_embeddings)
            output = decoder.wrapped_decoder(
                hidden_states=hidden_states,
                encoder_hidden_states=encoded,
                encoder_attention_mask=attention_mask,
                cache=cache,
                use_cache=True,
            )
            cache, last = output.cache, output.last_hidden_state[:, 0]
            frames.append(postnet.feat_out(last).view(len(last), step, -1))
            frame = frames[-1][:, -1:]
            stops = postnet.prob_out(last).sigmoid().sum(dim=-1) >= _STOP
            steps[(steps == 0) & (stops | (made + 1 >= longest))] = made + 1
            if steps.all():
                break
        spoken = torch.cat(frames, dim=1)
        ends = (steps * step).tolist()
        return [postnet.postnet(one[None, :end])[0] for one, end in zip(spoken, ends, strict=True)]


class _Positions(SpeechT5ScaledPositionalEncoding):
    """Positions that may begin later, for a decoder that is given one frame at a time."""

    first = 0

    @contextmanager
    def starting_at(self, first: int) -> Iterator[None]:
        self.first = first
        try:
            yield
        finally:
            self.first = 0

    def forward(self, embeddings: Tensor) -> Tensor:
        positions = self.pe[:, self.first : self.first + embeddings.shape[1]]
        return self.dropout(embeddings + self.alpha * positions)


class _Postnet(SpeechT5SpeechDecoderPostnet):
    """Convolutions that find zeros after an utterance's end, in a batch as alone."""

    mask: Tensor | None

    def postnet(self, hidden_states: Tensor) -> Tensor:
        output = hidden_states.transpose(1, 2)
        for layer in self.layers:
            output = layer(zero_padding(output, self.mask))
        return hidden_states + output.transpose(1, 2)


class _Attention(SpeechT5Attention):
    """Attention through `transformers`' interface, where prefix-tuning finds it."""

    config: PreTrainedConfig
    is_causal = False

    def forward(
        self,
        hidden_states: Tensor,
        key_value_states: Tensor | None = None,
        cache: EncoderDecoderCache | None = None,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """`position_bias` are embeddings of relative positions, (frames, frames, width of a head).

        It takes nothing else: an argument under a new name, left unread, would change what is said and no more.
        """
        query = self._heads(self.q_proj(hidden_states))
        if key_value_states is None:
            key, value = self._heads(self.k_proj(hidden_states)), self._heads(self.v_proj(hidden_states))
            if cache is not None:
                key, value = cache.self_attention_cache.update(key, value, self.layer_idx)
        else:
            key, value = self._of_the_text(key_value_states, cache)
        bias = None
        if position_bias is not None:
            bias = torch.einsum("bhqd,qkd->bhqk", query * self.scaling, position_bias)
        attended = attend(
            self, query, key, value, attention_mask, dropout=self.dropout, scaling=self.scaling, position_bias=bias
        )
        # Self-attention's weights are asked for too, and read by nobody.
        asked = output_attentions and key_value_states is not None
        return self.out_proj(attended), self._weights(query, key, attention_mask) if asked else None

    def _heads(self, states: Tensor) -> Tensor:
        """(batch, frames, width) to (batch, heads, frames, width of a head)."""
        return states.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def _of_the_text(self, encoded: Tensor, cache: EncoderDecoderCache | None) -> tuple[Tensor, Tensor]:
        """Keys and values of the encoder's states, made once where there is a cache."""
        if cache is not None and cache.is_updated.get(self.layer_idx):
            layer = cache.cross_attention_cache.layers[self.layer_idx]
            return layer.keys, layer.values
        key, value = self._heads(self.k_proj(encoded)), self._heads(self.v_proj(encoded))
        if cache is not None:
            key, value = cache.cross_attention_cache.update(key, value, self.layer_idx)
            cache.is_updated[self.layer_idx] = True
        return key, value

    def _weights(self, query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
        """What the guided attention loss reads: how a frame's attention is shared among the text alone, so that a
        prefix is no way around it."""
        scores = query * self.scaling @ key.transpose(-2, -1)
        return (scores if mask is None else scores + mask).softmax(dim=-1)
