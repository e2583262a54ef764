"""The plug-ins that took part in a run, as its record names them, and whether they are there again."""

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path

from sure import registry
from sure.errors import SureError
from sure.plugins import VARIABLE
from sure.record import PluginFile
from sure.registry import Kind

_log = logging.getLogger(__name__)


def took_part(*members: tuple[Kind, str]) -> list[PluginFile]:
    """Which members of a run, each a kind and a name, are plug-ins."""
    return [
        PluginFile(kind=kind, name=name, sha256=_sha256(kind, name))
        for kind, name in members
        if registry.origin(kind, name)
    ]


def check(where: str | Path, recorded: Iterable[PluginFile], kinds: tuple[Kind, ...]) -> None:
    """Raises `SureError` where a plug-in of these kinds is not there; warns where its file has changed.

    `where` says in the message who needs it.
    """
    needed = [plugin for plugin in recorded if plugin.kind in kinds]
    missing = [plugin for plugin in needed if plugin.name not in registry.names(plugin.kind)]
    if missing:
        files = ", ".join(repr(f"{plugin.kind}s/{plugin.name}.py") for plugin in missing)
        raise SureError(
            f"{where}: made with plug-ins that are not there: {files}. Set {VARIABLE} to the folder that holds them, "
            "or install their package."
        )
    for plugin in needed:
        if _sha256(plugin.kind, plugin.name) != plugin.sha256:
            path = registry.file(plugin.kind, plugin.name)
            _log.warning("%s: %s has changed since the run: its SHA-256 is not the recorded one.", where, path)


def _sha256(kind: Kind, name: str) -> str:
    return hashlib.sha256(registry.file(kind, name).read_bytes()).hexdigest()
