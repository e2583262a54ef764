"""Audio Spectrogram Transformer, on patches of log mel filter banks (Gong, Chung and Glass 2021, arXiv 2104.01778).

Every recording is padded with silence or cut to the model's window, 10.24 s as pretrained. Its hidden states are a
class and a distillation token and then the patches, all times of a frequency before the next frequency: no frames in
time. All are heard, those of the silence too, and a head takes the mean over all, or over the two tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import ASTFeatureExtractor, PreTrainedConfig

from sure.audio import SAMPLE_RATE, at_least
from sure.backbone import Backbone
from sure.errors import SureError

_FRAMES_PER_SECOND = 100
# The class and the distillation token.
_TOKENS = 2


@dataclass
class AudioSpectrogramTransformerOptions:
    """What can be chosen of an Audio Spectrogram Transformer."""

    window: float | None = field(
        default=None,
        metadata={
            "help": "Seconds that are heard of each recording; as pretrained (10.24) by default. Of the table of "
            "positions a shorter one has the middle, as in the code of the model's paper, and costs in proportion."
        },
    )
    states: Literal["all", "class"] = field(
        default="all", metadata={"help": "What a head hears: all states, or the class and the distillation token."}
    )


class AudioSpectrogramTransformer(Backbone):
    """Layers that normalise first, and positions that are learned."""

    roles: ClassVar[dict[str, str]] = {
        "layer": r"layers\.\d+",
        "attention": r"layers\.\d+\.attention",
        "query": r"layers\.\d+\.attention\.q_proj",
        "key": r"layers\.\d+\.attention\.k_proj",
        "value": r"layers\.\d+\.attention\.v_proj",
        "output": r"layers\.\d+\.attention\.o_proj",
        "ffn": r"layers\.\d+\.mlp",
        "ffn_in": r"layers\.\d+\.mlp\.fc1",
        "ffn_out": r"layers\.\d+\.mlp\.fc2",
        "norm": r"layers\.\d+\.layernorm_(?:before|after)",
        "attention_norm": r"layers\.\d+\.layernorm_before",
        "ffn_norm": r"layers\.\d+\.layernorm_after",
        "cnn": r"embeddings\.patch_embeddings\.projection",
    }
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        # It hears 1.28 seconds.
        "tiny": {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "num_mel_bins": 40,
            "max_length": 128,
        },
        # Of ast-finetuned-audioset-10-10-0.4593.
        "base": {},
    }
    options_class = AudioSpectrogramTransformerOptions
    states_are_frames: ClassVar[bool] = False

    @classmethod
    def new_processor(cls, config: PreTrainedConfig) -> ASTFeatureExtractor:
        return ASTFeatureExtractor(num_mel_bins=config.num_mel_bins, max_length=config.max_length)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.options.states == "class":
            # After what records hidden states.
            self.model.register_forward_hook(_leave_the_tokens)

    def prepare(self) -> None:
        """Cut the window; and let prefix-tuning know how many heads attention has."""
        if self.options.window is not None:
            self._cut(self.options.window)
        self.window = self.config.max_length / _FRAMES_PER_SECOND
        for layer in self.model.layers:
            layer.attention.num_heads = layer.attention.num_attention_heads

    def _cut(self, seconds: float) -> None:
        """Of the table of positions the middle columns, as many as a window of so many seconds has patches."""
        config, embeddings = self.config, self.model.embeddings
        frames, longest = seconds * _FRAMES_PER_SECOND, config.max_length
        if not config.patch_size <= round(frames) <= longest:
            raise SureError(
                f"--backbone_options window={seconds:g}: {self.name} hears from "
                f"{config.patch_size / _FRAMES_PER_SECOND:g} to {longest / _FRAMES_PER_SECOND:g} seconds."
            )
        table = embeddings.position_embeddings
        tokens, patches = table[:, :_TOKENS], table[:, _TOKENS:]
        frequencies, times = embeddings.get_shape(config)
        config.max_length = length = round(frames)
        _, kept = embeddings.get_shape(config)
        first = times // 2 - kept // 2
        patches = patches.unflatten(1, (frequencies, times))[:, :, first : first + kept].flatten(1, 2)
        embeddings.position_embeddings = nn.Parameter(torch.cat([tokens, patches], dim=1).detach().clone())
        if self.processor is not None:
            self.processor.max_length = length

    def inputs(self, waveforms: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """`input_values` (batch, frames, bins), always the whole window; of longer recordings the beginning."""
        long_enough = list(map(at_least, waveforms))
        return dict(self.processor(long_enough, sampling_rate=SAMPLE_RATE, return_tensors="pt"))

    def example(self, seconds: int, device: torch.device) -> dict[str, Tensor]:
        return {"input_values": torch.zeros(1, self.config.max_length, self.config.num_mel_bins, device=device)}


def _leave_the_tokens(model: nn.Module, args: tuple, output: Any) -> None:
    output.last_hidden_state = output.last_hidden_state[:, :_TOKENS]
    if output.hidden_states is not None:
        output.hidden_states = tuple(state[:, :_TOKENS] for state in output.hidden_states)
