"""A method by its name, put on a backbone: ours, and those that PEFT has; and an adapter read from its folder."""

import dataclasses
import functools
import json
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils import CONFIG_NAME, ModulesToSaveWrapper
from torch import nn

from sure import registry
from sure.backbone import Backbone
from sure.errors import SureError
from sure.method import TYPE_PREFIX, MethodConfig, Published
from sure.model import SpeechModel

# Where a method of PEFT goes unless `roles` says otherwise: every linear projection of a layer.
LINEAR_ROLES = ("query", "key", "value", "output", "ffn_in", "ffn_out")

# Those whose papers have other places.
_ROLES = {
    # Liu et al. 2022, section 3.3.
    "ia3": ("key", "value", "ffn_out"),
    # Zhao et al. 2024.
    "ln_tuning": ("norm",),
    # PEFT's default for every model it knows.
    "beft": ("value",),
}


def names() -> list[str]:
    """Every method that can be asked for: ours, then PEFT's."""
    return registry.names("method") + list(registry.from_peft())


def config_class(name: str) -> type[peft.PeftConfig]:
    """The config class of a method. Raises `SureError` for an unknown name."""
    if name in registry.from_peft():
        return PEFT_TYPE_TO_CONFIG_MAPPING[name.upper()]
    if name in registry.NOT_FROM_PEFT and name not in registry.names("method"):
        raise SureError(f"--method {name}: PEFT has it, but it cannot be used here: {registry.NOT_FROM_PEFT[name]}.")
    if name not in names():
        raise registry.unknown("method", name, names())
    return registry.get("method", name)


def roles_of(name: str) -> tuple[str, ...]:
    """The parts that a method adapts by default; those of one whose options decide are none."""
    roles = getattr(config_class(name), "roles", _ROLES.get(name, LINEAR_ROLES))
    return roles if isinstance(roles, tuple) else ()


def published(name: str) -> tuple[Published, ...]:
    """What papers count of a method; PEFT's have no paper's count here. Raises `SureError` for an unknown name."""
    return getattr(config_class(name), "published", ())


def configure(name: str, backbone: Backbone, options: dict[str, Any] | None = None) -> peft.PeftConfig:
    """The config of a method on a backbone: the paper's defaults, changed by `options`.

    `options` are the config's fields, and `roles`: a list of the parts of the backbone to adapt (`sure.backbones`).
    Raises `SureError` for an option the method does not have, a value that it cannot have, and for parts, modules or
    layers that the backbone does not have.
    """
    options = dict(options or {})
    chosen = config_class(name)
    if backbone.headless and getattr(chosen, "needs_head", False):
        raise SureError(
            f"--method {name} trains a task's head on a backbone that stays as it is; {backbone.family()} models "
            "are whole and take no head. Choose a method that changes the backbone, such as lora."
        )
    roles = options.pop("roles", None)
    fields = {field.name: field for field in dataclasses.fields(chosen) if field.init}
    # What PEFT notes of an adapter is not for users to choose.
    for noted in dataclasses.fields(peft.PeftConfig):
        del fields[noted.name]
    for option, value in options.items():
        if option not in fields:
            raise registry.unknown(f"option of {name}:", option, ["roles", *sorted(fields)])
        options[option] = registry.checked(f"--method_options {option}", value, fields[option].type)
    with _wrong_options(name):
        config = chosen(**options)
    if config.peft_type not in PEFT_TYPE_TO_CONFIG_MAPPING:
        raise SureError(f"{registry.file('method', name)}: not known to PEFT; end it with `register(Config, Layer)`.")
    # What it adapts may follow from its options.
    roles = roles or getattr(config, "roles", _ROLES.get(name, LINEAR_ROLES))
    roles = tuple(roles.split(",")) if isinstance(roles, str) else tuple(roles)
    if config.target_modules is None:
        targets = getattr(config, "targets", None)
        config.target_modules = (
            targets(backbone, roles) if targets else "|".join(backbone.modules(role) for role in roles)
        )
        if getattr(config, "layers_to_transform", None) is not None:
            config.target_modules = _of_layers(backbone, config)
    if getattr(config, "feedforward_modules", "") is None:
        # IA3 scales the input of these instead of their output (Liu et al. 2022, section 3.3).
        config.feedforward_modules = backbone.modules("ffn_out")
    for option in ("target_modules", "exclude_modules", "modules_to_save"):
        _refuse_absent(backbone, option, getattr(config, option, None))
    for option in ("rank_pattern", "alpha_pattern"):
        _refuse_absent(backbone, option, list(getattr(config, option, None) or ()))
    if not backbone.headless:
        config.modules_to_save = sorted({"head", *(config.modules_to_save or [])})
    config.revision = backbone.revision
    return config


