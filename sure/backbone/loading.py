"""Where backbones come from: shipped names, named sizes with random weights, local folders and the hub."""

import copy
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils._device import DeviceContext
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.integrations import deepspeed
from transformers.utils.hub import resolve_revision

from sure import registry
from sure.audio import SAMPLE_RATE
from sure.backbone import Backbone
from sure.backbone.text_to_speech import TextToSpeech
from sure.errors import SureError, first_line

# Pretrained by `sure pretrain` and shipped with the package.
SHIPPED = {name: Path(__file__).parent / name.replace("-", "_") for name in ("sure-mini", "sure-mini-tts")}

# Names of named sizes.
ALIASES = {"tiny": "wav2vec2:tiny", "wav2vec2-large-untrained": "wav2vec2:large"}
_SEED = 0
_MASK = "masked_spec_embed"
_NO_WEIGHTS = "no weights"

# How parameters start.
_FILLS = {
    *(Tensor.fill_, Tensor.normal_, Tensor.uniform_, Tensor.zero_),
    *(nn.init.constant_, nn.init.kaiming_uniform_, nn.init.normal_, nn.init.uniform_),
}


class WithoutValues(DeviceContext):
    """`torch.device("meta")`, where no tensor is filled: PyTorch would work out in Python what comes to nothing."""

    def __init__(self) -> None:
        super().__init__("meta")

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if function in _FILLS:
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return super().__torch_function__(function, types, args, kwargs)


def load(
    name: str,
    revision: str | None = None,
    *,
    weights: bool = True,
    options: dict[str, Any] | None = None,
    head: bool = False,
    kept: "Kept | None" = None,
) -> Backbone:
    """The backbone `name`: a shipped name, `<family>:<size>` with random weights, a local folder or a hub id.

    With `weights` false the configuration alone is read and the parameters are made where `torch.device` has been set
    to, such as on the meta device (for budgets).
    `options` are the family's; with `head` a task will put a head on the model, so that of an encoder-decoder the
    encoder is what counts. `kept` is what several runs of a process have in common. Raises `SureError` where there is
    no such model, its family is not one of ours, or an option is wrong.
    """
    family, config, place = _configured(name, revision)
    chosen = registry.dataclass_of(family.options_class, options or {}, "--backbone_options", family.family())
    if not weights:
        model, processor, digest = _untrained(family, config), None, _NO_WEIGHTS
    else:

        def read() -> tuple[PreTrainedModel, Any, str]:
            with _undivided():
                return _pretrained(place, revision, config, family) if place is not None else _random(config, family)

        model, processor, digest = kept.copy((name, revision), read) if kept else read()
    # `sure pretrain --steps 0` marks what it leaves.
    pretrained = weights and place is not None and not getattr(config, "random_weights", False)
    return family(name, model, processor, revision=digest, pretrained=pretrained, options=chosen, head=head)


def twin(backbone: Backbone, layers: int | None = None) -> Backbone:
    """A backbone like another without weights, with so many layers (None: all), where `torch.device` has been set to.

    On the meta device it is made once, and copied.
    """
    device = torch.get_default_device()
    model = backbone.twins.get(layers)
    if model is None or device.type != "meta":
        family, config, _ = _configured(backbone.name, None)
        if layers is not None:
            config.num_hidden_layers = layers
        model = _untrained(family, config)
    if device.type == "meta":
        backbone.twins[layers] = model
        model = _copied(model, {})
    kind, options, head = type(backbone), backbone.options, backbone.head
    return kind(backbone.name, model, None, revision=_NO_WEIGHTS, pretrained=False, options=options, head=head)


class Kept:
    """The model that was read last, of which the next run of the process gets a copy as if it had been read again.

    Reading uses random numbers, for parameters that a checkpoint lacks among others: a copy is for those who begin with
    the same, and leaves those that reading would have left. So no score depends on what a process did before.
    """

    def __init__(self) -> None:
        self._key: tuple | None = None

    def copy(self, key: tuple, read: Callable[[], tuple[PreTrainedModel, Any, str]]) -> tuple:
        """What `read` gives, read again only for another key or other random numbers."""
        key = (*key, torch.get_rng_state().numpy().tobytes())
        if key != self._key:
            self._key = None
            self._read = read()
            self._left, self._key = torch.get_rng_state(), key
        torch.set_rng_state(self._left)
        return copy.deepcopy(self._read)


