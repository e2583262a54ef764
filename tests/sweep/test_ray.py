"""Cells on a Ray cluster of two nodes, each in processes of its own, of which one is killed in the middle."""

import sys
import warnings

import pytest

from sure.errors import SureError
from sure.record import RESULT, Result
from sure.runner.folder import newest_checkpoint
from sure.sweep import plan, ray
from sure.sweep.state import LOG, State, States
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
def test_a_node_that_dies_costs_its_cells_no_more_than_since_their_last_checkpoint(two_nodes, tmp_path, monkeypatch):
    cluster, second = two_nodes
    settings = {"num_train_epochs": 6, "early_stopping_patience": 0, "report_to": "none", "use_cpu": True}
    raw = {"task": "audio_classification", "backbone": "wav2vec2:tiny", "method": "linear_probe", "seed": [1, 2]}
    raw["data_dir"] = str(noise_with_labels(tmp_path / "corpus", "angry", "sad"))
    study, out, ended, reached = plan.resolve(raw | {"settings": settings}, "study"), tmp_path / "out", [], {}
    wait, is_ready = ray._wait, ray._Worker.is_ready

    def kill_once(connected, workers):
        for worker in workers:
            if not reached and worker.step and (newest := newest_checkpoint(worker.step.cell.folder)):
                reached[newest.parent] = int(newest.name.rpartition("-")[2])
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
    connected = ray.Cluster(cluster.address)
    try:
        demand = connected.demand(1, 10**15)
        assert (demand.gpus, demand.cpus) == (0, 1) and demand.memory < 10**15
        ray.run(study, out, connected, demand, 3, States(), lambda step, outcome: ended.append(outcome))
    finally:
        connected.close()
    assert ended[0].endswith(" was lost") and ended[1:] == ["finished", "finished"]
    assert [Result.read(path).status for path in out.glob(f"cells/*/{RESULT}")] == ["complete"] * 2
    ((folder, step),) = reached.items()
    first, again = State.read(folder).attempts
    assert (first.outcome, first.counts, again.outcome) == ("interrupted", False, "finished")
    assert again.step == step > 0
    for path in out.glob("cells/*"):
        # Everything came back, and nothing is left of the way.
        assert (path / LOG).exists() and (path / "adapter_model.safetensors").exists()
        assert not list(path.rglob("*.part"))


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SureError, match=r"pip install \"sure-bench\[ray\]\""):
        ray.Cluster("auto")
