"""Runs in processes of their own, forked from one that has imported what takes seconds to import, but nothing of ours.

So a run finds plug-ins as if it had been started by itself.
"""

import os
import signal
import socket
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["peft", "datasets", "librosa", "scipy.signal", "sklearn", "transformers.trainer"])


def start(target: Callable, *arguments, output: Path | None = None, **environment: str) -> BaseProcess:
    """A process that calls `target`, which has a name in its module, with this environment besides the test's.

    What it prints goes to the file `output`.
    """
    process = _CONTEXT.Process(target=_run, args=(output, dict(os.environ) | environment, target, *arguments))
    process.start()
    return process


def start_together(count: int, target: Callable, *arguments) -> list[BaseProcess]:
    """Processes that find one another as those of torchrun do."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    return [start(target, *arguments, RANK=rank, LOCAL_RANK=rank, **shared) for rank in map(str, range(count))]


def kill_this() -> None:
    """End the process that calls it as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def _run(output: Path | None, environment: dict[str, str], target: Callable, *arguments) -> None:
    if output is not None:
        with output.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    target(*arguments)
