"""A method by its name, before it is on a backbone: ours, those that PEFT has, and several at once."""

import dataclasses
from typing import Any

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTunerLayer

from sure import registry
from sure.errors import SureError
from sure.method import TYPE_PREFIX, MethodConfig, Published, of_peft
from sure.method.composition import PLUS, Composition, refuse_part
from sure.method.linear import LINEAR_ROLES

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
    options = with_preset(name, chosen, options)
    parts = {part: dict(own) for part, own in (chosen.made_of or {one: {} for one in name.split(PLUS)}).items()}
    if (wanted := options.pop("parts", None)) is not None:
        wanted = several_names("parts", wanted)
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
    return default_roles(name, chosen(**options))


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


def with_preset(name: str, chosen: type[peft.PeftConfig], options: dict[str, Any]) -> dict[str, Any]:
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


def default_roles(name: str, config: peft.PeftConfig) -> tuple[str, ...]:
    return getattr(config, "roles", _ROLES.get(name, LINEAR_ROLES))


def several_names(option: str, value: Any) -> list[str]:
    """Of parts, one at least. Raises `SureError` where there is none."""
    found = listed(option, value)
    if not any(found):
        raise SureError(f"--method_options {option}: names nothing.")
    return found


def listed(option: str, value: Any, kind: Any = list[str]) -> list[Any]:
    """A list that is one or that one value stands for; in a text a comma parts several."""
    if not isinstance(value, list | tuple):
        value = value.split(",") if isinstance(value, str) else [value]
    return registry.checked(f"--method_options {option}", list(value), kind)


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
