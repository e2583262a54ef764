"""A method put on a backbone: its config with a paper's defaults, sized for a budget, and what of the model trains."""

import functools
import logging
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args, get_origin, get_type_hints

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import TrainerCallback

from sure import registry
from sure.backbone import Backbone, loading
from sure.errors import SureError
from sure.method import MethodConfig, bare_type, by_name, fitting, of_peft, saved, targeting
from sure.method.composition import ComposedTuner, Composition
from sure.method.placement import PlacedConfig
from sure.method.weightless import without_weights
from sure.model import SpeechModel
from sure.record.allowance import parameters_of

# What can be chosen of every method besides its own options.
_CHOICES = ("budget", "layers", "preset", "roles", "top")

# Of options that may tell one layer from another, part of their names.
_OF_ONE_LAYER = ("layer", "modules", "pattern", "parameters", "stride", "top", "tying")

# Layers that mean the same of two as of more: the last, the one before it, all, or all but the last.
_FROM_THE_END = re.compile("(0-)?-[12]")

_log = logging.getLogger("sure")


def configure(name: str, backbone: Backbone, options: dict[str, Any] | None = None) -> peft.PeftConfig:
    """The config of a method on a backbone: the paper's defaults, changed by `options`.

    `options` are the config's fields; `preset`, a paper's choice of them; `roles`, a list of the parts of the backbone
    to adapt (`sure.backbones`); `layers` or `top`, in which of its layers; and `budget`, for the largest setting within
    so many parameters (`sure.method.fitting`).
    Raises `SureError` for an option the method does not have, a value that it cannot have, and for parts, modules or
    layers that the backbone does not have.
    """
    options = dict(options or {})
    chosen = by_name.config_class(name)
    if backbone.headless and getattr(chosen, "needs_head", False):
        raise SureError(
            f"--method {name} is made for a task's head; {backbone.family()} models "
            "are whole and take no head. Choose a method that changes the backbone, such as lora."
        )
    if getattr(chosen, "reads_every_layer", False):
        backbone.modules("layer")
    if (budget := options.pop("budget", None)) is not None:
        # A paper's size gives way to the budget, one that was asked for does not.
        options = _fitted(name, backbone, options, budget)
    if issubclass(chosen, Composition):
        return _compose(name, chosen, backbone, options)
    if {"placement", "roles"} <= options.keys():
        raise SureError("--method_options placement and roles say the same, where adapters lie: give one of them.")
    options = by_name.with_preset(name, chosen, options)
    roles, layers = options.pop("roles", None), targeting.layers_chosen(options)
    fields = {field.name for field in by_name.options_of(chosen)}
    # PEFT writes them as texts.
    kinds = get_type_hints(chosen, include_extras=True)
    for option, value in options.items():
        if option not in fields:
            raise registry.unknown(f"option of {name}:", option, [*_CHOICES, *sorted(fields)])
        kind = kinds[option]
        members = [kind] if get_origin(kind) is list else get_args(kind)
        if value is not None and str not in members and any(get_origin(member) is list for member in members):
            options[option] = by_name.listed(option, value, kind)
        else:
            options[option] = registry.checked(f"--method_options {option}", value, kind)
    with _wrong_options(name):
        config = chosen(**options)
    if config.peft_type not in PEFT_TYPE_TO_CONFIG_MAPPING:
        raise SureError(f"{registry.file('method', name)}: not known to PEFT; end it with `register(Config, Layer)`.")
    # What it adapts may follow from its options.
    given = roles
    roles = tuple(by_name.default_roles(name, config) if roles is None else by_name.several_names("roles", roles))
    if isinstance(config, PlacedConfig):
        config.placement = list(roles)
    if config.target_modules is None:
        targets = getattr(config, "targets", None)
        config.target_modules = (
            targets(backbone, roles) if targets else "|".join(backbone.modules(role) for role in roles)
        )
        if not given and (name in registry.from_peft() or getattr(config, "linear_only", False)):
            config.target_modules = targeting.linear_alone(name, backbone, config.target_modules)
        if layers:
            config.target_modules = targeting.in_layers(backbone, config.target_modules, layers)
    if getattr(config, "feedforward_modules", "") is None:
        # IA3 scales the input of these instead of their output (Liu et al. 2022, section 3.3).
        config.feedforward_modules = backbone.modules("ffn_out")
    for option in ("target_modules", "exclude_modules", "modules_to_save"):
        targeting.refuse_absent(backbone, option, getattr(config, option, None))
    for option in ("rank_pattern", "alpha_pattern"):
        targeting.refuse_absent(backbone, option, list(getattr(config, option, None) or ()))
    if not backbone.headless:
        config.modules_to_save = sorted({"head", *(config.modules_to_save or [])})
    config.revision = backbone.revision
    return config


