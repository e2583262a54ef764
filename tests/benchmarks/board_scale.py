"""What a board of 10,000 entries takes: `add`, `build` and `show`, of boards of 10, 100, 1,000 and 10,000 entries.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.board_scale [ENTRIES ...] [--tables 5] [--rows 300]

Entries are MADE UP, for this benchmark only: predictions that are right with a chance of their own, in records whose
scores are theirs, of a folder that is thrown away. Each is a configuration of its own, methods and learning rates
alike on every board, in as many tables as there are tasks. Only intervals are rough, of few draws, since nothing but
`validate` reads them; what is added is whole. Cold is with an empty `SURE_CACHE`, warm with what a build has left
there. Seconds are of the wall and, in brackets, of the CPU; the least of three of `add` and `show`; with everything
imported, and what that takes is said first.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
from tabulate import tabulate

from sure import leaderboard
from sure.leaderboard import entry_page, page
from sure.leaderboard.submission import submission_name
from sure.record import RESULT, Result, write_predictions
from sure.task import Task, make_task
from sure.task.scoring import RESAMPLES, interval, score_with_intervals

_TASKS = ("emodb_emotion", "ravdess_emotion", "cremad_emotion", "esd_emotion", "iemocap_emotion")
_METHODS = ("linear_probe", "weighted_sum_probe", "lora", "bitfit", "ia3", "adalora", "houlsby", "full_finetuning")
_SPEAKERS = 30
_FEW = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entries", type=int, nargs="*", default=[10, 100, 1_000, 10_000])
    parser.add_argument("--tables", type=int, default=len(_TASKS), choices=range(1, len(_TASKS) + 1))
    parser.add_argument("--rows", type=int, default=300, help=f"test utterances, of {_SPEAKERS} speakers")
    arguments = parser.parse_args()
    for modules in ("sure.leaderboard", "sure.leaderboard.page, sure.leaderboard.entry_page", "sure.metric"):
        command = [sys.executable, "-c", f"import {modules}"]
        print(f"import {modules}: {seconds(lambda: subprocess.run(command, check=True))[0]} s")  # noqa: B023
    figures = []
    for many in arguments.entries:
        with tempfile.TemporaryDirectory(prefix="sure-board-") as folder:
            os.environ["SURE_CACHE"] = f"{folder}/cache"
            figures.append(measured(Path(folder), many, arguments.tables, arguments.rows))
        print(tabulate(figures, headers="keys", colalign=["right"] * len(figures[0])), flush=True)


def measured(place: Path, many: int, tables: int, rows: int) -> dict[str, object]:
    board = place / "board"
    tasks = [make_task(name, {}) for name in _TASKS[:tables]]
    with patch("os.fsync"):
        # What is made up need not outlive a power cut.
        for number in range(many):
            run(board / "submissions", tasks[number % tables], number, rows, _FEW)
    figures = {"entries": many}
    new = [run(place / "new", tasks[0], many + number, rows, RESAMPLES) for number in range(3)]
    added = [seconds(lambda: leaderboard.add(folder, board))[0] for folder in new[:2]]  # noqa: B023
    figures["add"] = min(added)
    figures["cold: ranked"], _ = seconds(lambda: leaderboard.read_entries(board))
    figures["warm: ranked"], entries = seconds(lambda: leaderboard.read_entries(board))
    figures["leaderboard.json"], _ = seconds(lambda: leaderboard.leaderboard_json(entries))
    figures["index.html"], _ = seconds(lambda: page.page(entries))
    figures["svg"], _ = seconds(lambda: page.plots(entries))
    figures["pages of entries"], _ = seconds(lambda: entry_page.write_pages(entries, board))
    leaderboard.build(board)
    leaderboard.add(new[2], board)
    figures["one more: build"], _ = seconds(lambda: leaderboard.build(board))
    figures["show"] = min(seconds(lambda: leaderboard.show(board))[0] for _ in range(3))
    return figures


def seconds(call: Callable) -> tuple[str, object]:
    """Of the wall and, in brackets, of this process's CPU; and what the call gives."""
    wall, processor = time.perf_counter(), time.process_time()
    gives = call()
    return f"{time.perf_counter() - wall:.3f} ({time.process_time() - processor:.3f})", gives


def run(place: Path, task: Task, number: int, rows: int, resamples: int) -> Path:
    """A made-up run with predictions, in a folder that is named as on a board."""
    chance, folder = np.random.default_rng(number), place / str(number)
    folder.mkdir(parents=True)
    scored, predictions = {}, {}
    for split, utterances in (("validation", rows // 10), ("test", rows)):
        right, label = chance.uniform(0.4, 0.9), np.arange(utterances) % len(task.labels)
        # Some are hard for all.
        hard = np.random.default_rng(0).normal(size=utterances)
        hits = hard + chance.normal(size=utterances) < 2 * right
        predicted = np.where(hits, label, chance.integers(len(task.labels), size=utterances))
        said = [
            {
                "id": f"{split}{row}",
                "speaker": f"s{row % _SPEAKERS}",
                "reference": task.labels[label[row]],
                "prediction": task.labels[predicted[row]],
            }
            for row in range(utterances)
        ]
        scored[split] = score_with_intervals(task, said, resamples)
        predictions[split] = write_predictions(folder / f"{split}.jsonl", said)
    trainable = int(10 ** chance.uniform(3, 6))
    size = {"utterances": rows, "seconds": 3.0 * rows, "speakers": _SPEAKERS}
    result = Result(
        status="complete",
        run={
            "task": task.name,
            "task_options": {},
            "data": {
                "fingerprint": "0" * 64,
                "synthetic": True,
                "splits": {"train": size, "validation": size | {"utterances": rows // 10}, "test": size},
            },
            "backbone": {
                "name": f"made-up/backbone-{number % 3}",
                "family": "wav2vec2",
                "revision": "0" * 40,
                "pretrained": False,
            },
            "method": {"name": _METHODS[number % len(_METHODS)], "config": {"r": 8}},
            "seed": 0,
            "arguments": {"learning_rate": (1 + number) * 1e-6, "output_dir": "out", "global_batch_size": 32},
        },
        metric=task.metric,
        cost={
            "trainable_parameters": trainable,
            "head_parameters": 100,
            "total_parameters": 10**8,
            "trainable_share": trainable / 10**8,
            "trainable_share_without_head": (trainable - 100) / (10**8 - 100),
            "adapter_bytes": 4 * trainable,
            "macs_per_second": 6_900_000_000,
            "training_seconds": 100.0,
            "evaluation_seconds": 1.5,
            "samples_per_second": 100.0,
            "steps": 10,
            "epochs": 2.0,
            "memory": {"kind": "resident set", "mean": 10, "maximum": 3 << 20, "percentile_99": 12},
            "device": "made up",
            "processes": 1,
        },
        scores={split: of.scores for split, of in scored.items()},
        interval=interval(scored),
        predictions=predictions,
        provenance={
            "versions": {},
            "python": "3.11",
            "platform": "made up",
            "commit": None,
            "started": "2026-01-01T00:00:00Z",
            "finished": "2026-01-01T00:01:00Z",
        },
    )
    result.write(folder / RESULT)
    return folder.rename(place / submission_name(result))


if __name__ == "__main__":
    main()
