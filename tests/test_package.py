"""What is installed is what the checkout has: every package, every file that the code reads, and its metadata."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path
from shutil import copytree, ignore_patterns
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

import sure
from sure import registry
from tests.factories import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def source_files():
    """Every file under sure/ and tasks/, by the path it has in a wheel."""
    found = {}
    for folder, installed in (("sure", "sure"), ("tasks", "sure/tasks")):
        for path in (REPOSITORY / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found[f"{installed}/{path.relative_to(REPOSITORY / folder).as_posix()}"] = path
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing of an earlier build gets in and nothing is left in the checkout."""
    pytest.importorskip("build", reason='building needs build: pip install "sure-bench[dev]"')
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("sure", "tasks"):
        copytree(REPOSITORY / name, folder / name, ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (folder / name).write_bytes((REPOSITORY / name).read_bytes())
    # Older ones do not read our pyproject.toml; then the right one is fetched.
    isolation = ["--no-isolation"] if int(version("setuptools").partition(".")[0]) >= 77 else []
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", *isolation, str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"PIP_RETRIES": "0"},
    )
    if "No matching distribution found for setuptools" in done.stdout + done.stderr:
        pytest.skip("without a network building needs setuptools >= 77: pip install --upgrade setuptools")
    assert done.returncode == 0, done.stderr
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def metadata(wheel):
    with ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(f"sure_bench-{sure.__version__}.dist-info/METADATA").decode())


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with nothing but the wheel's content."""
    folder = tmp_path_factory.mktemp("installed")
    with ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_every_folder_with_code_is_a_package_that_is_installed():
    code = {str(Path(name).parent).replace("/", ".") for name in source_files() if name.endswith(".py")}
    initialised = {str(Path(name).parent).replace("/", ".") for name in source_files() if name.endswith("/__init__.py")}
    assert code == initialised == set(PROJECT["tool"]["setuptools"]["packages"])


def test_every_file_is_in_the_wheel_and_no_other(wheel):
    with ZipFile(wheel) as archive:
        built = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert {f"sure/leaderboard/page.{kind}" for kind in ("css", "html", "js")} <= set(built)
    assert built == {name: path.read_bytes() for name, path in source_files().items()}


@pytest.mark.slow
def test_what_is_installed_works_far_from_the_checkout(installed, tmp_path):
    script = (
        "import json, sys\n"
        "import sure, sure.tasks.emodb_emotion\n"
        "from pathlib import Path\n"
        "from sure import cli, leaderboard, registry\n"
        "leaderboard.build(Path('board'))\n"
        "cli.main(['tasks', 'emodb_emotion'])\n"
        "kinds = ('task', 'method', 'backbone', 'metric')\n"
        "listed = {kind: registry.names(kind) for kind in kinds}\n"
        "files = [module.__file__ for name, module in sys.modules.items() if name.split('.')[0] == 'sure']\n"
        "print(json.dumps([sure.__version__, files, listed, 'tasks' in sys.modules]))\n"
    )
    # Not even the finder of an editable installation may know the checkout.
    hidden = "import sys\nsys.meta_path[:] = [one for one in sys.meta_path if 'editable' not in repr(one).lower()]\n"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", hidden + script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    described, _, last = done.stdout.strip().rpartition("\n")
    assert described.startswith("Emotion classification on EmoDB")
    found, files, listed, top_level_tasks = json.loads(last)
    assert found == sure.__version__
    assert all(Path(file).is_relative_to(installed) for file in files)
    assert listed == {kind: registry.names(kind) for kind in ("task", "method", "backbone", "metric")}
    assert not top_level_tasks
    assert (tmp_path / "board" / "index.html").exists()


def test_the_version_is_the_same_everywhere(wheel, metadata):
    assert wheel.name == f"sure_bench-{sure.__version__}-py3-none-any.whl"
    assert metadata["Version"] == sure.__version__


def test_the_wheel_has_licence_readme_requirements_and_command(wheel, metadata):
    assert metadata["Name"] == "sure-bench"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata.get_payload().strip() == (REPOSITORY / "README.md").read_text(encoding="utf-8").strip()
    required = [one.partition(";")[0] for one in metadata.get_all("Requires-Dist")]
    assert len(required) >= len(PROJECT["project"]["dependencies"])
    assert {"dev", "synth"} <= set(metadata.get_all("Provides-Extra"))
    information = f"sure_bench-{sure.__version__}.dist-info"
    with ZipFile(wheel) as archive:
        assert archive.read(f"{information}/licenses/LICENSE") == (REPOSITORY / "LICENSE").read_bytes()
        assert "sure = sure.cli:main" in archive.read(f"{information}/entry_points.txt").decode()


def imports(path):
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


def test_tasks_are_imported_as_sure_tasks_for_there_is_no_other_name_once_installed():
    files = [*source_files().values(), *(REPOSITORY / "tests").rglob("*.py")]
    named = {
        path.name: [name for name in imports(path) if name.split(".")[0] == "tasks"]
        for path in files
        if path.suffix == ".py"
    }
    assert {name: found for name, found in named.items() if found} == {}
    assert "sure.corpus.folders" in imports(REPOSITORY / "tasks" / "esd_emotion.py")


def test_the_lock_file_pins_every_requirement_within_its_range():
    """By `make lock` after every change of a range; with hashes, without which pip refuses the whole file."""
    text = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    pins = {}
    # One block a pin; another version of the same package is for another Python.
    for block in re.findall(r"^\S.*(?:\n .*)*", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE), re.MULTILINE):
        pin, *hashes = (line.removesuffix("\\").strip() for line in block.split("\n"))
        pin = Requirement(pin)
        ((operator, locked),) = ((one.operator, one.version) for one in pin.specifier)
        assert operator == "==", pin
        assert hashes, pin
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), pin
        pins.setdefault(pin.name, []).append(locked)
    ranges = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    extras = PROJECT["project"]["optional-dependencies"]
    (ours,) = (one for one in map(Requirement, extras["dev"]) if one.name == PROJECT["project"]["name"])
    # Those that the tests need not have are pinned by nobody.
    ranges += [one for extra in ("dev", *ours.extras) for one in extras[extra]]
    required = [one for one in map(Requirement, ranges) if one.name != ours.name]
    wrong = {str(one): pins.get(one.name) for one in required if not _pinned_within(one, pins)}
    assert wrong == {}, "make lock"


def _pinned_within(requirement, pins):
    return requirement.name in pins and all(requirement.specifier.contains(one) for one in pins[requirement.name])
