"""FastSpeech 2 with conformers (Ren et al. 2021; Guo et al. 2021, ESPnet): all frames at once, by predicted durations.

`layer` means the layers of both encoder and decoder; any role behind `encoder_` or `decoder_` is of one alone. The
feed-forward blocks are convolutions, which of PEFT's methods lora, loha and lokr can adapt; give the others
`roles=query,key,value,output`.

A model reads the tokens of its `vocab.json`: phonemes by g2p-en, as the released models do, or where there are none,
characters. Training needs to know how many frames each token takes: from a file (`--task_options durations=...`), or
for characters by forced alignment (`sure.task.text_to_speech.alignment`).

Spectrograms are those of ESPnet's recipe for LJ Speech (22.05 kHz, 256 samples a frame); pitch is log F0 by WORLD,
energy the square root of a frame's power, both the mean over a token's frames. All three are standardised, by means and
deviations that a model's configuration may have (`mel_mean`, `mel_deviation`, `pitch_mean` and so on). The released
models have learnt those of LJ Speech and come without; here they are measured on 32 of its utterances.
"""

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    FastSpeech2ConformerHifiGan,
    FastSpeech2ConformerModel,
    FastSpeech2ConformerTokenizer,
    PreTrainedConfig,
)
from transformers.models.fastspeech2_conformer.modeling_fastspeech2_conformer import (
    FastSpeech2ConformerAttention,
    FastSpeech2ConformerDurationPredictor,
    FastSpeech2ConformerModelOutput,
)
from transformers.utils import cached_file

from sure.audio.log_mel import LogMel
from sure.audio.pitch import f0
from sure.backbone.attention import attend
from sure.backbone.padding import Padding, fix_batch_norms, zero_padding
from sure.backbone.text_to_speech import CHARACTERS_PER_SECOND, TextToSpeech, Voices, padded_labels
from sure.errors import SureError
from sure.files import write_atomically

_LOG_MEL = LogMel(rate=22_050, fft=1024, window=1024, hop=256, bins=80, lowest=80.0, highest=7600.0)

# A phoneme of ARPAbet with stress, which only vocabularies of phonemes have.
_PHONEME = "AH0"
_VOCABULARY = "vocab.json"
_END = "<sos/eos>"
_UNKNOWN = "<unk>"

# Two seconds. What a model says that has not learnt durations yet must fit into memory.
_LONGEST_TOKEN = 172

# Frames by which an alignment may miss the end of its utterance, since tools count frames in different ways.
_SLACK = 3

_LAYER = {"": r"(?:encoder|decoder)\.conformer_layers\.\d+"}
_LAYER |= {f"{part}_": rf"{part}\.conformer_layers\.\d+" for part in ("encoder", "decoder")}
_PARTS = {
    "layer": "",
    "attention": r"\.self_attn",
    "query": r"\.self_attn\.linear_q",
    "key": r"\.self_attn\.linear_k",
    "value": r"\.self_attn\.linear_v",
    "output": r"\.self_attn\.linear_out",
    "ffn": r"\.feed_forward(?:_macaron)?",
    "ffn_in": r"\.feed_forward(?:_macaron)?\.conv1",
    "ffn_out": r"\.feed_forward(?:_macaron)?\.conv2",
    "norm": r"\.(?:ff_|ff_macaron_|self_attn_|conv_|final_)layer_norm",
}


