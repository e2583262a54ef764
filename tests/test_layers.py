"""Who imports whom: downward only, in no circle (`[tool.importlinter]` in pyproject.toml), and what names promise."""

import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

from sure import registry
from tests.factories import REPOSITORY


@pytest.fixture(scope="module")
def graph():
    """By file of the library, as a module, the files that it imports."""
    found = grimp.build_graph("sure", cache_dir=None)
    return {name: found.find_modules_directly_imported_by(name) for name in sorted(found.modules)}


def test_every_import_points_down():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-logo", "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_imports_itself_by_way_of_others(graph):
    """A package's own file and those beside it too, which the linter lets import one another."""
    TopologicalSorter(graph).prepare()


def test_no_file_that_is_private_is_imported_from_another_package(graph):
    crossing = [
        (importer, imported)
        for importer, names in graph.items()
        for imported in names
        if imported.rpartition(".")[2].startswith("_")
        and not f"{importer}.".startswith(imported.rpartition(".")[0] + ".")
    ]
    assert crossing == []


@pytest.mark.parametrize("kind", ["task", "method", "backbone", "metric"])
def test_a_plural_folder_holds_one_file_for_each_thing_and_nothing_else(kind):
    names = registry.names(kind)
    folder = registry.file(kind, names[0]).parent
    files = {path.name for path in folder.iterdir()} - {"__init__.py", "__pycache__"}
    assert files == {f"{name}.py" for name in names}
