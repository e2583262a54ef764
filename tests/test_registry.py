"""Names come from files, without importing them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sure
from sure import registry
from sure.errors import SureError


@pytest.mark.parametrize("kind", ["task", "method", "backbone", "metric"])
def test_every_file_has_a_summary_and_defines_one_class_of_its_kind(kind):
    names = registry.names(kind)
    assert len(names) >= 4
    for name in names:
        assert registry.summary(kind, name).endswith((".", ")")), name
        assert isinstance(registry.get(kind, name), type)


def test_an_unknown_name_gets_the_nearest_and_all_right_ones():
    with pytest.raises(SureError, match=r"Unknown task 'emodb_emotions'. Did you mean 'emodb_emotion'\? .*esd_emotion"):
        registry.get("task", "emodb_emotions")


def test_help_and_listings_load_neither_torch_nor_transformers():
    script = (
        "import sys; from sure import cli\n"
        "for argv in (['--help'], ['tasks'], ['methods'], ['backbones'], ['leaderboard', '--help']):\n"
        "    try: cli.main(argv)\n"
        "    except SystemExit as stop: assert not stop.code, argv\n"
        "assert not {'torch', 'transformers', 'datasets', 'peft'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_predicting_and_counting_import_nothing_of_corpora_and_training():
    """What takes seconds to import and only runs or scores need; what PEFT and transformers import is theirs."""
    root, seen = Path(sure.__file__).parent, set()
    queue = ["sure.predict", "sure.budget"]
    for kind in ("task", "method", "backbone"):
        queue += [f"sure.{kind}s.{name}" for name in registry.names(kind)]
    while queue:
        name = queue.pop()
        if name.startswith("sure.tasks."):
            path = registry.file("task", name.split(".")[2])
        else:
            path = root.joinpath(*name.split(".")[1:])
            path = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
        if name in seen or not path.exists() or not name.startswith("sure."):
            continue
        seen.add(name)
        # Of the file's first level alone: what functions and TYPE_CHECKING import is not imported with it.
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                queue += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                queue += [alias.name for alias in node.names]
        heavy = {other.split(".")[0] for other in queue} & {"datasets", "pandas", "evaluate", "sklearn", "scipy"}
        assert not heavy, f"{path} imports {heavy}"
    assert {"sure.backbone.loading", "sure.method.applying", "sure.task.trained"} <= seen
