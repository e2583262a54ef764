"""A record's parameters counted again, on the meta device, from the configuration that it states; no weights are read.

Where weights come along, the header of their file is compared with the tensors that the configuration makes.
"""

import functools
import json
import re
import signal
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from sure import registry
from sure.errors import SureError
from sure.record import Cost, Result, untrusted
from sure.task import Task, make_task

# As PEFT calls it; beside the record, where a submission brings it along.
WEIGHTS = "adapter_model.safetensors"

# What the header of a safetensors file takes: of itself, and of each tensor with its name.
_HEADER, _OF_A_TENSOR = 4096, 512

# More, and it is no header of an adapter's.
_MOST_HEADER = 16 << 20

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SIZED = re.compile(r"\w+:[\w.-]+")

# A method that starts from the values of weights would need them, and one that imports what its config names is not
# asked.
_NOT_ASKED = ("megatron_config", "auto_mapping", "layer_replication")
_LONGEST_PATTERN = 4000

# Seconds of computing, imports among them, in which the largest models are counted many times over. A pattern may take
# an eternity to match, however short it is.
_MOST_SECONDS = 60


class Compared(NamedTuple):
    """In what a record's cost is not its configuration's, what could not be checked, both in words, and whether it was
    counted at all."""

    faults: list[str]
    unchecked: list[str]
    counted: bool


class _Counted(NamedTuple):
    trainable_parameters: int
    head_parameters: int
    total_parameters: int
    adapter_bytes: int
    part_parameters: dict[str, int]
    # By name, its shape.
    tensors: dict[str, tuple[int, ...]]


class _Unknown(Exception):
    """What is not to be had here; says why nothing could be counted."""


class _Wrong(Exception):
    """The configuration makes no model."""


class _Endless(BaseException):
    """It has computed for too long; no error, so that nobody takes it for one of theirs."""


def compared(result: Result, task: Task, folder: Path) -> Compared:
    """Of a complete run's record, beside which weights may lie in `folder`."""
    backbone, cost = result.run.backbone, result.cost
    faults, unchecked = [], []
    if "/" in backbone.name:
        unchecked.append(f"weights: whether {backbone.name} is what it was, and whether it was pretrained")
    try:
        counted = _count(json.dumps(_configuration(result), sort_keys=True))
    except _Wrong as error:
        return Compared([str(error)], unchecked, False)
    except _Unknown as error:
        unchecked.append(f"parameters: {error}")
        if (folder / WEIGHTS).exists():
            unchecked.append("tensors of the weights")
        return Compared([], unchecked, False)
    faults += _differences(cost, counted, result.run.method.name)
    if (folder / WEIGHTS).exists():
        faults += _of_weights(folder / WEIGHTS, counted, cost, shapes=not _loses_ranks(result.run.method.name))
    return Compared(faults, unchecked, True)


def _configuration(result: Result) -> dict[str, Any]:
    run = result.run
    # Which utterances were drawn makes no head, and is long.
    options = {name: value for name, value in run.task_options.items() if name not in ("drawn", "shots", "draw")}
    return {
        "task": run.task,
        "task_options": options,
        "backbone": run.backbone.model_dump(mode="json"),
        "method": run.method.model_dump(mode="json"),
        "plugins": [plugin.model_dump(mode="json") for plugin in run.plugins],
        "revision": run.arguments.get("backbone_revision"),
    }


@functools.lru_cache(maxsize=256)
def _outcome(configuration: str) -> _Counted | Exception:
    said = json.loads(configuration)
    try:
        with _limited():
            return _on_meta_device(said)
    except (_Unknown, _Wrong) as error:
        return error
    except _Endless:
        # Only what repeats can be matched in so many ways.
        fields = [name for name, value in said["method"]["config"].items() if re.search("[*+]", json.dumps(value))]
        where = " or ".join(f"run.method.config.{name}" for name in fields) or "run.method.config"
        return _Wrong(
            f"{where}: its modules were not found in {_MOST_SECONDS} s; a simpler pattern finds them at once."
        )


