"""Prompt tuning (VPT, Jia et al. 2022, 2203.12119): learned tokens before the first frame of every layer or of one.

[P ; x] goes into a layer, and the first of what it puts out, as many as P has, are taken off again: between layers, in
recorded hidden states and in heads there are frames alone. Deep prompts (VPT-deep) are each layer's own, and what the
layer makes of them is left; of shallow ones (VPT-shallow) the first adapted layer has some, and what a layer makes of
them stands before the frames of the next. Where a family has positions in its layers, prompts have those before the
first frame; no padding hides them.
"""

import inspect
import math
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from transformers import PreTrainedModel

from sure.backbone import Backbone
from sure.backbone.padding import Padding
from sure.errors import SureError
from sure.method import AdapterLayer, MethodConfig, Preset, Published, register
from sure.method.gating import Gate

# Values of an image patch of 16 times 16 in three colours, which the start of VPT's prompts counts.
_PATCH = 3 * 16 * 16


@dataclass
class PromptTuning(MethodConfig):
    """Unless told otherwise DPT-25 of Cappellazzo et al. 2023 (2312.03694), 25 deep prompts.

    Their head is told the mean over all that the last layer puts out, prompts too; here over frames alone. Their
    prompts take the place of AST's distillation token, which stays here. In a decoder that says one frame after another
    prompts would come again before each; its layers get none.
    """

    presets: ClassVar[dict[str, Preset]] = {
        "ast_deep": Preset("DPT-25, Cappellazzo et al. 2023 (2312.03694)", {}),
        "ast_shallow": Preset("SPT-300, Cappellazzo et al. 2023 (2312.03694)", {"prompts": 300, "depth": "shallow"}),
        "ipet": Preset(
            "the embedding prompt of IPET (Kim et al. 2022, 2211.02227), as many as its code has for wav2vec 2.0 on "
            "VoxCeleb1; without its adapter",
            {"prompts": 64, "initialisation": "xavier"},
        ),
        "peft_ser": Preset(
            "the embedding prompt of PEFT-SER (Feng and Narayanan 2023, 2306.05350), as in its code",
            {"prompts": 5, "initialisation": "xavier"},
        ),
        "deep_speaker_prompting": Preset(
            "Deep Speaker Prompting of UniPET-SPK (Sang and Hansen 2025, 2501.16542), of which only 'trainable prompt "
            "tokens concatenated into the input space' is known here: depth, number and start are this project's "
            "reading",
            {"prompts": 64, "initialisation": "xavier"},
        ),
    }
    published: ClassVar[tuple[Published, ...]] = (
        Published(
            230_000,
            "audio_spectrogram_transformer:base",
            None,
            "Cappellazzo et al. 2023, table 1",
            "ast_deep",
            rounded=1000,
        ),
        Published(
            230_000,
            "audio_spectrogram_transformer:base",
            None,
            "Cappellazzo et al. 2023, table 1",
            "ast_shallow",
            rounded=1000,
        ),
    )
    dimension: ClassVar[str] = "prompts"

    prompts: PositiveInt = field(default=25, metadata={"help": "How many stand before the first frame."})
    depth: Literal["deep", "shallow"] = field(
        default="deep",
        metadata={"help": "deep: each layer has its own; shallow: the first adapted layer has, and hands them on."},
    )
    initialisation: Literal["uniform", "xavier"] = field(
        default="uniform",
        metadata={
            "help": "uniform: within the root of 6 / (3 * 16 * 16 + width) (VPT, 2312.03694); xavier: within that of "
            "6 / (width * (prompts + 1)), as PyTorch has it for IPET's (1, prompts, width)."
        },
    )
    gate: bool = field(
        default=False,
        metadata={
            "help": "Prompts times a number from 0 to 1 for each utterance, learned of the layer's input (UniPELT's "
            "gate; for UniPET-SPK, as this project reads it)."
        },
    )

    def targets(self, backbone: Backbone, roles: tuple[str, ...]) -> list[str] | str:
        """Layers, of an encoder-decoder that says one thing after another the encoder's."""
        why = "prompts stand before the first frame, and would stand again before each that"
        return super().targets(backbone, backbone.encoder_roles(roles, why))