def apply(model: SpeechModel, config: peft.PeftConfig) -> peft.PeftModel:
    """`peft.get_peft_model`, after which nothing that is frozen computes a gradient.

    Raises `SureError` where the method cannot adapt a module of the parts it was given, or not with its options.
    """
    name = bare_type(config.peft_type).lower()
    # Only of PEFT's methods what they cannot adapt is said better here.
    unusual = []
    if not isinstance(config, MethodConfig):
        chosen = {model.get_submodule(place) for place in targeting.modules_named(model.source, config.target_modules)}
        unusual = sorted({type(module).__name__.strip("_") for module in chosen if not isinstance(module, nn.Linear)})
    try:
        with _wrong_options(name), warnings.catch_warnings():
            # PEFT says so of every normalisation, which its LN-tuning is made for.
            warnings.filterwarnings("ignore", message="Unsupported layer type")
            adapted = peft.get_peft_model(model, config)
    except (SureError, KeyError) as error:
        if not unusual:
            raise
        raise SureError(
            f"--method {name} adapts linear maps; not every {', '.join(unusual)} of the parts chosen can be adapted by "
            f"this method ({textwrap.shorten(str(error), 120)}). Name other parts of the backbone, such as "
            "--method_options roles=query,key,value,output (see `sure backbones NAME`)."
        ) from None
    _freeze(adapted, config)
    model.source.skip_frozen_cnn(adapted)
    return saved.at_home(adapted)


def part_parameters(model: peft.PeftModel) -> dict[str, int]:
    """Of a model with several methods, by method its trainable parameters; empty where it has one."""
    tuner = model.base_model
    return tuner.trainable_parameters() if isinstance(tuner, ComposedTuner) else {}


def callbacks(config: peft.PeftConfig, steps: Callable[[], int]) -> list[TrainerCallback]:
    """What a method's config asks of the training loop in a run of so many steps: its own `callbacks`, if it has any.

    Raises `SureError` where it does not go with such a run.
    """
    own = getattr(config, "callbacks", None)
    return own(steps()) if own else []


def _compose(name: str, chosen: type[Composition], backbone: Backbone, options: dict[str, Any]) -> Composition:
    parts = {part: configure(part, backbone, own) for part, own in by_name.parts_of(name, options).items()}
    whole = {module for part in parts.values() for module in part.modules_to_save or []}
    for part, config in parts.items():
        config.modules_to_save = None
        if getattr(config, "bias", "none") != "none":
            raise SureError(f"--method_options {part}.bias={config.bias}: put bitfit beside it, for biases that train.")
    return chosen(methods=list(parts), parts=parts, modules_to_save=sorted(whole) or None, revision=backbone.revision)


def _freeze(adapted: peft.PeftModel, config: peft.PeftConfig) -> None:
    """What of a method's layers stays as it starts."""
    parts = [(config, [module for module in adapted.modules() if isinstance(module, BaseTunerLayer)])]
    if isinstance(config, Composition):
        parts = [(part, adapted.base_model.layers_of[name]) for name, part in config.parts.items()]
    for part, layers in parts:
        for layer in layers if (frozen := getattr(part, "frozen", ())) else ():
            # PEFT heeds it wherever it makes an adapter train.
            layer.frozen_peft_weight_names = {adapted.active_adapter: frozen}
            layer.set_adapter(layer.active_adapters)


@contextmanager
def _wrong_options(name: str) -> Iterator[None]:
    """What a method's own code refuses is a user's to change."""
    try:
        yield
    except (TypeError, ValueError, AssertionError, ArithmeticError, NotImplementedError) as error:
        raise SureError(f"--method_options of {name}: {error or type(error).__name__}") from None


def _fitted(name: str, backbone: Backbone, options: dict[str, Any], budget: str | float) -> dict[str, Any]:
    """Options with the largest values of the method's dimensions that a budget allows.

    A method without any keeps its size, beyond the budget too, with a warning; as one of several it is counted, and
    what it leaves is the others'.
    """
    allowed = parameters_of(budget, _size(backbone))
    (found,) = fit(name, backbone, options, [budget]) if by_name.dimensions(name) else [{}]
    if isinstance(found, fitting.OutOfReach):
        raise found
    if not found:
        if changing := of_peft.CHANGED_BY.get(name):
            said = "%s keeps its size, whatever the budget (%s: %d); %s change it."
            _log.warning(said, name, budget, allowed, ", ".join(changing))
        else:
            _log.warning("%s has one size, whatever the budget (%s: %d).", name, budget, allowed)
        return options
    said = ", ".join(f"{option}={size}" for option, size in found.items())
    _log.info("%s: %s is the largest within %d parameters (%s).", name, said, allowed, budget)
    return options | found


