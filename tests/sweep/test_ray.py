"""Cells on a Ray cluster of two nodes, each in processes of its own, of which one is killed in the middle."""

import threading
import time
import warnings

import pytest

from sure.record import RESULT, Result
from sure.runner.folder import newest_checkpoint
from sure.sweep import plan
from sure.sweep import ray as places
from sure.sweep.state import State, States
from tests.factories.corpora import noise_with_labels

SMALL = {"num_cpus": 1, "object_store_memory": 100_000_000}


@pytest.fixture
def two_nodes(monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = Cluster(
            initialize_head=True, head_node_args=SMALL | {"include_dashboard": False, "_system_config": quick}
        )
        second = cluster.add_node(**SMALL)
        yield cluster, second
        cluster.shutdown()


@pytest.mark.slow
def test_a_node_that_dies_costs_its_cells_no_more_than_since_their_last_checkpoint(two_nodes, tmp_path, monkeypatch):
    cluster, second = two_nodes
    monkeypatch.setattr(places, "_POLL", 0.1)
    study = plan.resolve(
        {
            "task": "audio_classification",
            "data_dir": str(noise_with_labels(tmp_path / "corpus", "angry", "sad")),
            "backbone": "wav2vec2:tiny",
            "method": "linear_probe",
            "seed": [1, 2],
            # It ends when the node is dead.
            "settings": {"num_train_epochs": 40, "early_stopping_patience": 0, "report_to": "none", "use_cpu": True},
        },
        "study",
    )
    out, ended, died_at = tmp_path / "out", [], {}
    connected = places.Cluster(cluster.address)

    def kill():
        """The node of the cell whose checkpoint is here first, among those on the second."""
        deadline = time.monotonic() + 100
        while time.monotonic() < deadline and not died_at:
            for folder in out.glob("cells/*"):
                state, newest = State.read(folder), newest_checkpoint(folder)
                if newest and state.open and _node_of(state.open.process) == second.node_id:
                    cluster.remove_node(second, allow_graceful=False)
                    died_at[folder] = int(newest.name.rpartition("-")[2])
                    return
            time.sleep(0.05)

    def _node_of(process):
        return _nodes.get(process)

    _nodes = {}
    begin = places._Worker.begin

    def noted(worker, step, attempts):
        _nodes[worker.home[2]] = worker.home[0]
        return begin(worker, step, attempts)

    monkeypatch.setattr(places._Worker, "begin", noted)
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        demand = connected.demand(1, 100_000_000)
        places.run(study, out, connected, demand, 3, States(), lambda step, outcome: ended.append(outcome))
    finally:
        connected.close()
        killer.join()
    print(ended, died_at)
    assert [Result.read(path).status for path in out.glob(f"cells/*/{RESULT}")] == ["complete"] * 2
    ((folder, step),) = died_at.items()
    attempts = State.read(folder).attempts
    assert [attempt.outcome for attempt in attempts] == ["interrupted", "finished"]
    assert attempts[1].step >= step > 0 and not attempts[0].counts
