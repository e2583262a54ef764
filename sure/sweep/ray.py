"""Cells on the nodes of a Ray cluster (the extra `ray`), which need have no folder in common.

A process on a node runs one cell after another in a folder on the node's own disk, and keeps corpus and backbone
between them. The driver holds the locks of the cells in the sweep's folder, sends what is in a cell's folder before a
step, and fetches what is new while it runs: complete checkpoints, the record, the log. Of a node that is lost a cell
loses what it did since its last checkpoint; another node goes on from there.
"""

import gc
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sure.errors import SureError, first_line
from sure.files import InUse, locked
from sure.record import RESULT
from sure.sweep import running
from sure.sweep.carrying import CHECKPOINT, Stamp, stamps
from sure.sweep.local import discard_lost, startable
from sure.sweep.plan import Cell, Step, Study
from sure.sweep.schedule import StateOf, next_steps
from sure.sweep.state import CELL, LOG

# Seconds between two looks at what nodes have written.
_POLL = 2.0
# Seconds to reach a cluster.
_PATIENCE = 10.0
# Seconds for a node to show that it is not lost.
_VERDICT = 30.0
# Processes that are asked of the cluster at once; those that wait for a node tell an autoscaler what to start.
_MOST = 256
# Processes that die one after another before they have begun.
_STILLBORN = 3
# Bytes of a file that are sent at once.
_CHUNK = 32_000_000


@dataclass(frozen=True)
class Demand:
    """What one cell takes of a node."""

    gpus: float
    cpus: int
    # None where it is not known.
    memory: int | None = None


