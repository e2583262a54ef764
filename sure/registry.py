"""Tasks, methods, backbones and metrics, found by the names of their files; listing them imports none of them."""

import ast
import dataclasses
import difflib
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from sure.errors import SureError

Kind = Literal["task", "method", "backbone", "metric"]

# Where each kind lives, and the base class (module, name) of what a file of that kind defines.
_FOLDERS = {
    "task": ("sure.tasks", ("sure.task", "Task")),
    "method": ("sure.methods", ("peft", "PeftConfig")),
    "backbone": ("sure.backbones", ("sure.backbone", "Backbone")),
    "metric": ("sure.metrics", ("sure.metric", "Metric")),
}


def names(kind: Kind) -> list[str]:
    """Sorted names of everything of one kind; a file whose name starts with an underscore is not counted."""
    return sorted(path.stem for path in _folder(kind).glob("*.py") if not path.stem.startswith("_"))


def summary(kind: Kind, name: str) -> str:
    """First line of the docstring of the file, read without importing it."""
    docstring = ast.get_docstring(ast.parse(_path(kind, name).read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def get(kind: Kind, name: str) -> type:
    """The class that the file `name` defines; imports that one file.

    Raises `SureError` for an unknown name, with the nearest and all the right ones.
    """
    _path(kind, name)
    package, (base_module, base_name) = _FOLDERS[kind]
    base = getattr(importlib.import_module(base_module), base_name)
    module = importlib.import_module(f"{package}.{name}")
    return _only_subclass(module, base)


def import_all(kind: Kind) -> None:
    """Import every file of a kind: PEFT must know our methods before it can read an adapter of theirs."""
    for name in names(kind):
        importlib.import_module(f"{_FOLDERS[kind][0]}.{name}")


def unknown(what: str, name: str, known: list[str]) -> SureError:
    """The error for a name that is not known: names the nearest known one, then all of them."""
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return SureError(f"Unknown {what} {name!r}.{hint} Choose one of: {', '.join(known)}.")


def dataclass_of(options_class: type, options: dict[str, Any], flag: str, owner: str) -> Any:
    """A dataclass of options, as they were given or by default. Raises `SureError` for one that is none or wrong."""
    kinds = {field.name: field.type for field in dataclasses.fields(options_class)}
    for option in options:
        if option not in kinds:
            if not kinds:
                raise SureError(f"{flag} {option}: {owner} has no options.")
            raise unknown(f"option of {owner}:", option, list(kinds))
    return options_class(**{name: checked(f"{flag} {name}", value, kinds[name]) for name, value in options.items()})


def checked(what: str, value: Any, kind: Any) -> Any:
    """An option's value as the type of its field has it. Raises `SureError` where it is none; `what` names it."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    config = ConfigDict(arbitrary_types_allowed=True, coerce_numbers_to_str=True)
    try:
        return TypeAdapter(kind, config=config).validate_python(value)
    except ValidationError as error:
        raise SureError(f"{what}={value}: {error.errors()[0]['msg']}.") from None
    except Exception:
        # Some types of PEFT's configurations cannot be checked.
        return value


def _path(kind: Kind, name: str) -> Path:
    known = names(kind)
    if name not in known:
        raise unknown(kind, name, known)
    return _folder(kind) / f"{name}.py"


def _folder(kind: Kind) -> Path:
    package = _FOLDERS[kind][0]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        # A checkout's own sure/ hides the installed package when Python starts in its root.
        raise SureError(f"{package} is not installed: run `pip install -e .`, or start outside the checkout.")
    return Path(next(iter(spec.submodule_search_locations)))


def _only_subclass(module: ModuleType, base: type) -> type:
    found = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__file__} must define one public subclass of {base.__name__}, found {len(found)}.")
    return found[0]
