"""Several methods on one backbone at once, such as `--method lora+bitfit`: one adapter, whose parts learn together.

What papers put together has a name and a file of its own: a subclass that says of which methods it is `made_of`, and
with which of their options. PEFT reads and writes it like any other adapter.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from inspect import getattr_static
from typing import Any, ClassVar

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.ln_tuning.layer import LNTuningLayer
from peft.tuners.lora import LoraModel
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import nn

from sure.errors import SureError
from sure.method import MethodConfig, Tuner, make_known

# Between the names of methods that are put together.
PLUS = "+"

# What a tuner of PEFT overrides where it keeps something beside its layers, which no composition would save.
_BESIDE_LAYERS = (
    *("__init__", "inject_adapter", "forward", "_pre_injection_hook", "_post_injection_hook"),
    *("_get_adapter_state_dict", "_remove_adapter_name_from_key", "_mark_only_adapters_as_trainable"),
)


@dataclass
class Composition(MethodConfig):
    """Configuration of several methods at once."""

    # The methods that a paper puts together, in the order in which they are put around a module that several of them
    # adapt, the innermost first; each with the paper's choice of its options.
    made_of: ClassVar[dict[str, dict[str, Any]]] = {}

    methods: list[str] = field(
        default_factory=list, metadata={"help": "What is put together, innermost first where several adapt a module."}
    )
    parts: dict[str, Any] = field(default_factory=dict, metadata={"help": "By method its config."})

    def __init_subclass__(cls) -> None:
        make_known(cls, ComposedTuner)

    def __post_init__(self) -> None:
        super().__post_init__()
        # From a file they come as JSON has them, which PEFT sorts by name.
        self.parts = {name: _config(self.parts[name]) for name in self.methods}

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, the parts too."""
        whole = {name: value for name, value in vars(self).items() if name != "parts"}
        parts = {name: part.to_dict() for name, part in self.parts.items()}
        for part in parts.values():
            part.update({key: sorted(value) for key, value in part.items() if isinstance(value, set)})
        return copy.deepcopy(whole) | {"parts": parts}


def refuse_part(name: str, config_class: type[peft.PeftConfig]) -> None:
    """Raises `SureError` for a method that cannot be one of several."""
    why = None
    if issubclass(config_class, Composition):
        why = f"it is several methods already ({PLUS.join(config_class.made_of)})"
    elif issubclass(config_class, MethodConfig):
        if config_class.alone:
            why = "it leaves nothing of the backbone for another method"
    else:
        tuner = PEFT_TYPE_TO_TUNER_MAPPING[config_class().peft_type]
        # That of LoRA only names a tensor otherwise.
        own = set(_BESIDE_LAYERS) - ({"_get_adapter_state_dict"} if tuner is LoraModel else set())
        if any(getattr_static(tuner, attribute) is not getattr_static(BaseTuner, attribute) for attribute in own):
            why = "PEFT's tuner of it keeps more than its layers hold"
    if why:
        raise SureError(f"--method {name} cannot be put together with others: {why}.")


