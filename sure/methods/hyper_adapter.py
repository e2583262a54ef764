"""Adapters whose weights a hypernetwork makes of who speaks and where they are (HyperTTS, Li et al. 2024, 2404.04645).

Source vector of an utterance, e being the speaker embedding and l a learned embedding of the place:

    s = ReLU(W_p [W_s e + b_s ; l])

Adapter, all of whose weights are linear in s, their generators G and H having no biases:

    y = h + W_up ReLU(W_down h + b_down) + b_up,  W_down = G_down s (bottleneck x width), b_down = H_down s, up alike

The generators, W_s and W_p are those of all layers of an encoder or of a decoder, so that a layer more costs a place's
embedding and nothing else. HyperGenerator (Li et al. 2024, 2406.17257) puts such adapters behind the blocks of SpeechT5
and also gives them an embedding of the language. No task here says which language is spoken, and it is left out.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from transformers import PreTrainedModel

from sure.backbone.padding import Padding
from sure.backbone.text_to_speech import TextToSpeech, Voices
from sure.errors import SureError
from sure.method import Preset, innermost, register
from sure.method.placement import PlacedAdapter, PlacedConfig, PlacedLayer
from sure.method.sharing import SharingLayer, stack_of


@dataclass
class HyperAdapter(PlacedConfig):
    """After each block as HyperGenerator has it; equations, sizes and start are those of HyperTTS' release.

    It starts near the identity: generators and W_p as N(0, 0.01), l as N(0, 1).

    This project's readings: an encoder and a decoder share nothing, as in HyperTTS. Speaker embeddings are scaled to
    length one, as SpeechT5 and FastSpeech2Conformer do that read them too. A backbone that reads none, such as a speech
    encoder, has s = ReLU(W_p l): generators that layers share, and no more.
    """

    presets: ClassVar[dict[str, Preset]] = {
        "hyper_generator": Preset(
            "HyperGenerator, Li et al. 2024 (2406.17257), without its embedding of a language", {}
        ),
        "hypertts": Preset(
            "HyperTTS, Li et al. 2024 (2404.04645), as its code has it: on what the feed-forward blocks put out; its "
            "variants e and d are roles=encoder_ffn and roles=decoder_ffn",
            {"placement": ["ffn"]},
        ),
    }
    dimension: ClassVar[str] = "bottleneck_dimension"

    bottleneck_dimension: PositiveInt = field(default=32, metadata={"help": "Size between Down and Up."})
    source_dimension: PositiveInt = field(default=8, metadata={"help": "Size of s, which weights are made of."})
    embedding_dimension: PositiveInt = field(
        default=64, metadata={"help": "Size of a place's embedding, and to which speakers' are projected."}
    )
    generators: Literal["shared", "own"] = field(
        default="shared",
        metadata={
            "help": "shared: one set for all layers, told apart by their embeddings; own: a set for each layer, of the "
            "speaker alone ('big' in HyperTTS)."
        },
    )


def _linear(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(linear.weight, std=0.01)
    return linear


class _Generators(nn.Module):
    def __init__(self, width: int, config: HyperAdapter) -> None:
        super().__init__()
        size, source = config.bottleneck_dimension, config.source_dimension
        self.down, self.down_bias = _linear(source, size * width), _linear(source, size)
        self.up, self.up_bias = _linear(source, width * size), _linear(source, width)

    def forward(self, source: Tensor, hidden_states: Tensor) -> Tensor:
        """`source` (batch, size of s), or of one for all; `hidden_states` (batch, frames, width), in and out."""
        width = hidden_states.shape[-1]
        down = self.down(source).view(len(source), -1, width)
        up = self.up(source).view(len(source), width, -1)
        hidden = torch.relu(hidden_states @ down.mT + self.down_bias(source).unsqueeze(1))
        return hidden @ up.mT + self.up_bias(source).unsqueeze(1)


class _Common(nn.Module):
    """What the places of an encoder or a decoder share; `speakers` is the size of speaker embeddings, if any."""

    def __init__(self, width: int, speakers: int | None, config: HyperAdapter) -> None:
        super().__init__()
        size, shared = config.embedding_dimension, config.generators == "shared"
        self.speaker = nn.Linear(speakers, size) if speakers else None
        self.project = _linear(size * (bool(speakers) + shared), config.source_dimension)
        self.generators = _Generators(width, config) if shared else None

    def source(self, voices: Voices | None, place: Tensor | None) -> Tensor:
        """s, (batch, size), or without speakers (1, size); `place` is the embedding of a place, (size,)."""
        heard = [] if place is None else [place.unsqueeze(0)]
        if self.speaker is not None:
            if voices.embeddings is None:
                raise SureError("hyper_adapter makes weights of who speaks, and this batch has no speaker_embeddings.")
            speakers = self.speaker(nn.functional.normalize(voices.embeddings))
            heard = [speakers, *(place.expand(len(speakers), -1) for place in heard)]
        return torch.relu(self.project(torch.cat(heard, dim=-1)))


class _HyperAdapter(PlacedAdapter):
    # Held by the first place.
    common: _Common

    def __init__(self, width: int, voices: Voices | None, config: HyperAdapter) -> None:
        super().__init__(width, config)
        self.voices = voices
        shared = config.generators == "shared"
        self.place = nn.Parameter(torch.randn(config.embedding_dimension)) if shared else None
        self.generators = None if shared else _Generators(width, config)

    def change(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        generators = self.generators or self.common.generators
        return generators(self.common.source(self.voices, self.place), hidden_states)


class _HyperAdapterLayer(SharingLayer, PlacedLayer):
    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: HyperAdapter) -> None:
        speaks = isinstance(model.source, TextToSpeech)
        self.voices = model.source.voices if speaks else None
        self.speakers = model.source.speaker_width() if speaks else None
        if config.generators == "own" and not self.speakers:
            raise SureError(
                f"--method_options generators=own: they hear the speaker alone, and {model.source.name} reads no "
                "speaker embeddings. Choose generators=shared."
            )
        super().__init__(base_layer, model, adapter_name, config)

    def group_of(self, name: str, base_layer: nn.Module, config: HyperAdapter) -> str:
        # A normalisation that trains is no place of an adapter.
        if config.train_norms and isinstance(innermost(base_layer), nn.LayerNorm):
            return name
        return stack_of(name)

    def new_adapter(self, config: HyperAdapter) -> nn.Module:
        if self.copies_whole:
            return super().new_adapter(config)
        width = self.model_config.hidden_size
        adapter = _HyperAdapter(width, self.voices, config)
        if self.is_first:
            adapter.common = _Common(width, self.speakers, config)
        return adapter


register(HyperAdapter, _HyperAdapterLayer)
