"""A sweep of small cells that is killed twenty times at random moments, itself or a process of its, and how it ends.

    python -m tests.benchmarks.sweep_kills [KILLS] [SEED]

Everything must have its record in the end, be run to its end once, and score what it scores in a sweep that nobody
disturbs. Half of the kills take a process at a cell, which the sweep replaces; half the sweep, which is started again.
"""

import argparse
import os
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

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


def main(words: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kills", nargs="?", type=int, default=20)
    parser.add_argument("seed", nargs="?", type=int, default=0)
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
        command = [*command.split(), "--cells_per_device", "2", "--attempts", _ATTEMPTS]
        counted, sweep = Counter(), None
        while sum(counted.values()) < arguments.kills:
            if sweep is None or not sweep.is_alive():
                sweep = start(command, place / "killed", place / "said.txt")
            patient = chance.random() > _AT_ONCE
            while patient and sweep.is_alive() and not pids(place / "killed"):
                time.sleep(0.1)
            time.sleep(chance.uniform(0.0, _LONGEST))
            if chance.random() < 0.5:
                sweep.kill()
                sweep.join()
                counted["sweep"] += 1
            elif at_work := pids(place / "killed"):
                os.kill(chance.choice(sorted(at_work)), signal.SIGKILL)
                counted["process at a cell"] += 1
            if sweep.exitcode == 0:
                print(f"It ended after {sum(counted.values())} kills.")
                break
        for name in ("killed", "alone"):
            start(command, place / name, place / "said.txt").join()
        return report(place, counted)


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
    return {"kills": sum(counted.values()), "records": wanted, "cells": len(rows), "scores that differ": 0}


if __name__ == "__main__":
    main()