@contextmanager
def _limited() -> Iterator[None]:
    """Raises `_Endless` when the process has computed for so long; signals, and so the limit, are the main thread's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> NoReturn:
        raise _Endless

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, _MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _count(configuration: str) -> _Counted:
    """Raises `_Unknown` where the backbone or a plug-in is not to be had, `_Wrong` where it makes no model."""
    outcome = _outcome(configuration)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _on_meta_device(said: dict[str, Any]) -> _Counted:
    backbone, method = said["backbone"], said["method"]
    name, sized = backbone["name"], _SIZED.fullmatch(backbone["name"])
    if not sized and "/" in name:
        _have_configuration(name, said["revision"])

    import torch

    from sure.backbone import loading
    from sure.budget import parameters_and_bytes
    from sure.method import applying, saved, weightless

    if not sized and "/" not in name and name not in (*loading.SHIPPED, *loading.ALIASES):
        raise _Unknown(f"{name} is neither built in nor on the hub")
    pretrained = name in loading.SHIPPED
    if "/" not in name and backbone["pretrained"] != pretrained:
        weights = "pretrained" if pretrained else "random"
        raise _Wrong(f"run.backbone.pretrained: {backbone['pretrained']}; the weights of {name} are {weights}.")
    for plugin in said["plugins"]:
        if plugin["name"] not in registry.names(plugin["kind"]):
            raise _Unknown(f"the plug-in {plugin['kind']} {plugin['name']} is not there")
    config = _config(method)
    if weightless.starts_from_values(method["name"]):
        raise _Unknown(f"{method['name']} starts from the values of weights")
    try:
        task = make_task(said["task"], said["task_options"])
        with torch.device("meta"):
            loaded = loading.load(
                name, said["revision"], weights=False, options=backbone.get("options"), head=task.with_head
            )
    except SureError as error:
        raise _Wrong(f"run.backbone: {error}") from None
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise _Unknown(f"{name} cannot be made without weights ({type(error).__name__})") from None
    if loaded.family() != backbone["family"]:
        raise _Wrong(f"run.backbone.family: {backbone['family']}; {name} is of {loaded.family()}.")
    try:
        with torch.device("meta"):
            model = task.build_model(loaded)
    except Exception as error:
        # A task may need more of a backbone than its configuration, such as its tokens.
        raise _Unknown(f"{said['task']} makes no model of {name} without weights ({type(error).__name__})") from None
    try:
        with torch.device("meta"):
            adapted = applying.apply(model, config)
        counted = parameters_and_bytes(adapted)
        tensors = {key: tuple(tensor.shape) for key, tensor in saved.tensors(adapted).items()}
        return _Counted(*counted, applying.part_parameters(adapted), tensors)
    except RuntimeError as error:
        # Such as PiSSA, which starts from the values of weights.
        raise _Unknown(f"{method['name']} does not start without weights ({type(error).__name__})") from None
    except Exception as error:
        # A stranger's values may break a method anywhere.
        raise _Wrong(f"run.method.config: {name} cannot be adapted so ({str(error).splitlines()[0][:200]}).") from None


def _have_configuration(name: str, revision: str | None) -> None:
    """Raises `_Unknown` where the hub does not give it; asked first, since importing torch takes long."""
    from huggingface_hub import hf_hub_download

    if not _HUB_ID.fullmatch(name) or Path(name).exists():
        raise _Unknown(f"{name} is a folder of the submitter's")
    try:
        hf_hub_download(name, "config.json", revision=revision)
    except Exception as error:
        # Its own and those of the network, of several libraries.
        raise _Unknown(f"the configuration of {name} could not be had ({type(error).__name__})") from None


def _config(method: dict[str, Any]) -> Any:
    """The method's configuration as the record has it. Raises `_Wrong` where it is another method's or none."""
    from sure.method import bare_type, by_name, saved
    from sure.method.composition import PLUS

    name, values = method["name"], dict(method["config"])
    for option in _NOT_ASKED:
        if values.get(option) is not None:
            raise _Unknown(f"a config with {option} is not followed")
    if any(isinstance(value, str) and len(value) > _LONGEST_PATTERN for value in values.values()):
        raise _Wrong("run.method.config: a value of more than 4,000 characters.")
    try:
        expected = by_name.config_class(name)
        config = saved.config_of(values, Path("run.method.config"))
    except SureError as error:
        raise _Wrong(f"run.method: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _Wrong(f"run.method.config: not a configuration of {name} ({type(error).__name__}: {error}).") from None
    if bare_type(config.peft_type) != bare_type(expected().peft_type):
        raise _Wrong(f"run.method.name: {name}; its config is of {values.get('peft_type')}.")
    if parts := getattr(config, "methods", None):
        named = list(by_name.parts_of(name))
        # A paper's composition may be without some of its parts.
        if not set(parts) <= set(named) or (PLUS in name and parts != named):
            raise _Wrong(f"run.method.name: {name}; its config is of {', '.join(parts)}.")
    return config


def _differences(cost: Cost, counted: _Counted, method: str) -> Iterator[str]:
    for name in ("trainable_parameters", "head_parameters", "total_parameters"):
        said, found = getattr(cost, name), getattr(counted, name)
        if said != found:
            yield f"cost.{name}: {said:,}; its configuration has {found:,}."
    if cost.part_parameters and cost.part_parameters != counted.part_parameters:
        yield f"cost.part_parameters: {cost.part_parameters}; its configuration has {counted.part_parameters}."
    least = 0 if _loses_ranks(method) else counted.adapter_bytes
    most = counted.adapter_bytes + _HEADER + _OF_A_TENSOR * len(counted.tensors)
    if not least <= cost.adapter_bytes <= most:
        yield f"cost.adapter_bytes: {cost.adapter_bytes:,}; its tensors have {counted.adapter_bytes:,}."


def _loses_ranks(method: str) -> bool:
    """Whether it saves the ranks that training has left of it, and of which no configuration knows."""
    return "adalora" in method.split("+")


def _of_weights(path: Path, counted: _Counted, cost: Cost, *, shapes: bool) -> Iterator[str]:
    """In what the tensors of a file are not those of the configuration; the values are not read."""
    if fault := untrusted.file_fault(path, untrusted.MOST_WEIGHTS, "file of weights"):
        yield fault
        return
    size = path.stat().st_size
    if size != cost.adapter_bytes:
        yield f"cost.adapter_bytes: {cost.adapter_bytes:,}; {path.name} has {size:,}."
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, _MOST_HEADER):
                raise ValueError(f"a header of {length:,} bytes")
            header = untrusted.parsed(file.read(length).decode())
        header.pop("__metadata__", None)
        found = {name: tuple(tensor["shape"]) for name, tensor in header.items()}
        ends = [tuple(tensor["data_offsets"]) for tensor in header.values()]
        if max((end for _, end in ends), default=0) + 8 + length != size:
            raise ValueError("it is cut off, or more follows its tensors")
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        yield f"{path.name}: no safetensors file ({error})."
        return
    for what, names in (("lacks", counted.tensors.keys() - found.keys()), ("has also", found.keys() - counted.tensors)):
        if names:
            yield f"{path.name}: it {what} {len(names):,} tensors, such as {min(names)[:120]!r}."
    for name in sorted(found.keys() & counted.tensors.keys()):
        if shapes and found[name] != counted.tensors[name]:
            yield f"{path.name}, {name}: shape {found[name]}; its configuration has {counted.tensors[name]}."
