"""Tasks, methods, backbones and metrics, found by the names of their files; listing them imports none of them.

Ours lie in this package, those of plug-ins in their folders (`sure.plugins`).
"""

import ast
import dataclasses
import difflib
import functools
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin

from sure import plugins
from sure.errors import SureError
from sure.files import read_text

Kind = Literal["task", "method", "backbone", "metric"]

# Where each kind lives, and the base class (module, name) of what a file of that kind defines.
_FOLDERS = {
    "task": ("sure.tasks", ("sure.task", "Task")),
    "method": ("sure.methods", ("peft", "PeftConfig")),
    "backbone": ("sure.backbones", ("sure.backbone", "Backbone")),
    "metric": ("sure.metrics", ("sure.metric", "Metric")),
}

# What PEFT has that adapts no encoder, or not by the loss alone. All its other methods need no file here.
NOT_FROM_PEFT = {
    "poly": "it is told the task of every utterance",
    "mixed": "it is several methods at once",
    "shadow": "it builds a second model",
    "trainable_tokens": "an encoder has no tokens",
    "xlora": "it mixes adapters that are trained already",
} | dict.fromkeys(
    ("adaption_prompt", "cartridge", "cpt", "multitask_prompt_tuning", "p_tuning", "prefix_tuning", "prompt_tuning"),
    "it prompts language models",
)


def names(kind: Kind) -> list[str]:
    """Sorted names of everything of one kind; a file whose name starts with an underscore is not counted.

    Raises `SureError` where a plug-in has a name that is taken.
    """
    return sorted(name for name in _files(kind) if not name.startswith("_"))


@functools.cache
def from_peft() -> tuple[str, ...]:
    """Methods that PEFT has and that need no file here, found in its folder: importing it takes seconds."""
    peft = importlib.util.find_spec("peft")
    folders = (path.parent.name for path in Path(peft.submodule_search_locations[0], "tuners").glob("*/config.py"))
    return tuple(sorted(set(folders) - set(NOT_FROM_PEFT) - {path.stem for path in _folder("method").glob("*.py")}))


def file(kind: Kind, name: str) -> Path:
    """The file that defines `name`. Raises `SureError` for an unknown name, with the nearest and all the right ones."""
    files = _files(kind)
    if name not in files or name.startswith("_"):
        raise unknown(kind, name, names(kind))
    return files[name]


def origin(kind: Kind, name: str) -> str | None:
    """Where a plug-in is from, as a listing says it; None for what is ours, PEFT's or unknown."""
    path = _files(kind).get(name)
    found = plugins.folders(f"{kind}s")
    if path is None or str(path.parent) not in found:
        return None
    package = found[str(path.parent)]
    return f"from package {package}" if package else f"from {path}"


def summary(kind: Kind, name: str) -> str:
    """First line of the docstring of the file, read without importing it."""
    path = file(kind, name)
    try:
        docstring = ast.get_docstring(ast.parse(read_text(path))) or ""
    except SyntaxError as error:
        raise SureError(f"{path}, line {error.lineno}: not Python ({error.msg}).") from None
    return docstring.partition("\n")[0]


def get(kind: Kind, name: str) -> type:
    """The class that the file `name` defines; imports that one file.

    Raises `SureError` for an unknown name, with the nearest and all the right ones, and for a plug-in that cannot be
    imported, does not define one class, or leaves out what its kind must have.
    """
    path = file(kind, name)
    base_module, base_name = _FOLDERS[kind][1]
    base = getattr(importlib.import_module(base_module), base_name)
    found = _public_subclasses(_imported(kind, name), base)
    if len(found) != 1:
        wrong = f"{path} must define one public subclass of {base_module}.{base_name}, found {len(found)}."
        raise SureError(wrong) if origin(kind, name) else TypeError(wrong)
    if missing := getattr(found[0], "__abstractmethods__", ()):
        raise SureError(f"{path}: {found[0].__name__} does not define {', '.join(sorted(missing))}.")
    return found[0]