class FastSpeech2Conformer(TextToSpeech):
    """Speakers are told apart by models that read speaker embeddings (`speaker_embed_dim`)."""

    roles: ClassVar[dict[str, str]] = {
        f"{prefix}{role}": f"{layer}{part}" for prefix, layer in _LAYER.items() for role, part in _PARTS.items()
    }
    needs_durations = True
    positions: ClassVar[str | None] = "pos_emb"
    vocoder_class = FastSpeech2ConformerHifiGan

    @classmethod
    def read_processor(cls, place: str, revision: str | None) -> "_Tokens":
        path = cached_file(place, _VOCABULARY, revision=revision)
        vocabulary = json.loads(Path(path).read_text(encoding="utf-8"))
        if _PHONEME not in vocabulary:
            return _Characters(vocabulary)
        try:
            return _Phonemes(FastSpeech2ConformerTokenizer.from_pretrained(place, revision=revision))
        except (ImportError, LookupError):
            raise SureError(
                f"--backbone {place} reads phonemes, which g2p-en finds: pip install g2p-en, and once, with a network, "
                "python -c \"import nltk; nltk.download('cmudict'); nltk.download('averaged_perceptron_tagger_eng')\"."
            ) from None

    def prepare(self) -> None:
        """Nothing reads padding, and adapters reach the attention."""
        model, padding = self.model, self.padding
        model.__class__ = _FastSpeech2
        model.padding, model.voices = padding, self.voices
        model.decoder.register_forward_pre_hook(_LocateFrames(padding))
        model.duration_predictor.__class__ = _DurationPredictor
        fix_batch_norms(model)
        # A class of this padding, since PEFT makes convolutions of its own of the class that it finds.
        convolution = type(_Conv1d.__name__, (_Conv1d,), {"where": padding})
        config = copy.copy(model.config)
        for module in model.modules():
            if isinstance(module, FastSpeech2ConformerAttention):
                module.__class__, module.config = _Attention, config
            elif type(module) is nn.Conv1d:
                module.__class__ = convolution

    def lengthened_positions(self, positions: Tensor, hidden_states: Tensor, more: int) -> Tensor:
        """(1, 2 * frames - 1, width) by distance, from the longest ahead to the longest behind."""
        _, longer = self.model.encoder.pos_enc(hidden_states)
        # In training all layers see the same ones dropped out.
        return torch.cat([longer[:, :more], positions, longer[:, -more:]], dim=1)

    def log_mel(self) -> LogMel:
        mean, deviation = _statistics("mel", self.config)
        return replace(_LOG_MEL, mean=mean, deviation=deviation)

    def speaker_width(self) -> int | None:
        return self.config.speaker_embed_dim

    def text_inputs(self, texts: Sequence[str]) -> dict[str, Tensor]:
        tokens = [torch.tensor(self.processor(text)) for text in texts]
        lengths = torch.tensor([len(ids) for ids in tokens])
        input_ids = nn.utils.rnn.pad_sequence(tokens, batch_first=True)
        return {
            "input_ids": input_ids,
            "attention_mask": (torch.arange(input_ids.shape[1]) < lengths.unsqueeze(1)).long(),
        }

    def targets(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """A row has `durations` too, the frames of each token. Raises `SureError` where they do not fit, naming it."""
        config, log_mel = self.config, self.log_mel()
        made = [_aligned(row, self.processor(row["text"]), log_mel, config) for row in rows]
        labels, _ = padded_labels([spectrogram for spectrogram, _, _, _ in made])
        durations, pitch, energy = (
            nn.utils.rnn.pad_sequence([torch.from_numpy(parts[index]) for parts in made], batch_first=True)
            for index in (1, 2, 3)
        )
        return {
            "labels": labels,
            "durations": durations,
            "pitch": pitch.unsqueeze(-1),
            "energy": energy.unsqueeze(-1),
        }

    def durations(self, text: str, times: np.ndarray, seconds: float) -> list[int]:
        if not isinstance(self.processor, _Characters):
            raise SureError(
                f"--backbone {self.name} reads phonemes, which are aligned by other tools, such as the Montreal "
                "Forced Aligner; give the durations in a file: --task_options durations=FILE."
            )
        begins = [times[place] for place, _ in self.processor.placed(text)]
        # What comes before the first token that the model reads belongs to it.
        edges = np.minimum([0.0, *begins[1:], seconds], seconds) * (_LOG_MEL.rate / _LOG_MEL.hop)
        return np.diff(np.round(edges).astype(int)).tolist()

    def example(self, seconds: int, device: torch.device) -> dict[str, Tensor]:
        config = self.config
        tokens = torch.ones(1, seconds * CHARACTERS_PER_SECOND, dtype=torch.long, device=device)
        durations = torch.full_like(tokens, round(_LOG_MEL.rate / _LOG_MEL.hop / CHARACTERS_PER_SECOND))
        nothing = torch.zeros(*tokens.shape, 1, device=device)
        example = {
            "input_ids": tokens,
            "attention_mask": torch.ones_like(tokens),
            "labels": torch.zeros(1, int(durations.sum()), config.num_mel_bins, device=device),
            "durations": durations,
            "pitch": nothing,
            "energy": nothing,
        }
        if config.speaker_embed_dim:
            example["speaker_embeddings"] = torch.zeros(1, config.speaker_embed_dim, device=device)
        return example


class _Characters:
    """A text as the ids of its characters, in lower case where there is no other, and one of its end."""

    def __init__(self, vocabulary: dict[str, int]) -> None:
        self.vocabulary = vocabulary

    def __call__(self, text: str) -> list[int]:
        return [known for _, known in self.placed(text)]

    def save_pretrained(self, folder: Path) -> None:
        """Where models of this family have it; `transformers` has none that reads characters."""
        write_atomically(Path(folder) / _VOCABULARY, json.dumps(self.vocabulary, ensure_ascii=False) + "\n")

    def placed(self, text: str) -> list[tuple[int, int]]:
        """Place in the text and id of each token."""
        ids = [self.vocabulary.get(character, self.vocabulary.get(character.lower())) for character in text]
        ids = [self.vocabulary.get(_UNKNOWN) if known is None else known for known in ids]
        return [(place, known) for place, known in enumerate((*ids, self.vocabulary.get(_END))) if known is not None]


class _Phonemes:
    """A text as the ids of its phonemes."""

    def __init__(self, tokenizer: FastSpeech2ConformerTokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(self, text: str) -> list[int]:
        return self.tokenizer(text)["input_ids"]


_Tokens = _Characters | _Phonemes


class _FastSpeech2(FastSpeech2ConformerModel):
    """Gives its loss with labels, in training mode, and speaks without."""

    padding: Padding
    voices: Voices

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        speaker_embeddings: Tensor | None = None,
        labels: Tensor | None = None,
        durations: Tensor | None = None,
        pitch: Tensor | None = None,
        energy: Tensor | None = None,
    ) -> FastSpeech2ConformerModelOutput | list[Tensor]:
        if labels is None:
            speakers = [None] * len(input_ids) if speaker_embeddings is None else speaker_embeddings
            return [self._speak(*one) for one in zip(input_ids, attention_mask, speakers, strict=True)]
        return super().forward(
            input_ids,
            attention_mask=attention_mask,
            spectrogram_labels=labels,
            duration_labels=durations,
            pitch_labels=pitch,
            energy_labels=energy,
            speaker_embedding=speaker_embeddings,
            return_dict=True,
        )

    def _speak(self, ids: Tensor, mask: Tensor, speaker: Tensor | None) -> Tensor:
        # Alone: the library has no masks for what a batch says.
        self.padding.mask = None
        self.voices.embeddings = speaker = None if speaker is None else speaker.unsqueeze(0)
        said = super().forward(ids[mask.bool()].unsqueeze(0), speaker_embedding=speaker, return_dict=True)
        return said.spectrogram[0]


class _LocateFrames:
    """Before the decoder: from here on, padding is that of frames, no longer that of tokens."""

    def __init__(self, padding: Padding) -> None:
        self.padding = padding

    def __call__(self, decoder: nn.Module, args: tuple[Tensor, Tensor | None]) -> None:
        mask = args[1]
        self.padding.mask = None if mask is None else mask.squeeze(1).bool()


class _Conv1d(nn.Conv1d):
    """A convolution that finds zeros after an utterance's end, in a batch as alone."""

    where: ClassVar[Padding]

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(zero_padding(inputs, self.where.mask))


class _DurationPredictor(FastSpeech2ConformerDurationPredictor):
    """Durations that fit into memory, whatever is predicted."""

    def forward(self, encoder_hidden_states: Tensor) -> Tensor:
        durations = super().forward(encoder_hidden_states)
        if self.training:
            # As logarithms.
            return durations
        # Below 0 is what was too large for a whole number.
        return torch.where(durations < 0, _LONGEST_TOKEN, durations).clamp(max=_LONGEST_TOKEN)


class _Attention(FastSpeech2ConformerAttention):
    """Attention with relative positions (Dai et al. 2019, section 3.3) through `transformers`' interface."""

    config: PreTrainedConfig
    is_causal = False

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        pos_emb: Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, None]:
        """`attention_mask` (batch, 1, frames), `pos_emb` (1, 2 * frames - 1, width)."""
        query, key, value, positions = (
            projected.view(len(projected), -1, self.num_heads, self.head_dim)
            for projected in (
                self.linear_q(hidden_states),
                self.linear_k(hidden_states),
                self.linear_v(hidden_states),
                self.linear_pos(pos_emb),
            )
        )
        scaling = self.head_dim**-0.5
        relative = (query + self.pos_bias_v).transpose(1, 2) @ positions.permute(0, 2, 3, 1)
        attended = attend(
            self,
            (query + self.pos_bias_u).transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            None if attention_mask is None else attention_mask.bool().unsqueeze(1),
            dropout=self.dropout.p,
            scaling=scaling,
            position_bias=self.shift_relative_position_tensor(relative) * scaling,
        )
        return self.linear_out(attended), None


