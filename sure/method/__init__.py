"""Parameter-efficient methods as PEFT tuners, one file each; LoRA and its kin come from PEFT itself.

A method of ours is a config (a `MethodConfig` with its paper's defaults) and a layer (an `AdapterLayer` around one
part of the backbone), joined by `register`. After `import sure.methods` they are PEFT methods like any other:
`get_peft_model`, `save_pretrained`, `PeftModel.from_pretrained` and `disable_adapter` work as PEFT documents them.
"""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn

from sure.backbone import Backbone
from sure.errors import SureError
from sure.model import SpeechModel

_PREFIX = "sure_"


@dataclass(frozen=True)
class Published:
    """A number of trainable parameters in print, those of the head included."""

    parameters: int
    # A name that `--backbone` takes, no alias.
    backbone: str
    # What the head tells apart.
    labels: int
    source: str


@dataclass
class MethodConfig(peft.PeftConfig):
    """Configuration of a method of ours; a subclass adds its paper's hyper-parameters as fields."""

    # The parts of the backbone that it adapts unless a user names others; a property where an option decides.
    roles: ClassVar[tuple[str, ...]] = ("layer",)

    # What papers count, which `sure budget` shows beside what it counts.
    published: ClassVar[tuple[Published, ...]] = ()

    # Whether it is made for a head: without one, nothing but it or nothing at all would train.
    needs_head: ClassVar[bool] = False

    target_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Modules to wrap: a regular expression, or names. Set from `roles`."}
    )
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules that train whole and are saved with the adapter: the task head."}
    )

    def targets(self, backbone: Backbone, roles: tuple[str, ...]) -> list[str] | str:
        """The modules of a `SpeechModel` that this method wraps."""
        return "|".join(backbone.modules(role) for role in roles)


class AdapterLayer(nn.Module, BaseTunerLayer):
    """Wraps one part of the backbone, its `base_layer`; holds one adapter for every adapter name.

    A subclass makes its trainable parts in `new_adapter`, and in `adapt` turns the base layer's hidden states into the
    adapted ones. Where that is not the shape of the method it overrides `forward`.
    """

    adapter_layer_names = ("sure_adapter",)
    container: ClassVar[type[nn.Module]] = nn.ModuleDict

    def __init__(self, base_layer: nn.Module, model: SpeechModel, adapter_name: str, config: MethodConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.model_config = model.config
        self.padding = model.padding
        self.sure_adapter = self.container()
        self.add(adapter_name, config)

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
        if isinstance(output, tuple):
            return (self.adapt(adapter, output[0]), *output[1:])
        return self.adapt(adapter, output)


class _Tuner(BaseTuner):
    """Replaces every targeted module by the method's layer around it."""

    prefix = _PREFIX
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}

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
        # PEFT's own also hands over `weight` and `bias`, which whole layers do not have.
        setattr(parent, child_name, new_module)

    def _check_merge_allowed(self) -> None:
        if self.tuner_layer_cls.merge is BaseTunerLayer.merge:
            name = next(iter(self.peft_config.values())).peft_type
            raise SureError(f"{name} computes what no weight of the backbone can hold, so it cannot be merged.")


def register(config_class: type[MethodConfig], layer_class: type[AdapterLayer]) -> None:
    """Make a method known to PEFT under the upper-case name of the file that defines it."""
    peft_type = config_class.__module__.rpartition(".")[2].upper()
    # PEFT reads the type from the instance, and refuses names outside its own enumeration in register_peft_method.
    config_class.__post_init__ = lambda self: setattr(self, "peft_type", peft_type)
    tuner = type(f"{config_class.__name__}Tuner", (_Tuner,), {"tuner_layer_cls": layer_class})
    PEFT_TYPE_TO_CONFIG_MAPPING[peft_type] = config_class
    PEFT_TYPE_TO_TUNER_MAPPING[peft_type] = tuner
    PEFT_TYPE_TO_PREFIX_MAPPING[peft_type] = _PREFIX
