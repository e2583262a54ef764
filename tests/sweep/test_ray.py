"""Cells on a Ray cluster of two nodes, each in processes of its own, of which one is killed in the middle."""

import os
import signal
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from sure import cli
from sure.errors import SureError
from sure.record import RESULT, Result
from sure.runner.checkpoints import newest_checkpoint
from sure.runner.run import main
from sure.sweep import plan, ray
from sure.sweep.state import LOG, State
from tests.factories.corpora import noise_with_labels

SMALL = {"num_cpus": 1, "object_store_memory": 100_000_000}
# Milliseconds, and how often in a row a node may be silent.
HEALTH = {"health_check_period_ms": 500, "health_check_failure_threshold": 2}


@pytest.fixture
def two_nodes(monkeypatch):
    """A cluster, and that of its nodes which the driver is not connected to."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = Cluster(
            initialize_head=True, head_node_args=SMALL | {"include_dashboard": False, "_system_config": HEALTH}
        )
        yield cluster, cluster.add_node(**SMALL)
        cluster.shutdown()


@pytest.mark.slow
def test_a_node_that_dies_costs_its_cells_what_they_did_since_their_last_checkpoint(
    two_nodes, tmp_path, monkeypatch, capsys
):
    cluster, second = two_nodes
    corpus = noise_with_labels(tmp_path / "corpus", "angry", "sad")
    words = ["--task", "audio_classification", "--data_dir", str(corpus), "--backbone", "wav2vec2:tiny"]
    words += ["--method", "linear_probe", "--seed", "1", "2", "--output_dir", str(tmp_path / "out")]
    words += ["--num_train_epochs", "12", "--early_stopping_patience", "0", "--report_to", "none", "--use_cpu", "True"]
    out, reached = tmp_path / "out", {}
    wait, is_ready = ray._wait, ray._Worker.is_ready

    def kill_once(connected, workers):
        for worker in workers:
            if not reached and worker.step and (newest := newest_checkpoint(worker.step.cell.folder)):
                reached[newest.parent] = int(newest.name.rpartition("-")[2])
                # By itself the process would notice only after a while, in which its cell may end.
                os.kill(worker.home[2], signal.SIGKILL)
                cluster.remove_node(second, allow_graceful=False)
        wait(connected, workers)

    # The first node waits until the second is dead.
    monkeypatch.setattr(
        ray._Worker, "is_ready", lambda worker: is_ready(worker) and (reached or worker.home[0] == second.node_id)
    )
    monkeypatch.setattr(ray, "_wait", kill_once)
    monkeypatch.setattr(ray, "_POLL", 0.05)
    # Files go in pieces.
    monkeypatch.setattr(ray, "_CHUNK", 100_000)
    cli.main(["sweep", *words, "--ray", cluster.address])
    assert " was lost, see " in capsys.readouterr().out
    assert [Result.read(path).status for path in out.glob(f"cells/*/{RESULT}")] == ["complete"] * 2
    ((folder, step),) = reached.items()
    first, again, *more = State.read(folder).attempts
    assert (first.outcome, first.counts) == ("interrupted", False)
    assert again.step == step > 0
    # On a busy machine a process may look lost once more.
    assert [again, *more][-1].outcome == "finished"
    # Killed, carried from node to node and gone on with, it is the run that it is alone.
    (question,) = plan.Study.read(out).questions
    (cell,) = (
        question.cell(tmp_path / "alone", {}, seed) for seed in question.seeds if folder.name.endswith(f"seed={seed}")
    )
    assert main(cell.command()).scores == Result.read(folder / RESULT).scores
    weights = [load_file(path / "adapter_model.safetensors") for path in (folder, cell.folder)]
    torch.testing.assert_close(*weights)
    for path in out.glob("cells/*"):
        # Everything came back, and nothing is left of the way.
        assert (path / LOG).exists() and (path / "adapter_model.safetensors").exists()
        assert not list(path.rglob("*.part"))


def test_a_cell_asks_for_no_more_than_its_part_of_the_smallest_node():
    cluster = object.__new__(ray.Cluster)

    def demand(*nodes, **arguments):
        known = [{"Alive": True, "Resources": node} for node in nodes]
        known.append({"Alive": False, "Resources": {"CPU": 1.0}})
        cluster.ray = SimpleNamespace(nodes=lambda: known)
        return cluster.demand(**arguments)

    large, small, login = (
        {"CPU": 64.0, "GPU": 8.0, "memory": 9e9},
        {"CPU": 8.0, "GPU": 1.0, "memory": 5e9},
        {"CPU": 4.0},
    )
    assert demand(large, small, login, cells_per_device=2, memory=6_000_000_000) == ray.Demand(0.5, 4, 5_000_000_000)
    assert demand(login, {"CPU": 6.0}, cells_per_device=1, memory=None) == ray.Demand(0, 4, None)
    with pytest.raises(SureError, match="no node"):
        demand({"memory": 5e9}, cells_per_device=1, memory=None)


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SureError, match=r"pip install \"sure-bench\[ray\]\""):
        ray.Cluster("auto")
