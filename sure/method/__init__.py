"""Parameter-efficient methods as PEFT tuners, one file each; LoRA and its kin come from PEFT itself.

A method of ours is a config (a `MethodConfig` with its paper's defaults) and a layer (an `AdapterLayer` around one
part of the backbone), joined by `register`. After `import sure.methods` they are PEFT methods like any other, on
models of `transformers` too: `get_peft_model`, `save_pretrained`, `PeftModel.from_pretrained` and `disable_adapter`
work as PEFT documents them.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import peft
import torch
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from sure.backbone import Backbone, loading
from sure.errors import SureError

_PREFIX = "sure_"

# Of PEFT's types of adapters, ours, so that none is taken for one of PEFT's.
TYPE_PREFIX = "SURE_"


@dataclass(frozen=True)
class Preset:
    """A paper's choice among the options of a method that many papers have."""

    source: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Published:
    """A number of trainable parameters in print."""

    parameters: int
    # A name that `--backbone` takes, no alias.
    backbone: str
    # What the head tells apart, its parameters being counted too; None where they are not.
    labels: int | None
    source: str
    # Of the method's; None: as it is by default.
    preset: str | None = None
    # What the print rounds to.
    rounded: int = 1
    # Why ours differs, where it does.
    difference: str = ""


@dataclass
class MethodConfig(peft.PeftConfig):
    """Configuration of a method of ours; a subclass adds its paper's hyper-parameters as fields."""

    # The parts of the backbone that it adapts unless a user names others; a property where an option decides.
    roles: ClassVar[tuple[str, ...]] = ("layer",)

    # By name, what papers choose among its options (`preset=...`).
    presets: ClassVar[dict[str, Preset]] = {}

    # The option of which it has more or less, for a budget (`budget=1%`); None where its size is fixed.
    dimension: ClassVar[str | None] = None

    # What papers count, which `sure budget` shows beside what it counts.
    published: ClassVar[tuple[Published, ...]] = ()

    # Whether it is made for a head: without one, nothing but it or nothing at all would train.
    needs_head: ClassVar[bool] = False

    # Whether it reads the hidden states of every layer, which not every family has.
    reads_every_layer: ClassVar[bool] = False

    # Whether it leaves nothing of the backbone for another method to adapt beside it.
    alone: ClassVar[bool] = False

    target_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Modules to wrap: a regular expression, or names. Set from `roles`."}
    )
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules that train whole and are saved with the adapter: the task head."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # PEFT reads the type from the instance, and refuses names outside its own enumeration in register_peft_method.
        self.peft_type = _peft_type(type(self))

    def sizes(self, width: int) -> Sequence[int]:
        """Values of the `dimension` in the order of what they cost, for a backbone of this width."""
        return range(1, 4 * width + 1)

    def prepare(self, backbone: Backbone) -> None:
        """Before modules are wrapped, let the backbone do what the method needs of it."""

    def targets(self, backbone: Backbone, roles: tuple[str, ...]) -> list[str] | str:
        """The modules that this method wraps in the model that holds the backbone."""
        return "|".join(backbone.modules(role) for role in roles)


