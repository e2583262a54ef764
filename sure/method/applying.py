"""A method by its name, put on a backbone: ours, and those that PEFT has; and an adapter read from its folder."""

import dataclasses
import functools
import json
import logging
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME, ModulesToSaveWrapper
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import TrainerCallback

from sure import registry
from sure.backbone import Backbone, loading
from sure.errors import SureError
from sure.method import TYPE_PREFIX, MethodConfig, Published, bare_type, fitting, of_peft, targeting
from sure.method.composition import PLUS, ComposedTuner, Composition, refuse_part
from sure.method.linear import LINEAR_ROLES
from sure.method.placement import PlacedConfig
from sure.method.weightless import without_weights
from sure.model import SpeechModel
from sure.record.allowance import parameters_of

# What PEFT calls its two files.
CONFIG, WEIGHTS = CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME

# What can be chosen of every method besides its own options.
_CHOICES = ("budget", "layers", "preset", "roles", "top")

# Those whose papers have other places.
_ROLES = {
    # Liu et al. 2022, section 3.3.
    "ia3": ("key", "value", "ffn_out"),
    # Zhao et al. 2024.
    "ln_tuning": ("norm",),
    # PEFT's default for every model it knows.
    "beft": ("value",),
}

# Of PEFT's, those that compute what no weight of the backbone can hold; ours say so themselves.
_NOT_MERGED = {"lily"}

# Of options that may tell one layer from another, part of their names.
_OF_ONE_LAYER = ("layer", "modules", "pattern", "parameters", "stride", "top", "tying")

# Layers that mean the same of two as of more: the last, the one before it, all, or all but the last.
_FROM_THE_END = re.compile("(0-)?-[12]")

_log = logging.getLogger("sure")


def names() -> list[str]:
    """Every method that can be asked for: ours, then PEFT's."""
    return registry.names("method") + list(registry.from_peft())


def config_class(name: str) -> type[peft.PeftConfig]:
    """The config class of a method, or of several (`lora+bitfit`).

    Raises `SureError` for an unknown name, and for methods that cannot be put together.
    """
    if PLUS in name:
        _refuse_composition(name)
        return Composition
    if name in registry.from_peft():
        return PEFT_TYPE_TO_CONFIG_MAPPING[name.upper()]
    if name in registry.NOT_FROM_PEFT and name not in registry.names("method"):
        raise SureError(f"--method {name}: PEFT has it, but it cannot be used here: {registry.NOT_FROM_PEFT[name]}.")
    if name not in names():
        raise registry.unknown("method", name, names())
    return registry.get("method", name)


def options_of(chosen: type[peft.PeftConfig]) -> list[dataclasses.Field]:
    """The fields of a method's configuration that are a user's to choose: not what PEFT notes of every adapter."""
    noted = {field.name for field in dataclasses.fields(peft.PeftConfig)}
    return [field for field in registry.options_of(chosen) if field.name not in noted]


def is_around_backbone(name: str) -> bool:
    """Whether it leaves all of the backbone as it is, as a probe does."""
    chosen = config_class(name)
    return getattr(chosen, "needs_head", False) and chosen.roles == ("backbone",)


