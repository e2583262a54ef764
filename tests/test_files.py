"""What is read from a user's text files, and who writes into a folder."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sure.errors import SureError
from sure.files import is_number, locked, writing
from tests.factories import processes
from tests.factories.disks import small_disk


@pytest.mark.parametrize("text", ["0", "-1", "0.5", "1e308", "1" + "0" * 300])
def test_a_number_that_a_float_can_hold_is_one(text):
    assert is_number(json.loads(text))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1" + "0" * 400, "true", "null", '"1"', "[1]"])
def test_anything_else_is_none(text):
    assert not is_number(json.loads(text))


def hold(folder: Path) -> None:
    with locked(folder, folder, wait=False):
        (folder / "held").touch()
        time.sleep(60)


def test_a_folder_is_for_one_process_until_that_ends_however_it_ends(tmp_path):
    holder = processes.start(hold, tmp_path / "new")
    while not (tmp_path / "new" / "held").exists():
        assert holder.is_alive()
        time.sleep(0.01)
    with pytest.raises(SureError, match=r"--output_dir new is in use by another run"):
        with locked(tmp_path / "new", "--output_dir new", wait=False):
            pass
    # Who waits for it sleeps, and is let go by Ctrl-C, which a shell's background jobs ignore.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    spent = time.process_time()
    with pytest.raises(KeyboardInterrupt):
        with locked(tmp_path / "new", "--output_dir new", wait=True):
            pass
    signal.signal(signal.SIGINT, before)
    assert time.process_time() - spent < 0.1
    threading.Timer(0.1, holder.kill).start()
    with locked(tmp_path / "new", "--output_dir new", wait=True):
        pass
    holder.join()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", Path("/proc/none")):
        with pytest.raises(SureError, match=f"{folder}: cannot be written"):
            with locked(folder, folder, wait=False):
                pass


@pytest.mark.parametrize("write", [torch.save, save_file], ids=["torch", "safetensors"])
def test_a_full_disk_is_said_in_a_line_whoever_writes(tmp_path, write):
    with small_disk(30_000), pytest.raises(SureError, match=r"^--output_dir out: cannot be written \(.+\)\.$"):
        # Who is within another that writes is the one that is named.
        with writing("--board board"), writing("--output_dir out"):
            write({"weight": torch.zeros(100_000)}, tmp_path / "weights")


def test_no_other_error_becomes_one_of_writing():
    with pytest.raises(RuntimeError, match="a fault"):
        with writing("out"):
            raise RuntimeError("a fault")