class ComposedTuner(Tuner):
    """Around every targeted module the layers of all parts that adapt it."""

    tuner_layer_cls = BaseTunerLayer

    def __init__(self, model: nn.Module, peft_config: dict[str, Composition], adapter_name: str, **kwargs: Any) -> None:
        # Not as modules of this one: theirs are the model's.
        self.__dict__["parts"] = {
            name: _tuner_without_layers(model, part, adapter_name)
            for name, part in peft_config[adapter_name].parts.items()
        }
        # By part the layers that it made.
        self.__dict__["layers_of"] = {name: [] for name in self.parts}
        super().__init__(model, peft_config, adapter_name, **kwargs)

    @staticmethod
    def _check_target_module_exists(config: Composition, key: str) -> bool:
        return any(_adapts(part, key) for part in config.parts.values())

    def _prepare_adapter_config(self, config: Composition, model_config: dict) -> Composition:
        for name, part in config.parts.items():
            part.inference_mode = config.inference_mode
            self.parts[name]._prepare_adapter_config(part, model_config)
        return config

    def _create_and_replace(
        self, config: Composition, adapter_name: str, target: nn.Module, target_name: str, parent: nn.Module, **at: Any
    ) -> None:
        while isinstance(parent, BaseTunerLayer):
            parent = parent.base_layer
        for name, part in config.parts.items():
            if _adapts(part, at["current_key"]):
                inside = getattr(parent, target_name)
                self.parts[name]._create_and_replace(part, adapter_name, inside, target_name, parent, **at)
                made = getattr(parent, target_name)
                if made is not inside:
                    _refuse_double(config.methods, made, at["current_key"])
                self.layers_of[name].append(made)

    def trainable_parameters(self) -> dict[str, int]:
        """By part, how many of its parameters train; what parts share is the first one's."""
        counted, seen = {}, set()
        for name, layers in self.layers_of.items():
            own = {
                id(parameter): parameter.numel()
                for layer in layers
                for place, parameter in layer.named_parameters()
                if parameter.requires_grad and not place.startswith("base_layer.")
            }
            counted[name] = sum(size for key, size in own.items() if key not in seen)
            seen |= set(own)
        return counted

    def _check_merge_allowed(self) -> None:
        for part in self.parts.values():
            part._check_merge_allowed()

    def merge_adapter(self, adapter_names: list[str] | None = None, safe_merge: bool = False) -> None:
        """As PEFT's, from the inside: what is inside is heard through what is around it."""
        self._check_merge_allowed()
        for layer in self._in_order_of_merging():
            layer.merge(safe_merge=safe_merge, adapter_names=adapter_names)

    def unmerge_adapter(self) -> None:
        """As PEFT's, what was merged last first: where the outermost is not, it would take out another's change."""
        for layer in reversed(self._in_order_of_merging()):
            layer.unmerge()

    def _unload_and_optionally_merge(self, merge: bool = True, **kwargs: Any) -> nn.Module:
        if merge:
            self.merge_adapter(kwargs.get("adapter_names"), kwargs.get("safe_merge", False))
        # PEFT's takes off what is outermost.
        while any(self._layers()):
            super()._unload_and_optionally_merge(merge=False, **kwargs)
        return self.model

    def _in_order_of_merging(self) -> list[BaseTunerLayer]:
        """From the inside; before all others those that stand for a bias, wherever they are: it is inside then."""
        return sorted(reversed(list(self._layers())), key=lambda layer: not getattr(layer, "copies_bias", False))

    def _layers(self) -> Iterator[BaseTunerLayer]:
        return (module for module in self.model.modules() if isinstance(module, BaseTunerLayer))


def _config(part: peft.PeftConfig | dict[str, Any]) -> peft.PeftConfig:
    if isinstance(part, peft.PeftConfig):
        return part
    return PEFT_TYPE_TO_CONFIG_MAPPING[part["peft_type"]].from_peft_type(**part)


def _adapts(part: peft.PeftConfig, key: str) -> bool:
    return bool(PEFT_TYPE_TO_TUNER_MAPPING[part.peft_type]._check_target_module_exists(part, key))


def _refuse_double(methods: list[str], layer: BaseTunerLayer, place: str) -> None:
    """Raises `SureError` where one part trains a copy of a module that another adapts, so that one is never heard."""
    around = [layer]
    while isinstance(around[-1].base_layer, BaseTunerLayer):
        around.append(around[-1].base_layer)
    copies = [one for one in around if isinstance(one, LNTuningLayer) or getattr(one, "copies_whole", False)]
    if copies and len(around) > 1:
        raise SureError(
            f"--method {PLUS.join(methods)}: of {place} one part trains a copy, and another adapts it too, so that one "
            "of them would never be heard. Let one of them leave normalisations alone, with its roles or train_norms."
        )


def _tuner_without_layers(model: nn.Module, config: peft.PeftConfig, adapter_name: str) -> BaseTuner:
    """The tuner of a part, which has put nothing into the model yet."""
    tuner = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type]
    waiting = type(tuner.__name__, (tuner,), {"inject_adapter": lambda *_, **__: None})
    made = waiting(model, {adapter_name: config}, adapter_name)
    # The next one would take it for its own.
    del model.peft_config
    return made


make_known(Composition, ComposedTuner)
