"""Parameter-efficient methods as PEFT tuners, one file each; LoRA and its kin come from PEFT itself.

A method of ours is a config (a `MethodConfig` with its paper's defaults) and a layer (an `AdapterLayer` around one
part of the backbone), joined by `register`. After `import sure.methods` they are PEFT methods like any other:
`get_peft_model`, `save_pretrained`, `PeftModel.from_pretrained` and `disable_adapter` work as PEFT documents them.
"""

import dataclasses
import functools
import importlib
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import Tensor, nn

from sure import registry
from sure.backbones import Backbone
from sure.errors import SureError
from sure.model import SpeechModel

# Where a method of PEFT goes unless `roles` says otherwise: every linear projection of a layer.
LINEAR_ROLES = ("query", "key", "value", "output", "ffn_in", "ffn_out")

# Tuners that PEFT has and that need no file here: they adapt linear layers, and nothing but the loss trains them.
# (AdaLoRA changes its ranks as it trains; PEFT's prompt-learning methods never reach an encoder.)
FROM_PEFT = ("boft", "fourierft", "hra", "ia3", "loha", "lokr", "oft", "randlora", "vera")

_PREFIX = "sure_"


@dataclass
class MethodConfig(peft.PeftConfig):
    """Configuration of a method of ours; a subclass adds its paper's hyper-parameters as fields."""

    roles: ClassVar[tuple[str, ...]] = ("layer",)

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


def names() -> list[str]:
    """Every method that can be asked for: ours, then PEFT's."""
    return registry.names("method") + list(FROM_PEFT)


def config_class(name: str) -> type[peft.PeftConfig]:
    """The config class of a method. Raises `SureError` for an unknown name."""
    if name not in names():
        raise registry.unknown("method", name, names())
    return PEFT_TYPE_TO_CONFIG_MAPPING[name.upper()] if name in FROM_PEFT else registry.get("method", name)


def configure(name: str, backbone: Backbone, options: dict[str, Any] | None = None) -> peft.PeftConfig:
    """The config of a method on a backbone: the paper's defaults, changed by `options`.

    `options` are the config's fields, and `roles`: a list of the parts of the backbone to adapt (`sure.backbones`).
    Raises `SureError` for an option the method does not have, or a value of the wrong type.
    """
    options = dict(options or {})
    chosen = config_class(name)
    if backbone.family.headless and getattr(chosen, "needs_head", False):
        raise SureError(
            f"--method {name} trains a task's head on a backbone that stays as it is; {backbone.family_name} models "
            "are whole and take no head. Choose a method that changes the backbone, such as lora."
        )
    roles = options.pop("roles", None) or getattr(chosen, "roles", LINEAR_ROLES)
    roles = tuple(roles.split(",")) if isinstance(roles, str) else tuple(roles)
    fields = {field.name: field for field in dataclasses.fields(chosen) if field.init}
    for option, value in options.items():
        if option not in fields:
            inherited = {field.name for field in dataclasses.fields(MethodConfig)}
            raise registry.unknown(f"option of {name}:", option, ["roles", *sorted(set(fields) - inherited)])
        options[option] = registry.checked(f"--method_options {option}", value, fields[option].type)
    try:
        config = chosen(**options)
    except (TypeError, ValueError) as error:
        raise SureError(f"--method_options of {name}: {error}") from None
    if config.target_modules is None:
        targets = getattr(config, "targets", None)
        config.target_modules = (
            targets(backbone, roles) if targets else "|".join(backbone.modules(role) for role in roles)
        )
    if hasattr(config, "feedforward_modules"):
        # IA3 scales the input of these instead of their output (Liu et al. 2022, section 3.3).
        config.feedforward_modules = backbone.modules("ffn_out")
    config.modules_to_save = None if backbone.family.headless else ["head"]
    config.revision = backbone.revision
    return config


def apply(model: SpeechModel, config: peft.PeftConfig) -> peft.PeftModel:
    """`peft.get_peft_model`, after which nothing that is frozen computes a gradient.

    Raises `SureError` where the method cannot adapt a module of the parts it was given.
    """
    try:
        adapted = peft.get_peft_model(model, config)
    except (TypeError, ValueError) as error:
        if "is not supported" not in str(error):
            raise
        raise SureError(
            f"{str(error).partition(' is not supported')[0]} cannot be adapted by this method. Name other parts of the "
            "backbone, such as --method_options roles=query,key,value,output (see `sure backbones NAME`)."
        ) from None
    # An encoder has no token embeddings; PEFT would ask the hub about their size at every save.
    adapted.save_pretrained = functools.partial(adapted.save_pretrained, save_embedding_layers=False)
    skip_frozen_cnn(adapted)
    return adapted


def skip_frozen_cnn(model: nn.Module) -> None:
    """Keep gradients out of a CNN that does not train.

    `transformers` marks the CNN's input as requiring gradients while it trains, which would run its whole backward pass
    for nothing.
    """
    for module in model.modules():
        if hasattr(module, "_requires_grad") and hasattr(module, "conv_layers"):
            module._requires_grad = any(parameter.requires_grad for parameter in module.parameters())


# PEFT must know our methods before it can read an adapter of theirs.
for _name in registry.names("method"):
    importlib.import_module(f"sure.methods.{_name}")