def around(model: PreTrainedModel) -> Backbone:
    """The backbone that a model of `transformers` is or holds, such as a `Wav2Vec2Model` or a `Wav2Vec2ForCTC`.

    From then on the model notes where the padding of a batch is and skips no layer, as every backbone does. Raises
    `SureError` where it is no speech encoder of one of our families.
    """
    known = registry.names("backbone")
    kind = getattr(getattr(model, "config", None), "model_type", None) or type(model).__name__
    inner = getattr(model, getattr(model, "base_model_prefix", ""), model)
    family = registry.get("backbone", kind.replace("-", "_")) if kind.replace("-", "_") in known else None
    if family is None or family.headless or not isinstance(inner, PreTrainedModel):
        raise SureError(
            f"A {type(model).__name__} ({kind}) is no speech encoder of the families {', '.join(known)}; those that "
            "write or speak are adapted through `sure.backbone.loading.load` and `Task.build_model`."
        )
    _without_layerdrop(inner.config)
    backbone = family(inner.name_or_path or kind, inner, revision="not known", pretrained=True)
    backbone.prefix = "" if inner is model else model.base_model_prefix
    return backbone


def family_of(name: str) -> type[Backbone]:
    """The family of a backbone that is named as for `load`, which no weights are read for. Raises as `load` does."""
    sized = _named_size(name)
    return sized[0] if sized else _stored(name, str(SHIPPED.get(name, name)), None)[0]


def _configured(name: str, revision: str | None) -> tuple[type[Backbone], PreTrainedConfig, str | None]:
    """Family and configuration of a backbone, and where its weights are; None where its name is of a size."""
    if sized := _named_size(name):
        family, config = sized
        place = None
    else:
        if name in SHIPPED and not SHIPPED[name].is_dir():
            raise SureError(
                f"--backbone {name} is not in this installation. `sure pretrain` makes one like it, elsewhere."
            )
        place = str(SHIPPED.get(name, name))
        family, config = _stored(name, place, revision)
    if getattr(config, "add_adapter", False):
        raise SureError(f"{name}: encoders that shorten their output (add_adapter) are not supported.")
    _without_layerdrop(config)
    # As weights are read; what is stored in float16, as sure-mini is, would be that without weights too.
    config.dtype = torch.float32
    return family, config, place


def _without_layerdrop(config: PreTrainedConfig) -> None:
    """Layers skipped at random break several processes and what one layer hands on to the next, and runs differ."""
    config.layerdrop = 0.0


def _untrained(family: type[Backbone], config: PreTrainedConfig) -> PreTrainedModel:
    # SpecAugment's embedding is made by a constructor that does not heed the device.
    return family.new_model(config).to(torch.get_default_device())


