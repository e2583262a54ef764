"""Plug-ins: folders of tasks, methods, backbones and metrics outside SURE, found without importing any of them.

`$SURE_PLUGINS` names folders, and an entry point of the group `sure.plugins` a package; in each lie any of `tasks/`,
`methods/`, `backbones/` and `metrics/`, with files just as ours are.
"""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from sure.errors import SureError

VARIABLE = "SURE_PLUGINS"
ENTRY_POINTS = "sure.plugins"
SUBFOLDERS = ("tasks", "methods", "backbones", "metrics")


@cache
def folders(subfolder: str) -> dict[str, str | None]:
    """Every plug-in folder of one kind, such as `tasks`, with the package that it came with, if it did.

    Read once in a process: these folders are part of the path of `sure.tasks` and its like, so that what lies there is
    imported as ours is, in the processes that a run starts too. Raises `SureError` for a folder that is not there or
    has nothing to offer.
    """
    return {str(folder / subfolder): package for folder, package in _roots().items() if (folder / subfolder).is_dir()}


@cache
def _roots() -> dict[Path, str | None]:
    roots: dict[Path, str | None] = {}
    # Once each, for both ways may lead to the same folder.
    for folder, package in (*_named(), *_installed()):
        roots.setdefault(folder.resolve(), package)
    return roots


def _named() -> Iterator[tuple[Path, None]]:
    for name in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        folder = Path(name)
        if not folder.is_dir():
            raise SureError(f"{VARIABLE}: {name}: no such folder.")
        if not any((folder / subfolder).is_dir() for subfolder in SUBFOLDERS):
            raise SureError(f"{VARIABLE}: {name} has none of the folders {', '.join(SUBFOLDERS)}.")
        yield folder, None


def _installed() -> Iterator[tuple[Path, str]]:
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINTS):
        package = entry.dist.name if entry.dist else entry.name
        found = [folder for folder in _places(entry.module) if any((folder / name).is_dir() for name in SUBFOLDERS)]
        if not found:
            raise SureError(
                f"Package {package}: its entry point {entry.name} of {ENTRY_POINTS} names {entry.value}, which has "
                f"none of the folders {', '.join(SUBFOLDERS)}."
            )
        yield found[0], package


def _places(module: str) -> list[Path]:
    """Where a package may lie. Found by its first name, because looking for a deeper one would import the first."""
    from importlib.util import find_spec

    first, *others = module.split(".")
    spec = find_spec(first)
    return [Path(place, *others) for place in (spec and spec.submodule_search_locations) or ()]
