"""Names come from files, without importing them."""

import subprocess
import sys

import pytest

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
