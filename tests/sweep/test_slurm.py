"""Cells as jobs: under a stand-in for Slurm, which ends one at its time limit, and in processes of submitit's own."""

import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from sure import cli
from sure.errors import SureError
from sure.record import RESULT, Result
from sure.runner.checkpoints import newest_checkpoint
from sure.sweep import resolving, schedule, slurm
from sure.sweep.state import State, States
from tests.factories import processes
from tests.factories.corpora import noise_with_labels

# Of each, what submitit calls it for.
STAND_INS = {
    "srun": "exit 1",
    "sbatch": 'id=$(($(ls "$QUEUE" | grep -c "[.]sh$") + 1))\n'
    'cp "$1" "$QUEUE/part" && mv "$QUEUE/part" "$QUEUE/$id.sh" && echo "Submitted batch job $id"',
    "sacct": 'cat "$QUEUE/states"',
    "scontrol": 'test "$1" = requeue && touch "$QUEUE/requeue-$2"',
}


@pytest.fixture
def study(tmp_path):
    def resolve(seeds, epochs):
        raw = {"task": "audio_classification", "data_dir": str(tmp_path / "corpus"), "backbone": "wav2vec2:tiny"}
        raw |= {"method": "linear_probe", "seed": seeds}
        settings = {"num_train_epochs": epochs, "early_stopping_patience": 0, "report_to": "none", "use_cpu": True}
        return resolving.resolve(raw | {"settings": settings}, "study")

    noise_with_labels(tmp_path / "corpus", "angry", "sad")
    return resolve


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """What Slurm has been given."""
    (tmp_path / "bin").mkdir()
    for name, does in STAND_INS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "queue").mkdir()
    monkeypatch.setenv("QUEUE", str(tmp_path / "queue"))
    return tmp_path / "queue"


class Slurm(threading.Thread):
    """Runs what is submitted, and tells the first job that has a checkpoint that its time is over."""

    def __init__(self, queue: Path, out: Path) -> None:
        super().__init__(daemon=True)
        self.queue, self.out, self.over, self.told = queue, out, threading.Event(), []
        self.jobs, self.seen = {}, set()

    def run(self):
        while not self.over.wait(0.02):
            for script in set(self.queue.glob("*.sh")) - self.seen:
                self.seen.add(script)
                text = script.read_text()
                (last,) = re.findall(r"#SBATCH --array=0-(\d+)%", text)
                for task in range(int(last) + 1):
                    self.start_job(f"{script.stem}_{task}", text.split()[-1])
            for request in self.queue.glob("requeue-*"):
                job = request.name.removeprefix("requeue-")
                self.jobs[job].join()
                request.unlink()
                self.start_job(job, str(self.out / slurm.FOLDER))
            states = [f"{job}|{'RUNNING' if it.is_alive() else 'COMPLETED'}|node" for job, it in self.jobs.items()]
            (self.queue / "new").write_text("\n".join(["JobID|State|NodeList", *states]))
            (self.queue / "new").replace(self.queue / "states")
            if not self.told:
                self.tell()

    def start_job(self, job, folder):
        main, task = job.split("_")
        environment = {"SLURM_JOB_ID": main, "SLURM_ARRAY_JOB_ID": main, "SLURM_ARRAY_TASK_ID": task}
        output = self.queue / f"{job}-{time.monotonic_ns()}.txt"
        self.jobs[job] = processes.start(work, folder, output=output, SUBMITIT_EXECUTOR="slurm", **environment)

    def tell(self):
        for folder in self.out.glob("cells/*"):
            state = State.read(folder)
            if state.open and newest_checkpoint(folder):
                self.told.append(folder)
                os.kill(state.open.process, signal.SIGUSR2)
                return


def work(folder):
    """What `srun` would run."""
    from submitit.core.submission import process_job

    process_job(folder)


class Killed(BaseException):
    """What no `except Exception` sees."""