def start_as_patches(tokens: Tensor, width: int) -> None:
    """Tokens from U(-v, v), v the root of 6 / (3 * 16 * 16 + width): VPT's start, of PETL_AST's prefixes too."""
    bound = math.sqrt(6 / (_PATCH + width))
    nn.init.uniform_(tokens, -bound, bound)


class _Prompts(nn.Module):
    def __init__(self, width: int, config: PromptTuning) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(config.prompts, width))
        self.gate = Gate(width) if config.gate else None
        if config.initialisation == "uniform":
            start_as_patches(self.tokens, width)
        else:
            nn.init.xavier_uniform_(self.tokens.data.unsqueeze(0))

    def forward(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        """(batch, frames, width) -> (batch, prompts, width)."""
        tokens = self.tokens.to(hidden_states.dtype).expand(len(hidden_states), -1, -1)
        return tokens if self.gate is None else tokens * self.gate(hidden_states, padding)


class _HandedOn(nn.Module):
    """Of a layer whose prompts are what the layer before it made of its own."""

    def __init__(self, earlier: "_PromptLayer") -> None:
        super().__init__()
        # Not a part of this one.
        self._earlier = [earlier]

    def forward(self, hidden_states: Tensor, padding: Padding) -> Tensor:
        """As `_Prompts`. What is handed on is kept for this forward pass only."""
        (earlier,) = self._earlier
        prompts, earlier.handed_on = earlier.handed_on, None
        return prompts


class _PromptLayer(AdapterLayer):
    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: PromptTuning) -> None:
        name = next(name for name, module in model.named_modules() if module is base_layer)
        # Other methods may be around it.
        name = name.replace(".base_layer", "")
        if not re.fullmatch(model.source.modules("layer"), name):
            raise SureError(
                f"prompt_tuning puts prompts before the frames of a whole layer, which {name} is not: choose "
                "--method_options roles=layer."
            )
        self.source = model.source
        # Whose layers hand prompts on to one another; not a part of this one.
        self._stack = [model.get_submodule(name.rpartition(".")[0])]
        # Of adapters, those whose next layer takes what this one makes of its prompts; and what it has made.
        self.hands_on: set[str] = set()
        self.handed_on: Tensor | None = None
        super().__init__(base_layer, model, adapter_name, config)

    def new_adapter(self, config: PromptTuning) -> nn.Module:
        return _Prompts(self.model_config.hidden_size, config)

    def add(self, adapter_name: str, config: PromptTuning) -> None:
        super().add(adapter_name, config)
        if config.depth == "deep":
            return
        layers = [module for module in self._stack[0].modules() if isinstance(module, _PromptLayer)]
        # They are adapted in their order.
        if earlier := [layer for layer in layers if layer is not self and adapter_name in layer.sure_adapter]:
            self.sure_adapter[adapter_name] = _HandedOn(earlier[-1])
            earlier[-1].hands_on.add(adapter_name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.active is None:
            return self.base_layer(*args, **kwargs)
        hidden_states, call = self._call(*args, **kwargs)
        self.check(hidden_states)
        prompts = self.sure_adapter[self.active](hidden_states, self.padding)
        more = prompts.shape[1]
        longer = torch.cat([prompts, hidden_states], dim=1)
        with self.padding.lengthened(more, self.get_base_layer()):
            output = self.base_layer(longer, **self.source.lengthened_call(call, longer, more))
        states, *others = output if isinstance(output, tuple) else (output,)
        if self.active in self.hands_on:
            self.handed_on = states[:, :more]
        if not isinstance(output, tuple):
            return states[:, more:]
        # Whatever else a layer gives is from frame to frame: positions, weights of attention.
        return states[:, more:], *(other[..., more:, more:] if torch.is_tensor(other) else other for other in others)

    def _call(self, *args: Any, **kwargs: Any) -> tuple[Tensor, dict[str, Any]]:
        """The hidden states and, by name, what else the layer is called with."""
        signature = inspect.signature(self.get_base_layer().forward)
        call = signature.bind(*args, **kwargs).arguments
        hidden_states = call.pop(next(iter(call)))
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                call |= call.pop(name, {})
        return hidden_states, call


register(PromptTuning, _PromptLayer)
