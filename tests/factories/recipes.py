"""Recipes told what to do, and what they would do then done without importing everything anew for each command."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from sure import cli
from tests.factories import REPOSITORY


def dry_run(folder: Path, name: str, *words: str, **settings: str) -> subprocess.CompletedProcess:
    """Run a recipe in a folder, whose `sure` and `torchrun` say what they were told."""
    for command in ("sure", "torchrun"):
        (folder / command).write_text(f"#!/usr/bin/env bash\nprintf '%q ' {command} \"$@\"\necho\n")
        (folder / command).chmod(0o755)
    environment = os.environ | settings | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    recipe = ["bash", str(REPOSITORY / "recipes" / name), *words]
    return subprocess.run(recipe, env=environment, cwd=folder, capture_output=True, text=True)


def carry_out(said: subprocess.CompletedProcess) -> None:
    """The commands that a recipe gave: `sure` in this process, `torchrun` as it is."""
    assert said.returncode == 0, said.stderr
    for line in said.stdout.splitlines():
        match shlex.split(line):
            case ["sure", *words]:
                cli.main(words)
            case ["torchrun", *words]:
                launched = [sys.executable, "-m", "torch.distributed.run", *words]
                done = subprocess.run(launched, capture_output=True, text=True)
                assert done.returncode == 0, done.stderr
            case ["==", *_]:
                print(line)
            case other:
                raise AssertionError(other)