def import_all(kind: Kind) -> None:
    """Import every file of a kind: PEFT must know our methods before it can read an adapter of theirs."""
    for name in names(kind):
        _imported(kind, name)


def unknown(what: str, name: str, known: list[str]) -> SureError:
    """The error for a name that is not known: names the nearest known one, then all of them."""
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return SureError(f"Unknown {what} {name!r}.{hint} Choose one of: {', '.join(known)}.")


def options_of(options_class: type) -> list[dataclasses.Field]:
    """The fields of a dataclass that are a user's to choose, without those of `sure.task.learned`."""
    return [field for field in dataclasses.fields(options_class) if field.init and not field.metadata.get("learned")]


def chosen_of(options: Any) -> dict[str, Any]:
    """What a dataclass of options has otherwise than by default, of what is a user's to choose."""
    chosen = {}
    for field in options_of(type(options)):
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if (value := getattr(options, field.name)) != default:
            chosen[field.name] = value
    return chosen


def dataclass_of(options_class: type, options: dict[str, Any], flag: str, owner: str) -> Any:
    """A dataclass of options, as they were given or by default. Raises `SureError` for one that is none or wrong."""
    kinds = {field.name: field.type for field in dataclasses.fields(options_class)}
    for option in options:
        if option not in kinds:
            if not kinds:
                raise SureError(f"{flag} {option}: {owner} has no options.")
            raise unknown(f"option of {owner}:", option, list(kinds))
    given = {}
    for option, value in options.items():
        kind = kinds[option]
        # One value stands for a list of it.
        single = get_origin(kind) is list and not isinstance(value, list)
        given[option] = checked(f"{flag} {option}", value, get_args(kind)[0] if single else kind)
    return options_class(**given)


def checked(what: str, value: Any, kind: Any) -> Any:
    """An option's value as the type of its field has it. Raises `SureError` where it is none; `what` names it."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    config = ConfigDict(arbitrary_types_allowed=True, coerce_numbers_to_str=True, allow_inf_nan=False)
    try:
        return TypeAdapter(kind, config=config).validate_python(value)
    except ValidationError as error:
        raise SureError(f"{what}={value}: {error.errors()[0]['msg']}.") from None
    except Exception:
        # Some types of PEFT's configurations cannot be checked.
        return value


def _files(kind: Kind) -> dict[str, Path]:
    """By name every file of one kind, those included that others import and whose names start with an underscore.

    Raises `SureError` for a plug-in's file whose name is taken: only one of the two could be imported. Case does not
    tell names apart, neither for PEFT nor on every disk.
    """
    folder = _folder(kind)
    files = {path.stem: path for path in folder.iterdir() if path.suffix == ".py"}
    taken = {name.lower(): str(path) for name, path in files.items()}
    if kind == "method":
        taken |= {name: f"PEFT's own {name}" for name in from_peft()}
    for folder in plugins.folders(f"{kind}s"):
        for path in sorted(Path(folder).glob("*.py")):
            if path.stem == "__init__":
                continue
            if other := taken.get(path.stem.lower()):
                raise SureError(f"{path}: the name of this plug-in is taken by {other}; give the file another.")
            files[path.stem] = path
            taken[path.stem.lower()] = str(path)
    return files


def _imported(kind: Kind, name: str) -> ModuleType:
    try:
        return importlib.import_module(f"{_FOLDERS[kind][0]}.{name}")
    except Exception as error:
        if origin(kind, name) is None:
            raise
        raise SureError(
            f"{file(kind, name)}: this plug-in cannot be imported ({type(error).__name__}: {error})."
        ) from error


def _folder(kind: Kind) -> Path:
    package = _FOLDERS[kind][0]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        # A checkout's own sure/ hides the installed package when Python starts in its root.
        raise SureError(f"{package} is not installed: run `pip install -e .`, or start outside the checkout.")
    return Path(next(iter(spec.submodule_search_locations)))


def _public_subclasses(module: ModuleType, base: type) -> list[type]:
    return [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    ]