@pytest.mark.slow
def test_a_job_at_its_time_limit_goes_on_and_a_driver_that_is_started_again_waits_for_it(
    study, queue, tmp_path, monkeypatch
):
    out, ended = tmp_path / "out", []
    resolved = study([1, 2], 6)
    executor = slurm.Executor(out, {"timeout_min": 1, "partition": "some", "gpus_per_node": 0}, 3_000_000_000)

    def killed(_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(slurm.time, "sleep", killed)
        with pytest.raises(Killed):
            slurm.run(resolved, out, executor, 3, States())
    monkeypatch.setattr(slurm, "_POLL", 0.1)
    (cluster := Slurm(queue, out)).start()
    try:
        slurm.run(resolved, out, executor, 3, States(), lambda step, outcome: ended.append(outcome))
    finally:
        cluster.over.set()
        cluster.join()
        for job in cluster.jobs.values():
            job.kill()
    (script,) = queue.glob("*.sh")
    for option in ("array=0-1%2", "partition=some", "mem=11GB", "time=1", "signal=USR2@90", "job-name=sure"):
        assert f"#SBATCH --{option}\n" in script.read_text()
    assert ended == ["finished", "finished"]
    assert [Result.read(path).status for path in out.glob(f"cells/*/{RESULT}")] == ["complete"] * 2
    first, second = State.read(cluster.told[0]).attempts
    assert (first.outcome, first.counts, second.outcome) == ("interrupted", False, "finished")
    assert second.step > 0
    assert not list(out.glob(f"cells/*/{slurm.JOB}"))


@pytest.mark.slow
def test_in_local_processes(study, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "_POLL", 0.1)
    ended = []
    executor = slurm.Executor(tmp_path, {"gpus_per_node": 0}, cluster="local")
    slurm.run(study([1], 1), tmp_path, executor, 3, States(), lambda step, outcome: ended.append(outcome))
    assert ended == ["finished"]
    assert len(list(tmp_path.glob(f"cells/*/{RESULT}"))) == 1


def test_a_job_that_leaves_no_checkpoint_in_its_time_is_not_requeued(study, tmp_path, monkeypatch):
    (step,) = schedule.next_steps(study([1], 1), tmp_path, States(), 1)
    work = slurm.Work()
    # The signal comes while it trains.
    monkeypatch.setattr(slurm.running, "train", lambda *_, **__: work.checkpoint(step.model_dump_json(), 1))
    assert work(step.model_dump_json(), 1) == "failed"
    assert "timeout_min" in State.read(step.cell.folder).failed(1)


def test_jobs_that_end_before_they_begin_are_an_error(study, tmp_path, monkeypatch):
    class Broken:
        job_id, paths = "1_0", type("Paths", (), {"stderr": "1_0_log.err"})

        def done(self):
            return True

    class Breaking:
        def noted(self, folder):
            return None

        def submit(self, steps, attempts):
            return [Broken() for _ in steps]

    monkeypatch.setattr(slurm, "_POLL", 0)
    with pytest.raises(SureError, match=r"3 jobs have ended before they began, see 1_0_log\.err"):
        slurm.run(study([1], 1), tmp_path, Breaking(), 3, States())


def test_mistakes_show_no_traceback(study, queue, tmp_path, capsys, monkeypatch):
    study([1], 1)
    words = ["sweep", "--task", "audio_classification", "--data_dir", str(tmp_path / "corpus")]
    words += ["--backbone", "wav2vec2:tiny", "--method", "linear_probe", "--output_dir", str(tmp_path / "out")]
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho invalid partition specified: some >&2; exit 1\n")
    for more, message in (
        (["--slurm", "--slurm_options", "patition=gpu"], "Unknown argument 'patition'"),
        (["--slurm", "--slurm_options", "timeout_min=long"], "timeout_min"),
        (["--slurm_options", "partition=some"], "--slurm_options are for --slurm"),
        (["--slurm", "--ray", "auto"], "not both"),
        (["--slurm", "--slurm_options", "partition=some"], "invalid partition specified: some"),
        (["--ray", "localhost"], "neither auto nor HOST:PORT"),
        (["--ray", "127.0.0.1:1"], "nobody answers there"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main([*words, *more])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
