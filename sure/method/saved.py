"""An adapter in its folder: written as PEFT writes it, and read without trusting what it says."""

import dataclasses
import functools
import json
import warnings
from pathlib import Path
from typing import Any

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME, ModulesToSaveWrapper
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sure import registry
from sure.errors import SureError
from sure.method import TYPE_PREFIX
from sure.method.composition import Composition
from sure.model import SpeechModel

# What PEFT calls its two files.
CONFIG, WEIGHTS = CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME


def tensors(model: peft.PeftModel) -> dict[str, Tensor]:
    """What is saved of an adapter, by the names that it has in the file."""
    return peft.get_peft_model_state_dict(model, save_embedding_layers=False)


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
    differing = stored ^ set(tensors(adapted))
    if differing:
        raise SureError(
            f"{weights} does not fit this model and {CONFIG}: {len(differing)} tensors are too many or missing, such "
            f"as {min(differing)}."
        )
    return at_home(adapted)


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


def at_home(adapted: peft.PeftModel) -> peft.PeftModel:
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