class AdapterLayer(nn.Module, BaseTunerLayer):
    """Wraps one part of the backbone, its `base_layer`; holds one adapter for every adapter name.

    A subclass makes its trainable parts in `new_adapter`, and in `adapt` turns the base layer's hidden states into the
    adapted ones. Where that is not the shape of the method it overrides `forward`.
    """

    adapter_layer_names = ("sure_adapter",)
    container: ClassVar[type[nn.Module]] = nn.ModuleDict

    # Whether the layer has its own copy of what it is around, or of its bias, and runs that in its place.
    copies_whole: bool = False
    copies_bias: ClassVar[bool] = False

    # Around the whole backbone: whether it makes of the mean over frames the mean of what it makes of them.
    mean_is_enough: ClassVar[bool] = False

    def __init__(self, base_layer: nn.Module, model: PreTrainedModel, adapter_name: str, config: MethodConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.model_config = model.config
        self.padding = model.source.padding
        self.sure_adapter = self.container()
        self.add(adapter_name, config)

    def __getattr__(self, name: str) -> Any:
        # What is around the base layer knows it by its parts: a layer's attention, a convolution's stride.
        try:
            return super().__getattr__(name)
        except AttributeError:
            # How it is copied, and the like, is its own.
            if name.startswith("__"):
                raise
            return getattr(super().__getattr__("base_layer"), name)

    @abstractmethod
    def new_adapter(self, config: MethodConfig) -> nn.Module | nn.Parameter:
        """The trainable part, freshly initialised; the backbone's width is `self.model_config.hidden_size`."""

    def adapt(self, adapter: nn.Module, hidden_states: Tensor) -> Tensor:
        """Adapted hidden states, in and out of shape (batch, frames, width)."""
        return adapter(hidden_states)

    def add(self, adapter_name: str, config: MethodConfig) -> None:
        """Add an adapter where the base layer is; it trains unless it is loaded for inference."""
        self.sure_adapter[adapter_name] = self.new_adapter(config)
        device = next((parameter.device for parameter in self.base_layer.parameters()), None)
        self._move_adapter_to_device_of_base_layer(adapter_name, device)
        self.set_adapter(adapter_name, inference_mode=config.inference_mode)

    @property
    def active(self) -> str | None:
        """The adapter to apply, or None where adapters are disabled or another module's is active."""
        if self.disable_adapters or not self.active_adapters:
            return None
        if len(self.active_adapters) > 1:
            raise ValueError(f"One adapter at a time, not {', '.join(self.active_adapters)}.")
        name = self.active_adapters[0]
        return name if name in self._get_available_adapters() else None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The base layer's output with its hidden states adapted; a tuple stays a tuple."""
        output = self.base_layer(*args, **kwargs)
        if self.active is None:
            return output
        adapter = self.sure_adapter[self.active]
        hidden_states, *more = output if isinstance(output, tuple) else (output,)
        self.check(hidden_states)
        adapted = self.adapt(adapter, hidden_states)
        return (adapted, *more) if isinstance(output, tuple) else adapted

    def check(self, hidden_states: Any) -> None:
        """Raises `SureError` where a part gives or takes no hidden states, (batch, frames, width)."""
        width = self.model_config.hidden_size
        if not torch.is_tensor(hidden_states) or hidden_states.shape[2:] != (width,):
            what = tuple(hidden_states.shape) if torch.is_tensor(hidden_states) else type(hidden_states).__name__
            raise SureError(
                f"This method adapts hidden states, (batch, frames, {width}); a {type(self.base_layer).__name__} gives "
                f"{what}. Name other parts of the backbone, such as --method_options roles=layer (`sure backbones`)."
            )


class Tuner(BaseTuner):
    """Replaces every targeted module by the method's layer around it."""

    prefix = _PREFIX
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}

    def _prepare_adapter_config(self, peft_config: MethodConfig, model_config: dict) -> MethodConfig:
        if not hasattr(self.model, "source"):
            # A model of `transformers` itself.
            self.model.source = loading.around(self.model)
        peft_config.prepare(self.model.source)
        if peft_config.target_modules is None:
            peft_config.target_modules = peft_config.targets(self.model.source, peft_config.roles)
        return peft_config

    def _create_and_replace(
        self,
        peft_config: MethodConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
    ) -> None:
        if isinstance(target, self.tuner_layer_cls):
            target.add(adapter_name, peft_config)
        else:
            self._replace_module(
                parent, target_name, self.tuner_layer_cls(target, self.model, adapter_name, peft_config), target
            )

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        # Of two parts, one in the other, PEFT wraps the outer one first, and finds the inner one through its wrapper.
        while isinstance(parent, AdapterLayer):
            parent = parent.base_layer
        # PEFT's own also hands over `weight` and `bias`, which whole layers do not have.
        setattr(parent, child_name, new_module)

    def _check_merge_allowed(self) -> None:
        if self.tuner_layer_cls.merge is BaseTunerLayer.merge:
            name = next(iter(self.peft_config.values())).peft_type
            raise SureError(f"{name} computes what no weight of the backbone can hold, so it cannot be merged.")


def innermost(module: nn.Module) -> nn.Module:
    """What lies within the layers of all methods around it."""
    return module.get_base_layer() if isinstance(module, BaseTunerLayer) else module


def register(config_class: type[MethodConfig], layer_class: type[AdapterLayer]) -> None:
    """Make a method known to PEFT, as SURE_ and the upper-case name of the file that defines it."""
    make_known(config_class, type(f"{config_class.__name__}Tuner", (Tuner,), {"tuner_layer_cls": layer_class}))
    # Adapters of 0.1.0 have the bare name, unless that is one of PEFT's own (see `saved.config_of`).
    PEFT_TYPE_TO_CONFIG_MAPPING.setdefault(bare_type(_peft_type(config_class)), config_class)


def make_known(config_class: type[MethodConfig], tuner_class: type[BaseTuner]) -> None:
    """Make a method known to PEFT whose layers are not of one class."""
    peft_type = _peft_type(config_class)
    PEFT_TYPE_TO_CONFIG_MAPPING[peft_type] = config_class
    PEFT_TYPE_TO_TUNER_MAPPING[peft_type] = tuner_class
    PEFT_TYPE_TO_PREFIX_MAPPING[peft_type] = _PREFIX


def bare_type(kind: Any) -> str:
    """A PEFT type without the prefix of ours, which 0.1.0 did not have: `LORA`, `CONV_ADAPTER`."""
    return str(getattr(kind, "value", kind)).removeprefix(TYPE_PREFIX)


def _peft_type(config_class: type[MethodConfig]) -> str:
    return f"{TYPE_PREFIX}{config_class.__module__.rpartition('.')[2].upper()}"
