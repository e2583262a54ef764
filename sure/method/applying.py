"""A method by its name, put on a backbone: ours, and those that PEFT has."""

import dataclasses
import functools
from typing import Any

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from sure import registry
from sure.backbone import Backbone
from sure.errors import SureError
from sure.method import MethodConfig, Published
from sure.model import SpeechModel
from sure.registry import FROM_PEFT

# Where a method of PEFT goes unless `roles` says otherwise: every linear projection of a layer.
LINEAR_ROLES = ("query", "key", "value", "output", "ffn_in", "ffn_out")


def names() -> list[str]:
    """Every method that can be asked for: ours, then PEFT's."""
    return registry.names("method") + list(FROM_PEFT)


def config_class(name: str) -> type[peft.PeftConfig]:
    """The config class of a method. Raises `SureError` for an unknown name."""
    if name not in names():
        raise registry.unknown("method", name, names())
    return PEFT_TYPE_TO_CONFIG_MAPPING[name.upper()] if name in FROM_PEFT else registry.get("method", name)


def published(name: str) -> tuple[Published, ...]:
    """What papers count of a method; PEFT's have no paper's count here. Raises `SureError` for an unknown name."""
    return getattr(config_class(name), "published", ())


def configure(name: str, backbone: Backbone, options: dict[str, Any] | None = None) -> peft.PeftConfig:
    """The config of a method on a backbone: the paper's defaults, changed by `options`.

    `options` are the config's fields, and `roles`: a list of the parts of the backbone to adapt (`sure.backbones`).
    Raises `SureError` for an option the method does not have, or a value of the wrong type.
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
    for option, value in options.items():
        if option not in fields:
            inherited = {field.name for field in dataclasses.fields(MethodConfig)}
            raise registry.unknown(f"option of {name}:", option, ["roles", *sorted(set(fields) - inherited)])
        options[option] = registry.checked(f"--method_options {option}", value, fields[option].type)
    try:
        config = chosen(**options)
    except (TypeError, ValueError) as error:
        raise SureError(f"--method_options of {name}: {error}") from None
    if config.peft_type not in PEFT_TYPE_TO_CONFIG_MAPPING:
        raise SureError(f"{registry.file('method', name)}: not known to PEFT; end it with `register(Config, Layer)`.")
    # What it adapts may follow from its options.
    roles = roles or getattr(config, "roles", LINEAR_ROLES)
    roles = tuple(roles.split(",")) if isinstance(roles, str) else tuple(roles)
    if config.target_modules is None:
        targets = getattr(config, "targets", None)
        config.target_modules = (
            targets(backbone, roles) if targets else "|".join(backbone.modules(role) for role in roles)
        )
    if hasattr(config, "feedforward_modules"):
        # IA3 scales the input of these instead of their output (Liu et al. 2022, section 3.3).
        config.feedforward_modules = backbone.modules("ffn_out")
    if not backbone.headless:
        config.modules_to_save = sorted({"head", *(config.modules_to_save or [])})
    config.revision = backbone.revision
    return config


def apply(model: SpeechModel, config: peft.PeftConfig) -> peft.PeftModel:
    """`peft.get_peft_model`, after which nothing that is frozen computes a gradient.

    Raises `SureError` where the method cannot adapt a module of the parts it was given.
    """
    try:
        adapted = peft.get_peft_model(model, config)
    except (TypeError, ValueError) as error:
        unfit, stated, _ = str(error).partition(" is not supported")
        if not stated and "No layers types compatible" not in unfit:
            raise
        raise SureError(
            f"{unfit if stated else 'What was chosen'} cannot be adapted by this method. Name other parts of the "
            "backbone, such as --method_options roles=query,key,value,output (see `sure backbones NAME`)."
        ) from None
    # An encoder has no token embeddings; PEFT would ask the hub about their size at every save.
    adapted.save_pretrained = functools.partial(adapted.save_pretrained, save_embedding_layers=False)
    model.source.skip_frozen_cnn(adapted)
    return adapted