def _copied(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """`copy.deepcopy`, which would spend its time on what is empty or no object of its own."""
    kind = type(module)
    if id(module) in memo or hasattr(kind, "__deepcopy__"):
        return copy.deepcopy(module, memo)
    memo[id(module)] = made = kind.__new__(kind)
    for name, value in vars(module).items():
        if name == "_modules":
            value = {place: part and _copied(part, memo) for place, part in value.items()}
        elif isinstance(value, (dict, set)) and not value:
            value = value.copy()
        elif not isinstance(value, (bool, int, float, str, NoneType)):
            value = copy.deepcopy(value, memo)
        vars(made)[name] = value
    return made


def _named_size(name: str) -> tuple[type[Backbone], PreTrainedConfig] | None:
    """Family and configuration of `<family>:<size>`, None where the name is of another kind."""
    family, colon, size = ALIASES.get(name, name).partition(":")
    if not colon or family not in registry.names("backbone"):
        return None
    chosen = registry.get("backbone", family)
    if size not in chosen.sizes:
        raise registry.unknown(f"size of {family}:", size, list(chosen.sizes))
    config = chosen.new_config(**chosen.sizes[size])
    config.name_or_path = name
    return chosen, config


def _stored(name: str, place: str, revision: str | None) -> tuple[type[Backbone], PreTrainedConfig]:
    """Family and configuration of a folder or hub repository."""
    try:
        values, _ = PreTrainedConfig.get_config_dict(place, revision=revision)
        kind = values.get("model_type")
        if kind is None:
            raise ValueError("its config.json names no model_type.")
        if (family := kind.replace("-", "_")) not in registry.names("backbone"):
            raise registry.unknown(f"backbone family of {name}:", kind, registry.names("backbone"))
        chosen = registry.get("backbone", family)
        return chosen, chosen.read_config(place, revision)
    except (OSError, ValueError) as error:
        raise SureError(
            f"--backbone {name}: neither built in ({', '.join([*SHIPPED, *ALIASES])}, <family>:<size>), nor a folder "
            f"with config.json, nor a model that could be read from the hub: {str(error).splitlines()[0]}"
        ) from None


@contextmanager
def _undivided() -> Iterator[None]:
    """Every process reads the whole model, also where DeepSpeed divides it afterwards (ZeRO stage 3).

    As transformers reads it then, parts would have no digest, and weight normalisation fails on them.
    """
    known = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = known


def _random(config: PreTrainedConfig, family: type[Backbone]) -> tuple[PreTrainedModel, Any, str]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model = family.new_model(config)
    return model, family.new_processor(config), _digest_of(model)


def _pretrained(
    place: str, revision: str | None, config: PreTrainedConfig, family: type[Backbone]
) -> tuple[PreTrainedModel, Any, str]:
    try:
        model = from_pretrained(family.model_class, place, revision=revision, config=config)
        processor = family.read_processor(place, revision)
    # Sentencepiece has no other error.
    except (OSError, ValueError, RuntimeError) as error:
        raise SureError(
            f"--backbone {place}: {str(error).splitlines()[0]} A backbone needs config.json, preprocessor_config.json "
            "and model.safetensors."
        ) from None
    hears = getattr(getattr(processor, "feature_extractor", processor), "sampling_rate", SAMPLE_RATE)
    if hears != SAMPLE_RATE and not issubclass(family, TextToSpeech):
        raise SureError(f"--backbone {place}: it hears {hears:,} Hz; here everything is at {SAMPLE_RATE:,} Hz.")
    return model, processor, _commit(place, revision) or _digest_of(model)


def from_pretrained(model_class: type, name: str, **options: Any) -> PreTrainedModel:
    """`from_pretrained` of a class of `transformers`: in float32 whatever the file holds, and never unpickled.

    Raises `ValueError` where the file is broken, or lacks parameters of the model, which would be random, or has them
    in other sizes; and what it raises.
    """
    try:
        model, report = model_class.from_pretrained(
            name, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **options
        )
    except SafetensorError as error:
        raise ValueError(
            f"its weights are broken, cut off, or a pointer of Git LFS ({error}). Copy them again, or `git lfs pull`."
        ) from None
    except RuntimeError as error:
        raise ValueError(f"its weights do not fit its config.json: {first_line(error)}.") from None
    parameters = dict(model.named_parameters())
    lacking = sorted(parameters.keys() & set(report["missing_keys"]))
    # SpecAugment's embedding trains only with the whole backbone, and many a checkpoint lacks it. The model is the same
    # whenever it is read.
    for key in (key for key in lacking if key.endswith(_MASK)):
        nn.init.uniform_(parameters[key], generator=torch.Generator().manual_seed(_SEED))
    if absent := [key for key in lacking if not key.endswith(_MASK)]:
        raise ValueError(
            f"its weights are those of another kind of model: {len(absent)} parameters of {type(model).__name__} are "
            f"not among them, such as {absent[0]}."
        )
    return model


def _commit(name: str, revision: str | None) -> str | None:
    """The commit of a hub repository that a branch or tag means; None for a folder."""
    if Path(name).is_dir():
        return None
    return getattr(resolve_revision(name, revision), "resolved", None)


def _digest_of(model: nn.Module) -> str:
    """SHA-256 over the names and values of all weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.hexdigest()