class Cluster:
    """A Ray cluster that this process is connected to, until `close`."""

    def __init__(self, address: str) -> None:
        """`address`: `auto`, `HOST:PORT`, or `ray://HOST:PORT` from outside.

        Raises `SureError` where Ray is not installed or there is no cluster.
        """
        try:
            import ray
        except ImportError:
            raise SureError('--ray needs Ray: pip install "sure-bench[ray]", here and on every node.') from None
        _reach(address)
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise SureError(f"--ray {address}: no cluster that can be used ({first_line(error)}).") from None
        self.ray = ray

    def close(self) -> None:
        """What it still runs for this process ends."""
        self.ray.shutdown()

    def demand(self, cells_per_device: int, memory: int | None) -> Demand:
        """So many cells on each GPU, or on each node where there are none; `memory` of the largest, in bytes.

        The parts are those of the smallest node, so that every node has cells.
        """
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        with_gpus = [node for node in nodes if node.get("GPU")]
        nodes = with_gpus or [node for node in nodes if node.get("CPU")]
        if not nodes:
            raise SureError("--ray: no node of the cluster has a CPU or a GPU.")
        devices = [int(node.get("GPU", 1)) * cells_per_device for node in nodes]
        cpus = min(int(node.get("CPU", 1) // count) for node, count in zip(nodes, devices, strict=True))
        if memory is not None:
            # An estimate beyond what there is would wait for ever.
            memory = min(memory, *(int(node.get("memory", memory)) for node in nodes))
        return Demand(1 / cells_per_device if with_gpus else 0, max(1, cpus), memory)

    def is_alive(self, node: str) -> bool:
        """Asked of the node itself: that one is lost the cluster knows only after a while."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(node, soft=False)
        # What has no name is sent as it is, so that nothing is imported for it.
        asked = self.ray.remote(lambda: True).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        try:
            return self.ray.get(asked.remote(), timeout=_VERDICT)
        except self.ray.exceptions.RayError:
            return False


def run(
    study: Study,
    output_dir: Path,
    cluster: Cluster,
    demand: Demand,
    attempts: int,
    state_of: StateOf,
    ended: Callable[[Step, str], None] = lambda *_: None,
) -> None:
    """Run a study to its end on a cluster; `ended` hears of every step and how it ended.

    Raises `SureError` where no process can be started on it.
    """
    workers: list[_Worker] = []
    elsewhere: dict[str, float] = {}
    stillborn = 0
    try:
        while True:
            steps = next_steps(study, output_dir, state_of, attempts)
            busy = {worker.step.cell.name for worker in workers if worker.step}
            if not steps and not busy:
                return
            free = startable(steps, busy, elsewhere)
            while len(workers) < min(_MOST, len(free) + len(busy)):
                workers.append(_Worker(cluster, demand))
            for worker in list(workers):
                outcome, step = None, worker.step
                try:
                    if step is not None:
                        outcome = worker.outcome()
                    elif free and worker.is_ready():
                        step, stillborn = free.pop(0), 0
                        outcome = worker.begin(step, attempts)
                except cluster.ray.exceptions.RayError as error:
                    workers.remove(worker)
                    worker.end()
                    if worker.home is None:
                        stillborn += 1
                        if stillborn == _STILLBORN:
                            raise SureError(f"--ray: no process can be started ({first_line(error)}).") from None
                        continue
                    outcome = worker.died(step.cell, attempts, error)
                if outcome == "in use":
                    elsewhere[step.cell.name] = time.monotonic() + _POLL
                if outcome is not None:
                    ended(step, outcome)
                    if outcome != "finished":
                        discard_lost(study, output_dir, state_of, attempts)
            _wait(cluster, workers)
    finally:
        for worker in workers:
            worker.end()


def _wait(cluster: Cluster, workers: list["_Worker"]) -> None:
    """Until one has something new to tell, or it is time to look at what they have written."""
    if signs := [worker.sign for worker in workers if worker.sign is not None]:
        cluster.ray.wait(signs, timeout=_POLL)
    else:
        time.sleep(_POLL)


class _Worker:
    """The driver's side of a process on a node."""

    def __init__(self, cluster: Cluster, demand: Demand) -> None:
        self._cluster = cluster
        options: dict[str, Any] = {"num_cpus": demand.cpus, "num_gpus": demand.gpus, "memory": demand.memory}
        # One thread runs the cell, the other gives what it has written.
        actor = cluster.ray.remote(_Process).options(max_concurrency=2, max_restarts=0, **options)
        self._actor = actor.remote(str(Path.cwd()))
        # What is awaited: that it starts, then that its step ends.
        self.sign: Any = self._actor.home.remote()
        # Its node, host and process, once it has started.
        self.home: tuple[str, str, int] | None = None
        self.step: Step | None = None
        self._lock = ExitStack()
        self._there: dict[str, Stamp] = {}

    def is_ready(self) -> bool:
        if self.home is None and self._is_there():
            self.home, self.sign = self._get(self.sign), None
        return self.home is not None

    def begin(self, step: Step, attempts: int) -> str | None:
        """Have a step begun, unless its cell is "in use"."""
        folder = step.cell.folder
        try:
            self._lock.enter_context(locked(folder, folder, wait=False))
        except InUse:
            return "in use"
        self.step = step
        self._get(self._actor.begin.remote())
        for name in stamps(folder):
            for data, first in _chunks(folder / name):
                self._get(self._actor.write.remote(name, data, first))
        self._there = self._get(self._actor.stamps.remote())
        self.sign = self._actor.run.remote(step.model_dump_json(), attempts)
        return None

    def outcome(self) -> str | None:
        """Fetch what is new; how its step ended, None while it runs."""
        over = self._is_there()
        self._fetch(self.step.cell.folder, over)
        if not over:
            return None
        outcome, self.sign, self.step = self._get(self.sign), None, None
        self._lock.close()
        return outcome

    def died(self, cell: Cell, attempts: int, error: Exception) -> str:
        """Note a process that died by itself; that its node was lost is nobody's fault, and counts for nothing."""
        node, host, process = self.home
        unknown = isinstance(error, self._cluster.ray.exceptions.ActorUnavailableError)
        if unknown or not self._cluster.is_alive(node):
            return f"{host} was lost"
        running.died(cell, process, f"its process on {host} ended ({first_line(error)})", attempts, host)
        return "killed"

    def end(self) -> None:
        self._lock.close()
        self._cluster.ray.kill(self._actor)

    def _is_there(self) -> bool:
        return bool(self._cluster.ray.wait([self.sign], timeout=0)[0])

    def _get(self, reference: Any) -> Any:
        return self._cluster.ray.get(reference)

    def _fetch(self, folder: Path, over: bool) -> None:
        """While it runs, checkpoints, attempts and log; the rest once nothing of it changes any more."""
        there = self._get(self._actor.stamps.remote())
        for name, stamp in there.items():
            if self._there.get(name) == stamp or not (over or name.startswith((CHECKPOINT, CELL, LOG))):
                continue
            path, first = folder / name, 0
            part = path.with_name(f".{path.name}.part")
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                while data := self._get(self._actor.read.remote(name, first)):
                    file.write(data)
                    first += len(data)
            if data is None:
                # Deleted meanwhile. Its checkpoint stays incomplete here, and goes next time.
                part.unlink()
                return
            part.replace(path)
            self._there[name] = stamp
        kept = {name.partition("/")[0] for name in there}
        for checkpoint in folder.glob(f"{CHECKPOINT}*"):
            if checkpoint.name not in kept:
                shutil.rmtree(checkpoint, ignore_errors=True)
        if over and RESULT not in there:
            # Of an earlier attempt, which failed.
            (folder / RESULT).unlink(missing_ok=True)


class _Process:
    """A process on a node, and the folder of the cell that it runs. (Ray makes an actor of it.)"""

    def __init__(self, working_dir: str) -> None:
        if Path(working_dir).is_dir():
            # Relative paths mean what they mean to the driver, where the node has them.
            os.chdir(working_dir)
        own = Path(tempfile.gettempdir()) / f"sure-{os.getuid()}"
        own.mkdir(mode=0o700, exist_ok=True)
        # A home folder is often one for all nodes.
        os.environ.setdefault("SURE_CACHE", str(own / "cache"))
        for left in own.glob("cell-*"):
            # Of a process that was killed, as Ray ends all.
            with suppress(InUse), locked(left, left, wait=False):
                shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix="cell-", dir=own))
        self._kept = ExitStack()
        self._kept.enter_context(locked(scratch, scratch, wait=True))
        self._folder = scratch / "run"
        from sure.runner.run import Shared

        self._shared = Shared()
        # What is imported stays; every training looks through the rest.
        gc.freeze()

    def home(self) -> tuple[str, str, int]:
        import ray

        return ray.get_runtime_context().get_node_id(), socket.gethostname(), os.getpid()

    def begin(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    def run(self, step: str, attempts: int) -> str:
        asked = Step.model_validate_json(step)
        settings = asked.cell.settings | {"output_dir": str(self._folder)}
        cell = asked.cell.model_copy(update={"settings": settings})
        return running.run(asked.model_copy(update={"cell": cell}), attempts, self._shared)

    def stamps(self) -> dict[str, Stamp]:
        return stamps(self._folder)

    def read(self, name: str, first: int) -> bytes | None:
        try:
            with (self._folder / name).open("rb") as file:
                file.seek(first)
                return file.read(_CHUNK)
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes, first: int) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if first else "wb") as file:
            file.write(data)


def _chunks(path: Path) -> Iterator[tuple[bytes, int]]:
    """A file's content, at least once, and where it is."""
    first = 0
    with path.open("rb") as file:
        while (data := file.read(_CHUNK)) or not first:
            yield data, first
            if not data:
                return
            first += len(data)


def _reach(address: str) -> None:
    """Raises `SureError` where nobody listens; Ray itself would try for a minute."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not colon or not port.isdecimal():
        raise SureError(f"--ray {address}: neither auto nor HOST:PORT nor ray://HOST:PORT.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise SureError(f"--ray {address}: nobody answers there ({error}). `ray status` says where it is.") from None
