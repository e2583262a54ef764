"""Cells in processes of this machine: some for each device, long-lived, each running one cell after another."""

import gc
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tqdm import tqdm

from sure.errors import SureError
from sure.sweep import running
from sure.sweep.plan import Cell, Step, Study
from sure.sweep.schedule import StateOf, cells, next_steps

# Seconds after which other machines' work is looked at again.
_POLL = 2.0
# Processes that die one after another before they begin with a cell.
_STILLBORN = 3
# Seconds for a process to leave when there is nothing left.
_PATIENCE = 10
# GPUs hold more small cells than they can compute at once.
MOST_CELLS = 8
# Of CUDA, for each process.
_CONTEXT_BYTES = 600_000_000
_OF_FREE = 0.9

# Forked from one that has imported what takes seconds, but nothing that may have looked for a GPU.
_SPAWN, _FORK = multiprocessing.get_context("spawn"), multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(["peft", "datasets", "librosa", "scipy.signal", "sklearn", "transformers.trainer"])


@dataclass(frozen=True)
class Place:
    """Where one process runs: a GPU by its number, or the CPU, with so many threads."""

    gpu: int | None = None
    threads: int | None = None


def places(gpus: int, cells_per_device: int) -> list[Place]:
    """So many on each of the GPUs, or on the CPU where there is none."""
    if gpus:
        return [Place(gpu) for _ in range(cells_per_device) for gpu in range(gpus)]
    threads = None
    if cells_per_device > 1 and "OMP_NUM_THREADS" not in os.environ:
        threads = max(1, (os.cpu_count() or 1) // cells_per_device)
    return [Place(threads=threads)] * cells_per_device


def cells_within(free: int, estimated: int | None, measured: float = 1.0) -> int:
    """Cells that a GPU of so many free bytes holds at once, of which the largest is estimated to take so many.

    `measured`: of cells that ended, by how much they took more than was estimated. One where nothing is known.
    """
    if estimated is None:
        return 1
    return max(1, min(MOST_CELLS, int(_OF_FREE * free / (estimated * max(1.0, measured) + _CONTEXT_BYTES))))


def run(
    study: Study,
    output_dir: Path,
    places: list[Place],
    attempts: int,
    state_of: StateOf,
    ended: Callable[[Step, str], None] = lambda *_: None,
) -> None:
    """Run a study to its end, beside whoever else runs it; `ended` hears of every step and how it ended.

    Raises `SureError` where processes cannot be started.
    """
    workers, elsewhere, stillborn = [_Worker(place) for place in places], {}, 0
    try:
        while True:
            steps = next_steps(study, output_dir, state_of, attempts)
            busy = {worker.step.cell.name for worker in workers if worker.step}
            if not steps and not busy:
                return
            free = startable(steps, busy, elsewhere)
            for worker in workers:
                if free and worker.step is None:
                    worker.begin(step := worker.preferred(free), attempts)
                    free.remove(step)
            for worker in _ready(workers):
                step, outcome = worker.step, worker.outcome()
                if outcome is None:
                    begun = running.died(step.cell, worker.process.pid, worker.how_it_died(), attempts)
                    outcome, stillborn = "killed", 0 if begun else stillborn + 1
                    if stillborn == _STILLBORN:
                        raise SureError(f"{stillborn} processes have died before they began ({worker.how_it_died()}).")
                else:
                    stillborn = 0
                if outcome == "in use":
                    elsewhere[step.cell.name] = time.monotonic() + _POLL
                ended(step, outcome)
                if outcome != "finished":
                    discard_lost(study, output_dir, state_of, attempts)
        for worker in workers:
            worker.end()
    finally:
        for worker in workers:
            worker.kill()


def startable(steps: list[Step], busy: set[str], elsewhere: dict[str, float]) -> list[Step]:
    """Those of cells that nobody is at: none of ours, by name, and nobody `elsewhere`, until the time noted there."""
    now = time.monotonic()
    return [step for step in steps if step.cell.name not in busy and elsewhere.get(step.cell.name, 0) < now]


def discard_lost(study: Study, output_dir: Path, state_of: StateOf, attempts: int) -> None:
    """Delete the checkpoints of every cell that has lost its comparison."""
    for question in study.questions:
        for cell, lost in cells(question, output_dir, state_of, attempts):
            if lost and any(cell.folder.glob("checkpoint-*")):
                running.discard(cell)


def _ready(workers: list["_Worker"]) -> list["_Worker"]:
    """Those that have ended a step, or died."""
    at_work = [worker for worker in workers if worker.step]
    if not at_work:
        time.sleep(_POLL)
        return []
    signs = [sign for worker in at_work for sign in (worker.connection, worker.process.sentinel)]
    seen = wait(signs, timeout=_POLL)
    return [worker for worker in at_work if worker.connection in seen or worker.process.sentinel in seen]


class _Worker:
    """A process that runs one cell after another; another takes its place when it has died."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.process: multiprocessing.process.BaseProcess | None = None
        self.connection: Connection | None = None
        self.step: Step | None = None
        self._home: tuple = ()

    def begin(self, step: Step, attempts: int) -> None:
        if self.process is None or not self.process.is_alive():
            context = _FORK if self.place.gpu is None else _SPAWN
            self.connection, other = context.Pipe()
            self.process = context.Process(target=_serve, args=(other, self.place))
            self.process.start()
            other.close()
        self.step, self._home = step, _home(step.cell)
        try:
            self.connection.send((step, attempts))
        except OSError:
            # It has died just now, which is seen where ended steps are.
            pass

    def preferred(self, steps: list[Step]) -> Step:
        """A cell of the corpus and backbone that the process has read, if there is one."""
        return next((step for step in steps if _home(step.cell) == self._home), steps[0])

    def outcome(self) -> str | None:
        """How its step ended; None where the process has died over it."""
        self.step = None
        try:
            return self.connection.recv() if self.connection.poll() else None
        except (EOFError, OSError):
            return None

    def how_it_died(self) -> str:
        self.process.join()
        code = self.process.exitcode
        return f"its process ended by {signal.Signals(-code).name}" if code < 0 else f"its process exited with {code}"

    def end(self) -> None:
        if self.process is not None:
            self.connection.close()
            self.process.join(_PATIENCE)

    def kill(self) -> None:
        if self.process is not None and self.process.is_alive():
            self.process.kill()
            self.process.join()


def _home(cell: Cell) -> tuple:
    names = ("task", "task_options", "data_dir", "max_seconds", "backbone", "backbone_options")
    return tuple(str(cell.settings.get(name)) for name in names)


def _serve(connection: Connection, place: Place) -> None:
    """A process's life: cells, until there are no more or the sweep is gone."""
    # The sweep hears of it, and kills.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_the_sweep, daemon=True).start()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    # Bars are drawn by one process each; the semaphore that tqdm would have for several outlives one that is killed.
    tqdm.set_lock(threading.RLock())
    if place.gpu is not None:
        # Before CUDA looks for its devices.
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[place.gpu] if visible else str(place.gpu)
    if place.threads:
        import torch

        torch.set_num_threads(place.threads)
    shared = running.Shared()
    # What is imported stays; every training looks through the rest.
    gc.freeze()
    while True:
        try:
            step, attempts = connection.recv()
        except EOFError:
            return
        connection.send(running.run(step, attempts, shared))


def _die_with_the_sweep() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
