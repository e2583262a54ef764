"""Cells as jobs of Slurm, submitted through submitit (the extra `slurm`); nodes and driver have the sweep's folder.

What can be done at once is one array. At its time limit a job is requeued, and goes on from its newest checkpoint. Each
cell's folder notes its job, so that a driver that is started again waits for it instead of submitting another. Nothing
that jobs return is read: how a step ended is in the cell's folder.
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sure.errors import SureError
from sure.files import InUse, locked, write_atomically
from sure.sweep import running
from sure.sweep.local import discard_lost
from sure.sweep.plan import Step, Study
from sure.sweep.schedule import StateOf, next_steps
from sure.sweep.state import State

JOB = "job.json"
# Of the sweep: what submitit writes, among it what jobs print.
FOLDER = "slurm"
DEFAULTS = {"timeout_min": 60, "gpus_per_node": 1, "cpus_per_task": 4}
# GB beside a cell's own; and what sbatch is asked for where nothing is known.
_BASE_MEMORY, _UNKNOWN_MEMORY = 8, 32

_POLL = 2.0
# Time limits that a cell may run into; each has to leave a checkpoint.
_TIMEOUTS = 1000
# Jobs that end one after another before they have begun.
_STILLBORN = 3
# Ways to end that are nobody's fault.
_LOST = ("NODE_FAIL", "PREEMPTED", "BOOT_FAIL")


class Executor:
    """How jobs are submitted and looked at."""

    def __init__(
        self, output_dir: Path, options: dict[str, Any], memory: int | None = None, cluster: str = "slurm"
    ) -> None:
        """`options`: submitit's; `memory` of the largest cell, in bytes; `cluster`: submitit's name of an executor.

        Raises `SureError` where submitit is not installed, Slurm is not there, or an option is none.
        """
        try:
            import submitit
        except ImportError:
            raise SureError('--slurm needs submitit: pip install "sure-bench[slurm]".') from None
        known = _UNKNOWN_MEMORY if memory is None else _BASE_MEMORY + math.ceil(memory / 1e9)
        # Others may see another folder.
        self._folder = (output_dir / FOLDER).absolute()
        shared = submitit.AutoExecutor._typed_parameters()
        try:
            self._executor = submitit.AutoExecutor(self._folder, cluster=cluster, slurm_max_num_timeout=_TIMEOUTS)
            chosen = DEFAULTS | {"mem_gb": known, "name": "sure"} | options
            self._executor.update_parameters(
                **{name if name in shared else f"slurm_{name}": value for name, value in chosen.items()}
            )
        except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as error:
            raise SureError(f"--slurm: {' '.join(str(error).split())}") from None
        self._job = submitit.SlurmJob if cluster == "slurm" else None
        self._failed = submitit.core.utils.FailedJobError

    def submit(self, steps: list[Step], attempts: int) -> list[Any]:
        """An array of jobs. Raises `SureError` where Slurm does not take it."""
        try:
            return self._executor.map_array(
                Work(), [step.model_dump_json() for step in steps], [attempts for _ in steps]
            )
        except (self._failed, OSError) as error:
            raise SureError(f"--slurm: {' '.join(str(error).split())}") from None

    def noted(self, folder: Path) -> Any:
        """The job that a cell's folder notes; None where there is none, or it is over."""
        note = _note(folder)
        if note is None or self._job is None:
            return None
        job = self._job(folder=self._folder, job_id=note["job"])
        return None if job.done() else job


class Work:
    """What a job does. (submitit calls it, and `checkpoint` shortly before its time limit or when it is preempted.)"""

    def __call__(self, step: str, attempts: int) -> str:
        asked = Step.model_validate_json(step)
        return running.run(asked, attempts)

    def checkpoint(self, step: str, attempts: int) -> Any:
        """The same again, which goes on from the newest checkpoint.

        Raises `TimeoutError`, which counts against the cell's attempts, where there is none since it began.
        """
        import submitit

        folder = Step.model_validate_json(step).cell.folder
        attempt = State.read(folder).open
        if attempt and running.newest_step(folder) <= attempt.step:
            raise TimeoutError(
                "no checkpoint within the time of a job; more of --slurm_options timeout_min, or --save_strategy steps"
            )
        return submitit.helpers.DelayedSubmission(self, step, attempts)


def run(
    study: Study,
    output_dir: Path,
    executor: Executor,
    attempts: int,
    state_of: StateOf,
    ended: Callable[[Step, str], None] = lambda *_: None,
) -> None:
    """Run a study to its end in jobs; `ended` hears of every step and how it ended.

    Raises `SureError` where jobs cannot be submitted or die before they have begun, and where another driver is at it.
    """
    with locked(output_dir / FOLDER, f"--slurm: {output_dir}", wait=False):
        jobs: dict[str, tuple[Step, Any]] = {}
        stillborn = 0
        while True:
            steps = next_steps(study, output_dir, state_of, attempts)
            if not steps and not jobs:
                return
            new = []
            for step in steps:
                if step.cell.name not in jobs and (job := executor.noted(step.cell.folder)):
                    jobs[step.cell.name] = (step, job)
                elif step.cell.name not in jobs and _is_free(step.cell.folder):
                    new.append(step)
            if new:
                for step, job in zip(new, executor.submit(new, attempts), strict=True):
                    note = {"job": job.job_id, "attempts": len(State.read(step.cell.folder).attempts)}
                    write_atomically(step.cell.folder / JOB, json.dumps(note) + "\n")
                    jobs[step.cell.name] = (step, job)
            time.sleep(_POLL)
            for step, job in list(jobs.values()):
                if not job.done():
                    continue
                del jobs[step.cell.name]
                outcome = _outcome(step, job, attempts)
                stillborn = 0 if outcome else stillborn + 1
                if stillborn == _STILLBORN:
                    raise SureError(f"--slurm: {stillborn} jobs have ended before they began, see {job.paths.stderr}.")
                ended(step, outcome or "killed")
                if outcome != "finished":
                    discard_lost(study, output_dir, state_of, attempts)


def _outcome(step: Step, job: Any, attempts: int) -> str | None:
    """How a job ended; None where it has not begun."""
    folder = step.cell.folder
    state, note = State.read(folder), _note(folder)
    (folder / JOB).unlink(missing_ok=True)
    if note is None or len(state.attempts) <= note["attempts"]:
        return None
    if (attempt := state.open) is None:
        return state.attempts[-1].outcome
    how = job.state
    if how in _LOST:
        return f"its node was lost ({how})"
    running.died(step.cell, attempt.process, f"job {job.job_id} ended as {how}", attempts, attempt.host)
    return "killed"


def _note(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / JOB).read_bytes())
    except (OSError, ValueError):
        return None


def _is_free(folder: Path) -> bool:
    try:
        with locked(folder, folder, wait=False):
            return True
    except InUse:
        return False