def _aligned(
    row: dict[str, Any], tokens: list[int], log_mel: LogMel, config: PreTrainedConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Spectrogram (frames, bins), and by token durations, pitch and energy, each (tokens,)."""
    durations = np.array(row["durations"], dtype=np.int64)
    if len(durations) != len(tokens):
        raise SureError(f"Durations of {row['id']}: {len(durations)}, and the text has {len(tokens)} tokens.")
    spectrogram = log_mel(row["waveform"])
    missing = len(spectrogram) - durations.sum()
    if abs(missing) > _SLACK:
        raise SureError(f"Durations of {row['id']}: {durations.sum()} frames in all; its audio has {len(spectrogram)}.")
    durations[durations.argmax()] += missing
    owner = np.repeat(np.arange(len(durations)), durations)
    # A token without frames has the values of the frame that comes next.
    first = np.minimum(durations.cumsum() - durations, len(spectrogram) - 1)
    energy = np.sqrt(np.square(log_mel.amplitudes(spectrogram)).sum(axis=1))
    by_token = []
    for name, values in (("pitch", _pitch(row["waveform"], len(spectrogram))), ("energy", energy)):
        mean, deviation = _statistics(name, config)
        values = np.zeros(len(spectrogram)) if values is None else (values - mean) / deviation
        means = np.bincount(owner, values, len(durations)) / np.maximum(durations, 1)
        by_token.append(np.where(durations, means, values[first]).astype(np.float32))
    return spectrogram, durations, *by_token


def _pitch(waveform: np.ndarray, frames: int) -> np.ndarray | None:
    """log F0 of each frame, shape (frames,), between voiced frames in a straight line; None where none is voiced."""
    values, _ = f0(waveform, 1000 * _LOG_MEL.hop / _LOG_MEL.rate)
    voiced = np.flatnonzero(values)
    if not len(voiced):
        return None
    return np.interp(np.arange(frames), voiced, np.log(values[voiced]))


def _statistics(name: str, config: PreTrainedConfig) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of `mel` (of all bins, or of each), `pitch` or `energy`, as a model has learnt them."""
    names = (f"{name}_mean", f"{name}_deviation")
    return tuple(np.array(getattr(config, key, _ljspeech()[key]), dtype=np.float32) for key in names)


@cache
def _ljspeech() -> dict[str, Any]:
    return json.loads((files("sure.backbone") / "ljspeech_statistics.json").read_text(encoding="utf-8"))
