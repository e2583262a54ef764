"""What a backbone is: a pretrained speech model of one family, how it is fed, and where its parts are.

A file of `sure/backbones/` has one family, a subclass of `Backbone`. It says which modules play which role (`ROLES`),
so that a method names roles and works on every family.

Padding never changes an utterance's representation: where a family's convolutions or normalisations would read the
padding of a batch, they are told where it is (`Padding`), so that a batch gives what each utterance gives alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from sure.audio import SAMPLE_RATE
from sure.backbone.padding import Padding, lengthened_mask
from sure.backbone.states import Given, RecordStates
from sure.errors import SureError

# What a part of a model may be. Of a model of two halves, `encoder_layer`, `decoder_query` and so on are of one alone.
ROLES = {
    "backbone": "the whole model",
    "layer": "a transformer or conformer layer, whose output has shape (batch, frames, width)",
    "attention": "the self-attention of a layer",
    "query": "the projection of attention to queries",
    "key": "to keys",
    "value": "to values",
    "output": "the last projection of attention",
    "ffn": "a feed-forward block of a layer, whole",
    "ffn_in": "the first projection of a feed-forward block",
    "ffn_out": "its last projection",
    "norm": "the normalisations of a layer",
    "attention_norm": "of these the one before attention",
    "ffn_norm": "the one before a feed-forward block",
    "cross_attention": "a decoder's attention to the encoder",
    "cnn": "the convolutions that make frames of the waveform or of filter banks",
    "encoder": "the stack of all layers with what it adds to them, whose input `feature_projection` makes of features",
    "cnn_block": "one of these convolutions with its normalisation, if any, and activation",
    "block": "a block of a speaker network without transformer layers, (batch, channels, ..., frames) in and out",
}


class MissingRole(SureError):
    """A family has no module that plays a role."""


@dataclass
class NoOptions:
    """Of a family that has nothing to choose; a family with choices has a dataclass of its own."""


class Backbone:
    """A model of one family, loaded. A subclass says what is particular to its family; loading is in `loading`."""

    # By role (of `ROLES`) a regular expression for names of modules, from the model's root.
    roles: ClassVar[dict[str, str]]

    # Random weights to be had by name, `<family>:<size>`: values of the configuration. `tiny` is for tests.
    sizes: ClassVar[dict[str, dict[str, Any]]] = {}

    # A dataclass of what the family leaves to choose (`--backbone_options name=value`).
    options_class: ClassVar[type] = NoOptions

    # What of `transformers` makes the model of a configuration and reads its weights; or a `PreTrainedModel`, which has
    # the class of its configuration.
    model_class: ClassVar[type] = AutoModel

    # A batch has at least this many samples (or feature frames), so that SpecAugment's spans of ten frames fit.
    shortest_batch: ClassVar[int] = 0

    # Whole by itself: no task puts a head on it, and nothing but the method trains.
    headless: bool = False

    # Says its frames one after another: what sees other frames than its own has no place in a `decoder_layer`.
    autoregressive: bool = False

    # Whether hidden states are frames in time, one after another, which CTC must know.
    states_are_frames: ClassVar[bool] = True

    # Whether every further layer costs what the one before it does, so that budgets need not count them all.
    layers_alike: ClassVar[bool] = True

    # By which name a layer is told the positions of all frames; None where it is told none.
    positions: ClassVar[str | None] = None

    # Where in the model that a method adapts this one is; empty where it is that model.
    prefix: str = "backbone"

    # Seconds that the model hears at most, the rest being cut off; None: all.
    window: float | None = None

    def __init__(
        self,
        name: str,
        model: PreTrainedModel,
        processor: Any = None,
        *,
        revision: str,
        pretrained: bool,
        options: Any = None,
        head: bool = False,
    ) -> None:
        """`processor` makes the model's inputs; `head`: a task will put a head on it, whatever else it can do."""
        self.name, self.model, self.processor = name, model, processor
        self.revision, self.pretrained, self.head = revision, pretrained, head
        self.options = self.options_class() if options is None else options
        self.padding, self.given = Padding(), Given()
        # By number of layers models like it without weights, which `loading.twin` copies.
        self.twins: dict[int | None, PreTrainedModel] = {}
        self.prepare()
        self.model.register_forward_pre_hook(self._locate_padding, with_kwargs=True)
        if "layer" in self.roles:
            recorder = RecordStates(self.roles["layer"])
            self.model.register_forward_pre_hook(recorder.start, with_kwargs=True)
            self.model.register_forward_hook(recorder.stop, always_call=True)

    def __deepcopy__(self, memo: dict) -> "Backbone":
        # Its hook on a model that is copied (full fine-tuning keeps the original) serves the same batches.
        return self

    @classmethod
    def family(cls) -> str:
        """The name of the file that defines it."""
        return cls.__module__.rpartition(".")[2]

    # How a family reads and makes what it consists of.

    @classmethod
    def read_config(cls, place: str, revision: str | None) -> PreTrainedConfig:
        """The configuration of a folder or hub repository."""
        return (cls._own_config() or AutoConfig).from_pretrained(place, revision=revision)

    @classmethod
    def new_config(cls, **values: Any) -> PreTrainedConfig:
        """A configuration with these values, such as one of `sizes`."""
        if own := cls._own_config():
            return own(**values)
        kind = next(kind for kind in CONFIG_MAPPING_NAMES if kind.replace("-", "_") == cls.family())
        return AutoConfig.for_model(kind, **values)

    @classmethod
    def _own_config(cls) -> type[PreTrainedConfig] | None:
        """Of a model that `transformers` has no automatic class for."""
        return cls.model_class.config_class if issubclass(cls.model_class, PreTrainedModel) else None

    @classmethod
    def new_model(cls, config: PreTrainedConfig) -> PreTrainedModel:
        """A model with random weights."""
        return getattr(cls.model_class, "from_config", cls.model_class)(config)

    @classmethod
    def read_processor(cls, place: str, revision: str | None) -> Any:
        """What makes a model's inputs, from the folder or hub repository that has its weights."""
        return AutoFeatureExtractor.from_pretrained(place, revision=revision)

    @classmethod
    def new_processor(cls, config: PreTrainedConfig) -> Any:
        """The same for a model with random weights; None where none is needed."""

    def prepare(self) -> None:
        """Make `self.model` heed `self.padding` and `self.options`."""

    # What a task and a method ask of a backbone.

    @property
    def config(self) -> PreTrainedConfig:
        """The model's configuration."""
        return self.model.config

    @property
    def width(self) -> int:
        """Size of a hidden state."""
        return self.config.hidden_size

    @property
    def states(self) -> int:
        """Number of hidden states: the input of the first layer, and what each layer hands on."""
        return self.config.num_hidden_layers + 1

    def options_given(self) -> dict[str, Any]:
        """Every option of the family with its value, as JSON has it."""
        return asdict(self.options)

    def modules(self, role: str) -> str:
        """Regular expression for the names of the modules that play a role, in the model that a method adapts.

        Raises `MissingRole` where there are none.
        """
        if role == "backbone" and not self.prefix:
            raise SureError(
                f"A {type(self.model).__name__} by itself cannot be adapted as a whole: put it in a model with a head "
                "(`sure.model.ModelWithHead`), or choose a method that adapts parts of it."
            )
        if role == "backbone":
            return self.prefix
        if role not in self.roles:
            raise MissingRole(
                f"{self.family()} backbones have no {role!r}; its roles: backbone, {', '.join(self.roles)}."
            )
        return rf"{self.prefix}\.{self.roles[role]}" if self.prefix else self.roles[role]

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Its modules by the names that they have in the model that a method adapts."""
        return self.model.named_modules(prefix=self.prefix)

    def inputs(self, waveforms: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """A padded batch with its attention mask from waveforms of shape (samples,), 16 kHz."""
        batch = self.processor(
            list(waveforms), sampling_rate=SAMPLE_RATE, padding=True, return_attention_mask=True, return_tensors="pt"
        )
        missing = self.shortest_batch - batch["attention_mask"].shape[1]
        if missing > 0:
            for key, tensor in batch.items():
                batch[key] = nn.functional.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, missing))
        return dict(batch)

    def example(self, seconds: int, device: torch.device) -> dict[str, Tensor]:
        """What the model takes for so many seconds without sound, targets of a headless one included."""
        return {self.model.main_input_name: torch.zeros(1, seconds * SAMPLE_RATE, device=device)}

    def frame_mask(self, inputs: Tensor, attention_mask: Tensor) -> Tensor:
        """The attention mask of `inputs` as (batch, frames), true where a frame is not padding."""
        return attention_mask.bool()

    def encoder_roles(self, roles: tuple[str, ...], why: str) -> tuple[str, ...]:
        """Roles without those of a decoder that says one thing after another, for what reads ahead in time.

        Raises `SureError`, ending in `why`, where a role is of such a decoder alone.
        """
        if not self.autoregressive:
            return roles
        for role in roles:
            if role.startswith(("decoder", "cross")):
                raise SureError(
                    f"--method_options roles={','.join(roles)}: {why} a {self.family()} decoder has yet to say. Choose "
                    "encoder_layer."
                )
        return tuple(f"encoder_{role.removeprefix('encoder_')}" for role in roles)

    def lengthened_call(self, call: dict[str, Any], hidden_states: Tensor, more: int) -> dict[str, Any]:
        """What a `layer` is called with besides its hidden states, by name, for `more` frames before the first.

        `hidden_states` (batch, more + frames, width) have them; `call` is for those without. The new frames may be
        attended to by all, and have the positions before the first. Raises `SureError` for what nobody knows how to
        make longer.
        """
        changed = dict(call)
        for name, value in call.items():
            if value is not None and name == self.positions:
                changed[name] = self.lengthened_positions(value, hidden_states, more)
            elif torch.is_tensor(value) and name.endswith("mask"):
                changed[name] = lengthened_mask(value, more)
            elif torch.is_tensor(value):
                raise SureError(
                    f"The layers of {self.family()} backbones are called with {name}, which is not known for more "
                    "frames: nothing can be put before the first (`Backbone.lengthened_call`)."
                )
        return changed

    def lengthened_positions(self, positions: Tensor, hidden_states: Tensor, more: int) -> Tensor:
        """The same of `positions` alone, where layers are told any."""
        raise NotImplementedError(f"{type(self).__name__} tells its layers no positions")

    def note_block_inputs(self) -> None:
        """Where feed-forward blocks are no modules, let the last map of each hold the block's input (`block_input`)."""

    def skip_frozen_cnn(self, adapted: nn.Module) -> None:
        """Keep gradients out of a CNN that does not train, in the model that a method has adapted.

        `transformers` marks the CNN's input as requiring gradients while it trains, which would run its whole backward
        pass for nothing.
        """
        for module in adapted.modules():
            if hasattr(module, "_requires_grad") and hasattr(module, "conv_layers"):
                module._requires_grad = any(parameter.requires_grad for parameter in module.parameters())

    def _locate_padding(self, model: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        """Before each forward pass: note where the padding is."""
        attention_mask = kwargs.get("attention_mask")
        self.padding.mask = self.padding.sample_lengths = None
        if attention_mask is not None:
            inputs = args[0] if args else kwargs[model.main_input_name]
            self.padding.sample_lengths = attention_mask.sum(dim=-1)
            self.padding.mask = self.frame_mask(inputs, attention_mask)