def parts_of(name: str, options: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """The methods that a name stands for, each with its options; itself alone where it is no composition.

    `options` are those of `configure`: of a composition each has the name of its method before it (`lora.r`), and
    `parts` chooses among the methods. Raises `SureError` for any other.
    """
    chosen, options = config_class(name), dict(options or {})
    if not issubclass(chosen, Composition):
        return {name: options}
    options = _preset(name, chosen, options)
    parts = {part: dict(own) for part, own in (chosen.made_of or {one: {} for one in name.split(PLUS)}).items()}
    if (wanted := options.pop("parts", None)) is not None:
        wanted = _names("parts", wanted)
        for part in wanted:
            if part not in parts:
                raise registry.unknown(f"part of {name}:", part, list(parts))
        parts = {part: own for part, own in parts.items() if part in wanted}
    for option, value in options.items():
        part, _, own = option.partition(".")
        if not own or part not in parts:
            raise SureError(
                f"Unknown option of {name}: {option!r}. Each has the name of its method before it: "
                f"{', '.join(f'{part}.NAME' for part in parts)} (`sure methods NAME` lists them)."
            )
        parts[part][own] = value
    return parts


def roles_of(name: str, preset: str | None = None) -> tuple[str, ...]:
    """The parts of a backbone that a method adapts by default, or as a paper has it."""
    chosen = config_class(name)
    if issubclass(chosen, Composition):
        parts = parts_of(name, {"preset": preset} if preset else None)
        # Each has its roles once, in the order of the parts.
        return tuple(
            dict.fromkeys(
                role
                for part, own in parts.items()
                for role in own.get("roles") or own.get("placement") or roles_of(part, own.get("preset"))
            )
        )
    options = dict(chosen.presets[preset].options if preset else {})
    if "roles" in options:
        return tuple(options["roles"])
    return _default_roles(name, chosen(**options))


def dimensions(name: str) -> tuple[str, ...]:
    """The option of which a method has more or less, for a budget, of several methods theirs.

    None of a method of one size, and of those whose size no option alone says (`of_peft.CHANGED_BY`).
    """
    if issubclass(config_class(name), Composition):
        return tuple(f"{part}.{own}" for part in parts_of(name) for own in dimensions(part))
    own = of_peft.DIMENSIONS.get(name, getattr(config_class(name), "dimension", None))
    return (own,) if own else ()


def setting(name: str, config: peft.PeftConfig) -> str | None:
    """The dimensions of a method with their values, such as `r=8`; None where none is chosen by number."""
    said = []
    for option in dimensions(name):
        part, _, own = option.rpartition(".")
        # A composition may be without some of its parts.
        holder = config.parts.get(part) if part else config
        if (value := getattr(holder, own, None)) is not None:
            said.append(f"{option}={value}")
    return ", ".join(said) or None


def tensors(model: peft.PeftModel) -> dict[str, Tensor]:
    """What is saved of an adapter, by the names that it has in the file."""
    return peft.get_peft_model_state_dict(model, save_embedding_layers=False)


def part_parameters(model: peft.PeftModel) -> dict[str, int]:
    """Of a model with several methods, by method its trainable parameters; empty where it has one."""
    tuner = model.base_model
    return tuner.trainable_parameters() if isinstance(tuner, ComposedTuner) else {}


def can_be_merged(name: str) -> bool:
    """Whether a method's adapter can become part of the backbone's weights, after which it costs nothing."""
    if issubclass(config_class(name), Composition):
        return all(can_be_merged(part) for part in parts_of(name))
    if not issubclass(config_class(name), MethodConfig):
        return name not in _NOT_MERGED
    tuner = PEFT_TYPE_TO_TUNER_MAPPING[f"{TYPE_PREFIX}{name.upper()}"]
    return tuner.tuner_layer_cls.merge is not BaseTunerLayer.merge


def published(name: str) -> tuple[Published, ...]:
    """What papers count of a method; PEFT's have no paper's count here. Raises `SureError` for an unknown name."""
    return getattr(config_class(name), "published", ())


def configure(name: str, backbone: Backbone, options: dict[str, Any] | None = None) -> peft.PeftConfig:
    """The config of a method on a backbone: the paper's defaults, changed by `options`.

    `options` are the config's fields; `preset`, a paper's choice of them; `roles`, a list of the parts of the backbone
    to adapt (`sure.backbones`); `layers` or `top`, in which of its layers; and `budget`, for the largest setting within
    so many parameters (`sure.method.fitting`).
    Raises `SureError` for an option the method does not have, a value that it cannot have, and for parts, modules or
    layers that the backbone does not have.
    """
    options = dict(options or {})
    chosen = config_class(name)
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
    options = _preset(name, chosen, options)
    roles, layers = options.pop("roles", None), targeting.layers_chosen(options)
    fields = {field.name for field in options_of(chosen)}
    # PEFT writes them as texts.
    kinds = get_type_hints(chosen, include_extras=True)
    for option, value in options.items():
        if option not in fields:
            raise registry.unknown(f"option of {name}:", option, [*_CHOICES, *sorted(fields)])
        kind = kinds[option]
        members = [kind] if get_origin(kind) is list else get_args(kind)
        if value is not None and str not in members and any(get_origin(member) is list for member in members):
            options[option] = _listed(option, value, kind)
        else:
            options[option] = registry.checked(f"--method_options {option}", value, kind)
    with _wrong_options(name):
        config = chosen(**options)
    if config.peft_type not in PEFT_TYPE_TO_CONFIG_MAPPING:
        raise SureError(f"{registry.file('method', name)}: not known to PEFT; end it with `register(Config, Layer)`.")
    # What it adapts may follow from its options.
    given = roles
    roles = tuple(_default_roles(name, config) if roles is None else _names("roles", roles))
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


def _names(option: str, value: Any) -> list[str]:
    """Of parts, one at least. Raises `SureError` where there is none."""
    found = _listed(option, value)
    if not any(found):
        raise SureError(f"--method_options {option}: names nothing.")
    return found


def _listed(option: str, value: Any, kind: Any = list[str]) -> list[Any]:
    """A list that is one or that one value stands for; in a text a comma parts several."""
    if not isinstance(value, list | tuple):
        value = value.split(",") if isinstance(value, str) else [value]
    return registry.checked(f"--method_options {option}", list(value), kind)


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
    return _at_home(adapted)


def callbacks(config: peft.PeftConfig, steps: Callable[[], int]) -> list[TrainerCallback]:
    """What a method's config asks of the training loop in a run of so many steps: its own `callbacks`, if it has any.

    Raises `SureError` where it does not go with such a run.
    """
    own = getattr(config, "callbacks", None)
    return own(steps()) if own else []


def before_saving(model: peft.PeftModel) -> None:
    """Let a method's config note what training has left of its adapter, if it has a `before_saving`."""
    if own := getattr(model.active_peft_config, "before_saving", None):
        own(model)


def load(model: SpeechModel, folder: Path, config: peft.PeftConfig | None = None) -> peft.PeftModel:
    """The model with the adapter that a run left in its folder, for inference; `config` is what `read_config` gave.

    Raises `SureError` where there is none, or one that is not this model's: every tensor must be there, and no other.
    """
    config, weights = config or read_config(folder), Path(folder) / WEIGHTS
    try:
        with safe_open(weights, framework="pt") as file:
            stored = set(file.keys())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found missing adapter keys")
            # PEFT reads the ranks that AdaLoRA has left, and takes their names for modules that it cannot find.
            warnings.filterwarnings("ignore", message="The following rank_pattern keys did not match")
            adapted = peft.PeftModel.from_pretrained(model, folder, config=config)
    except FileNotFoundError:
        raise SureError(f"{weights}: no such file; an adapter's folder has it.") from None
    except SafetensorError as error:
        raise SureError(f"{weights}: broken or cut off ({error}). Copy it again.") from None
    except (ValueError, TypeError, RuntimeError) as error:
        # Of tensors of other sizes, the second line names the first.
        said = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise SureError(f"{weights} does not fit this model and {CONFIG}: {said}") from None
    # PEFT would leave at random what it does not find.
    differing = stored ^ set(peft.get_peft_model_state_dict(adapted, save_embedding_layers=False))
    if differing:
        raise SureError(
            f"{weights} does not fit this model and {CONFIG}: {len(differing)} tensors are too many or missing, such "
            f"as {min(differing)}."
        )
    return _at_home(adapted)


def read_config(folder: Path) -> peft.PeftConfig:
    """The configuration of an adapter that was saved. Raises `SureError` where there is none that PEFT can read."""
    path = Path(folder) / CONFIG
    try:
        config = config_of(json.loads(path.read_text(encoding="utf-8")), path)
    except OSError as error:
        raise SureError(f"{path}: {error.strerror}. An adapter's folder has it.") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SureError(f"{path} is not the configuration of an adapter ({type(error).__name__}: {error}).") from None
    config.inference_mode = True
    return config


def config_of(values: dict[str, Any], path: Path) -> peft.PeftConfig:
    """A configuration as PEFT writes it into files and SURE into records; of a composition its parts are such ones too.

    `path` is where it says so. Raises `SureError`, and `KeyError` and the like for what is no configuration.
    """
    registry.import_all("method")
    values = dict(values)
    kind = values.pop("peft_type")
    # Ours had their bare names in 0.1.0, and the prefixes that PEFT has are of another kind.
    if f"{TYPE_PREFIX}{kind}" in PEFT_TYPE_TO_CONFIG_MAPPING and "target_modules" in values:
        kind = f"{TYPE_PREFIX}{kind}"
    chosen = PEFT_TYPE_TO_CONFIG_MAPPING[kind]
    kinds = {field.name: field.type for field in dataclasses.fields(chosen)}
    if kind.startswith(TYPE_PREFIX):
        values = {name: registry.checked(f"{path}: {name}", value, kinds[name]) for name, value in values.items()}
    if issubclass(chosen, Composition):
        values["parts"] = {name: config_of(part, path) for name, part in values["parts"].items()}
    return chosen.from_peft_type(peft_type=kind, **values)


def _refuse_composition(name: str) -> None:
    """Raises `SureError` where methods cannot be put together."""
    parts, kinds = name.split(PLUS), {}
    for part in parts:
        chosen = config_class(part)
        refuse_part(part, chosen)
        other = kinds.setdefault(chosen().peft_type, part)
        if other != part:
            raise SureError(f"--method {name}: {other} and {part} are the same to PEFT, which cannot tell them apart.")
    if len(set(parts)) < len(parts):
        raise SureError(f"--method {name}: each method once; a single one can be in several places (roles=...).")


def _compose(name: str, chosen: type[Composition], backbone: Backbone, options: dict[str, Any]) -> Composition:
    parts = {part: configure(part, backbone, own) for part, own in parts_of(name, options).items()}
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


def _default_roles(name: str, config: peft.PeftConfig) -> tuple[str, ...]:
    return getattr(config, "roles", _ROLES.get(name, LINEAR_ROLES))


def _preset(name: str, chosen: type[peft.PeftConfig], options: dict[str, Any]) -> dict[str, Any]:
    """Options with those of the preset that they name, which others of them may change."""
    preset = options.pop("preset", None)
    if preset is None:
        return options
    presets = getattr(chosen, "presets", {})
    if not presets:
        raise SureError(f"--method_options preset={preset}: {name} has no presets.")
    if str(preset) not in presets:
        raise registry.unknown(f"preset of {name}:", str(preset), list(presets))
    return presets[preset].options | options


def _fitted(name: str, backbone: Backbone, options: dict[str, Any], budget: str | float) -> dict[str, Any]:
    """Options with the largest values of the method's dimensions that a budget allows.

    A method without any keeps its size, beyond the budget too, with a warning; as one of several it is counted, and
    what it leaves is the others'.
    """
    allowed = parameters_of(budget, _size(backbone))
    (found,) = fit(name, backbone, options, [budget]) if dimensions(name) else [{}]
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
    if issubclass(config_class(name), Composition):
        return _fit_parts(name, backbone, options, budgets)
    (chosen,) = dimensions(name)
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
    (chosen,) = dimensions(name)
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
    parts = parts_of(name, options)
    # A paper's size gives way to the budget, one that was asked for does not.
    free = {part: own for part in parts for own in dimensions(part) if f"{part}.{own}" not in options}
    if not free:
        if given := [dimension for dimension in dimensions(name) if dimension in options]:
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


def _at_home(adapted: peft.PeftModel) -> peft.PeftModel:
    """A model of PEFT's that asks no hub, writes no card of its own, and can be merged with a head of ours."""
    # An encoder has no token embeddings; PEFT would ask the hub about their size at every save.
    adapted.save_pretrained = functools.partial(adapted.save_pretrained, save_embedding_layers=False)
    # The runner writes one that says what was measured; a user's own stays as it is.
    adapted.create_or_update_model_card = lambda output_dir: None
    tuner = adapted.base_model
    replace = tuner._replace_module

    def replace_module(parent: Any, name: str, new: Any, child: Any) -> None:
        # PEFT's hands on a `weight` to what it puts back, which a head has not.
        if isinstance(child, ModulesToSaveWrapper):
            setattr(parent, name, new)
        else:
            replace(parent, name, new, child)

    tuner._replace_module = replace_module
    return adapted