def apply(model: SpeechModel, config: peft.PeftConfig) -> peft.PeftModel:
    """`peft.get_peft_model`, after which nothing that is frozen computes a gradient.

    Raises `SureError` where the method cannot adapt a module of the parts it was given, or not with its options.
    """
    # Adapters of 0.1.0 and what a plug-in registers have the name of the method's file.
    name = str(getattr(config.peft_type, "value", config.peft_type)).removeprefix(TYPE_PREFIX).lower()
    chosen = {model.get_submodule(place) for place in _found(model.source, config.target_modules)}
    unusual = sorted({type(module).__name__.strip("_") for module in chosen if not isinstance(module, nn.Linear)})
    try:
        with _wrong_options(name):
            adapted = peft.get_peft_model(model, config)
    except (SureError, KeyError) as error:
        if isinstance(config, MethodConfig) or not unusual:
            raise
        raise SureError(
            f"--method {name} adapts linear maps; not every {', '.join(unusual)} of the parts chosen can be adapted by "
            f"this method ({textwrap.shorten(str(error), 120)}). Name other parts of the backbone, such as "
            "--method_options roles=query,key,value,output (see `sure backbones NAME`)."
        ) from None
    model.source.skip_frozen_cnn(adapted)
    return _at_home(adapted)


def load(model: SpeechModel, folder: Path) -> peft.PeftModel:
    """The model with the adapter that a run left in its folder, for inference.

    Raises `SureError` where there is none, or one that is not this model's.
    """
    return _at_home(peft.PeftModel.from_pretrained(model, folder, config=read_config(folder)))


def read_config(folder: Path) -> peft.PeftConfig:
    """The configuration of an adapter that was saved. Raises `SureError` where there is none that PEFT can read."""
    path = Path(folder) / CONFIG_NAME
    registry.import_all("method")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        kind = values.pop("peft_type")
        # Ours had their bare names in 0.1.0, and the prefixes that PEFT has are of another kind.
        if f"{TYPE_PREFIX}{kind}" in PEFT_TYPE_TO_CONFIG_MAPPING and "target_modules" in values:
            kind = f"{TYPE_PREFIX}{kind}"
        kinds = {field.name: field.type for field in dataclasses.fields(PEFT_TYPE_TO_CONFIG_MAPPING[kind])}
        if kind.startswith(TYPE_PREFIX):
            values = {name: registry.checked(f"{path}: {name}", value, kinds[name]) for name, value in values.items()}
        config = PEFT_TYPE_TO_CONFIG_MAPPING[kind].from_peft_type(peft_type=kind, **values)
    except OSError as error:
        raise SureError(f"{path}: {error.strerror}. An adapter's folder has it.") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SureError(f"{path} is not the configuration of an adapter ({type(error).__name__}: {error}).") from None
    config.inference_mode = True
    return config


@contextmanager
def _wrong_options(name: str) -> Iterator[None]:
    """What a method's own code refuses is a user's to change."""
    try:
        yield
    except (TypeError, ValueError, AssertionError, ArithmeticError, NotImplementedError, re.error) as error:
        raise SureError(f"--method_options of {name}: {error or type(error).__name__}") from None


def _found(backbone: Backbone, targets: list[str] | str) -> list[str]:
    """The modules of a backbone that PEFT would adapt: a string is an expression for whole names, a list has ends."""
    names = [name for name, _ in backbone.named_modules()]
    if isinstance(targets, str):
        return [name for name in names if re.fullmatch(targets, name)]
    return [name for name in names if f".{name}".endswith(tuple(f".{target}" for target in targets))]


def _of_layers(backbone: Backbone, config: peft.PeftConfig) -> list[str]:
    """Of the modules that a method would adapt, those in the layers chosen, which PEFT heeds in no expression."""
    chosen = config.layers_to_transform
    if config.layers_pattern:
        raise SureError(
            "--method_options layers_pattern: leave it out; where layers are is known of the backbone, unless you give "
            "target_modules too."
        )
    layers = "|".join(backbone.modules(role) for role in backbone.roles if role.endswith("layer"))
    inside = re.compile(rf"(?:{layers})(?=\.|$)")
    wanted = {chosen} if isinstance(chosen, int) else set(chosen)
    found = []
    for name in _found(backbone, config.target_modules):
        layer = inside.match(name)
        if layer and int(layer[0].rpartition(".")[2]) in wanted:
            found.append(name)
    if not found:
        raise SureError(
            f"--method_options layers_to_transform={chosen}: {backbone.name} has no such layer; its layers are 0 to "
            f"{backbone.config.num_hidden_layers - 1}."
        )
    return found


def _refuse_absent(backbone: Backbone, option: str, chosen: list[str] | set[str] | str | None) -> None:
    """PEFT says nothing where one of several modules is not there."""
    if not chosen or chosen == "all-linear":
        return
    with _wrong_options(option):
        for target in [chosen] if isinstance(chosen, str) else chosen:
            sought = rf"(?:.*\.)?(?:{target})" if option.endswith("pattern") else target
            if not _found(backbone, sought if sought != target or isinstance(chosen, str) else [target]):
                ends = f"; for names that end in it write [{target}]" if isinstance(chosen, str) else ""
                raise SureError(
                    f"--method_options {option}={target}: no module of {backbone.name} has this name{ends}. Parts by "
                    f"their roles are simpler: roles=query,value (`sure backbones {backbone.family()}`)."
                )


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
