"""A sweep of small cells that is killed twenty times at random moments, and how it ends.

    python -m tests.benchmarks.sweep_kills [KILLS] [SEED] [--ray]

Everything must have its record in the end, be run to its end once, and score what it scores in a sweep of this machine
that nobody disturbs. What is killed, by chance: the sweep, which is started again; a process at a cell, which the sweep
replaces; and with --ray, where cells run on a cluster of two nodes in processes of their own, one of them with all that
runs on it, for which another comes.
"""

import argparse
import os
import random
import signal
import tempfile
import time
from collections import Counter
from contextlib import closing, nullcontext, suppress
from pathlib import Path

import psutil

from sure import cli
from sure.record import RESULT, Result
from sure.sweep import progress
from sure.sweep.plan import Study
from sure.sweep.state import State, States
from tests.factories import processes
from tests.factories.corpora import noise_with_labels

# Seconds that it is left alone, at most, mostly once it is at work; or it would never get there on a slow machine.
_LONGEST = 4.0
_AT_ONCE = 0.2
# Who kills at random may hit one cell many times; that is not what attempts are counted for.
_ATTEMPTS = "20"
_NODE = {"num_cpus": 1, "object_store_memory": 100_000_000}
# Milliseconds, and how often in a row a node may be silent.
_HEALTH = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}


def main(words: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", nargs="?", type=int, default=20)
    parser.add_argument("seed", nargs="?", type=int, default=0)
    parser.add_argument("--ray", action="store_true")
    arguments = parser.parse_args(words)
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="sure-kills-") as folder:
        place = Path(folder)
        os.environ["SURE_CACHE"] = str(place / "cache")
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        command = f"sweep --task audio_classification --data_dir {noise_with_labels(place / 'corpus', 'angry', 'sad')}"
        command += " --backbone wav2vec2:tiny --method lora linear_probe bitfit convpass --learning_rate 1e-2 1e-3 1e-6"
        command += (
            " --seed 1 2 3 4 5 6 --num_train_epochs 8 --per_device_train_batch_size 1 --report_to none --use_cpu True"
        )
        here = [*command.split(), "--cells_per_device", "2", "--attempts", _ATTEMPTS]
        with closing(Nodes()) if arguments.ray else nullcontext() as nodes:
            there = [*command.split(), "--attempts", _ATTEMPTS, "--ray", nodes.address] if nodes else here
            counted = kill_and_restart(there, place, arguments.kills, chance, nodes)
        start(here, place / "alone", place / "said.txt").join()
        return report(place, counted)


def kill_and_restart(
    words: list[str], place: Path, kills: int, chance: random.Random, nodes: "Nodes | None"
) -> Counter:
    """Run a sweep to its end through so many kills; gives how many there were of each kind."""
    counted, sweep = Counter(), None
    victims = ["sweep", "process at a cell", *["node"] * bool(nodes)]
    while sum(counted.values()) < kills:
        if sweep is None or not sweep.is_alive():
            sweep = start(words, place / "killed", place / "said.txt")
        patient = chance.random() > _AT_ONCE
        while patient and sweep.is_alive() and not pids(place / "killed"):
            time.sleep(0.1)
        time.sleep(chance.uniform(0.0, _LONGEST))
        victim = chance.choice(victims)
        if victim == "sweep":
            sweep.kill()
            sweep.join()
        elif victim == "node":
            nodes.replace_one()
        elif at_work := pids(place / "killed"):
            os.kill(chance.choice(sorted(at_work)), signal.SIGKILL)
        else:
            continue
        counted[victim] += 1
        if sweep.exitcode == 0:
            print(f"It ended after {sum(counted.values())} kills.")
            break
    start(words, place / "killed", place / "said.txt").join()
    return counted


class Nodes:
    """Two nodes of a Ray cluster, each in processes of its own; without the first there is no cluster."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        first = _NODE | {"include_dashboard": False, "_system_config": _HEALTH}
        self._cluster = Cluster(initialize_head=True, head_node_args=first)
        self._second = self._cluster.add_node(**_NODE)
        self.address = self._cluster.address

    def replace_one(self) -> None:
        """Kill the second with everything that runs on it; another comes."""
        (raylet,) = self._second.all_processes["raylet"]
        processes_of_it = psutil.Process(raylet.process.pid).children(recursive=True)
        raylet.process.kill()
        for process in processes_of_it:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._cluster.remove_node(self._second, allow_graceful=False)
        self._second = self._cluster.add_node(**_NODE)

    def close(self) -> None:
        self._cluster.shutdown()


def start(words: list[str], output_dir: Path, said: Path) -> processes.BaseProcess:
    return processes.start(cli.main, [*words, "--output_dir", str(output_dir)], output=said)


def pids(output_dir: Path) -> list[int]:
    states = [State.read(path) for path in output_dir.glob("cells/*")]
    return [state.open.process for state in states if state.open and progress.alive(state)]


def report(place: Path, counted: Counter) -> dict[str, float]:
    study, outcomes = Study.read(place / "killed"), Counter()
    for path in (place / "killed" / "cells").iterdir():
        attempts = State.read(path).attempts
        outcomes.update(attempt.outcome for attempt in attempts)
        assert Counter(attempt.outcome for attempt in attempts)["finished"] <= 1, path
        paused = next((index for index, attempt in enumerate(attempts) if attempt.outcome == "paused"), len(attempts))
        # What has paused goes on from there, or from later.
        assert all(attempt.step > 0 for attempt in attempts[paused + 1 :]), path
    rows = progress.rows(study, place / "killed", States(), int(_ATTEMPTS))
    assert all(row.ended for row in rows), [row for row in rows if not row.ended]
    records = {
        name: {path.parent.name: Result.read(path) for path in (place / name / "cells").glob(f"*/{RESULT}")}
        for name in ("killed", "alone")
    }
    wanted = sum(len(question.seeds) for question in study.questions)
    assert len(records["killed"]) == wanted == len(records["alone"])
    differing = [
        name
        for name, result in records["killed"].items()
        if name not in records["alone"] or result.scores != records["alone"][name].scores
    ]
    assert not differing, differing
    print(f"Killed: {dict(counted)}. How attempts ended: {dict(outcomes)}.")
    print(f"{wanted} records of {len(rows)} cells; all scores are those of a sweep that nobody disturbed.")
    kills = {f"kills of a {victim}": number for victim, number in sorted(counted.items())}
    return kills | {"cells": len(rows), "records": wanted, "scores that differ": 0}


if __name__ == "__main__":
    main()