def fit(
    name: str, backbone: Backbone, options: dict[str, Any], budgets: Sequence[str | float]
) -> list[dict[str, fitting.Size] | fitting.OutOfReach]:
    """For each budget the largest values of the method's dimensions that it allows, or the error that there are none.

    Several methods at once share what those of one size leave, as `fitting.shared` says. Counted from the backbone's
    configuration alone. Raises `SureError` where the options choose every dimension that there is.
    """
    if issubclass(by_name.config_class(name), Composition):
        return _fit_parts(name, backbone, options, budgets)
    (chosen,) = by_name.dimensions(name)
    if chosen in options:
        raise _nothing_to_choose(budgets[0], [chosen])
    sizes, count = _sizes(name, backbone, options)
    fitted: list[dict[str, fitting.Size] | fitting.OutOfReach] = []
    for budget in budgets:
        allowed = parameters_of(budget, _size(backbone))
        try:
            size = fitting.largest_within(allowed, sizes, count, f"--method_options budget={budget}: {name}")
            fitted.append({chosen: size})
        except fitting.OutOfReach as error:
            fitted.append(error)
    return fitted


def _sizes(
    name: str, backbone: Backbone, options: dict[str, Any]
) -> tuple[Sequence[fitting.Size], Callable[[fitting.Size], int]]:
    """The values of a method's one dimension, and what counts its trainable parameters with each of them."""
    (chosen,) = by_name.dimensions(name)
    with loading.WithoutValues():
        config = configure(name, backbone, options)
    ours = isinstance(config, MethodConfig)
    sizes = config.sizes(backbone.width) if ours else of_peft.sizes(name, config, backbone)

    @functools.cache
    def counted(size: fitting.Size, layers: int | None) -> int:
        return _trainable_of(name, backbone, options | {chosen: size}, layers)

    def count(size: fitting.Size) -> int:
        return of_every_layer(backbone, options, lambda layers: (counted(size, layers),))[0]

    few = min(fitting.FEW, backbone.config.num_hidden_layers) if _layers_alike(backbone, options) else None
    return sizes, fitting.interpolated(sizes, count, lambda size: counted(size, few))


def _fit_parts(
    name: str, backbone: Backbone, options: dict[str, Any], budgets: Sequence[str | float]
) -> list[dict[str, fitting.Size] | fitting.OutOfReach]:
    parts = by_name.parts_of(name, options)
    # A paper's size gives way to the budget, one that was asked for does not.
    free = {part: own for part in parts for own in by_name.dimensions(part) if f"{part}.{own}" not in options}
    if not free:
        if given := [dimension for dimension in by_name.dimensions(name) if dimension in options]:
            raise _nothing_to_choose(budgets[0], given)
        return [{} for _ in budgets]
    taken = sum(_trainable(part, backbone, own) for part, own in parts.items() if part not in free)
    counted = {
        f"{part}.{chosen}": _sizes(part, backbone, {own: of for own, of in parts[part].items() if own != chosen})
        for part, chosen in free.items()
    }
    fitted: list[dict[str, fitting.Size] | fitting.OutOfReach] = []
    for budget in budgets:
        allowed = parameters_of(budget, _size(backbone))
        try:
            fitted.append(fitting.shared(allowed, counted, taken, f"--method_options budget={budget}: {name}"))
        except fitting.OutOfReach as error:
            fitted.append(error)
    return fitted


def _nothing_to_choose(budget: str | float, given: list[str]) -> SureError:
    chosen = ", ".join(given)
    return SureError(f"--method_options budget={budget}: it is for choosing {chosen}; leave one of them out.")


def _trainable(name: str, backbone: Backbone, options: dict[str, Any]) -> int:
    """Trainable parameters of a method, those of a task's head not counted."""

    return of_every_layer(backbone, options, lambda layers: (_trainable_of(name, backbone, options, layers),))[0]


def _trainable_of(name: str, backbone: Backbone, options: dict[str, Any], layers: int | None) -> int:
    """The same on a twin with so many layers."""
    with without_weights(name):
        twin = loading.twin(backbone, layers)
        config = configure(name, twin, options)
        config.modules_to_save = [module for module in config.modules_to_save or [] if module != "head"]
        adapted = apply(SpeechModel(twin), config)
    return sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)


def of_every_layer(
    backbone: Backbone, options: dict[str, Any], measure: Callable[[int | None], Sequence[int]]
) -> list[int]:
    """What `measure` gives of a twin of the backbone with so many layers (None: all), for all layers.

    By `fitting.of_depth`, unless layers or modules are named, or layers differ, or the model has two stacks of them.
    """
    if not _layers_alike(backbone, options):
        return list(measure(None))
    return fitting.of_depth(backbone.config.num_hidden_layers, measure)


def _layers_alike(backbone: Backbone, options: dict[str, Any]) -> bool:
    named = {option for option in options if any(word in option for word in _OF_ONE_LAYER)}
    if _FROM_THE_END.fullmatch(str(options.get("layers"))):
        named -= {"layers"}
    return backbone.layers_alike and not backbone.headless and not named


def _size(backbone: Backbone) -> int:
    return sum(parameter.numel() for parameter in backbone.model.parameters())
