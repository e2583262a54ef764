"""What a board of 10,000 entries takes: `add`, `build` and `show`, of boards of 10, 1,000 and 10,000 entries.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.board_scale [ENTRIES ...] [--tables 5] [--rows 300]

Entries are MADE UP, for this benchmark only: predictions that are right with a chance of their own, in records whose
scores are theirs, of a folder that is thrown away; what decides no score is that of a record on the shipped board, so
that records are as long. Each is a configuration of its own, methods and learning rates alike on every board, in as
many tables as there are tasks. Only intervals are rough, of few draws, since nothing but `validate` reads them; what is
added is whole. Backbones are of a hub that is not asked, so that nothing is counted again, which imports torch. Cold is
with an empty `SURE_CACHE`, warm with what a build has left there. Seconds are of CPU, the least of two of `add` and of
three of `show`, with everything imported.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from tabulate import tabulate

from sure import leaderboard
from sure.leaderboard import entry_page, page
from sure.leaderboard.submission import submission_name
from sure.record import RESULT, Result, write_predictions
from sure.task import Task, make_task
from sure.task.scoring import RESAMPLES, Scored, interval, score_with_intervals
from tests.factories import REPOSITORY

_TASKS = ("emodb_emotion", "ravdess_emotion", "cremad_emotion", "esd_emotion", "iemocap_emotion")
_METHODS = ("linear_probe", "weighted_sum_probe", "lora", "bitfit", "ia3", "adalora", "houlsby", "full_finetuning")
_SPEAKERS = 30
_FEW = 10


def main(words: list[str] | None = None) -> dict[str, str]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entries", type=int, nargs="*", default=[10, 1_000, 10_000])
    parser.add_argument("--tables", type=int, default=len(_TASKS), choices=range(1, len(_TASKS) + 1))
    parser.add_argument("--rows", type=int, default=300, help=f"test utterances, of {_SPEAKERS} speakers")
    arguments = parser.parse_args(words)
    found = []
    for many in arguments.entries:
        with (
            tempfile.TemporaryDirectory(prefix="sure-board-") as folder,
            patch.dict(os.environ, SURE_CACHE=f"{folder}/cache"),
            patch("huggingface_hub.constants.HF_HUB_OFFLINE", True),
        ):
            found.append(measured(Path(folder), many, arguments.tables, arguments.rows))
        print(tabulate([{"entries": many} | found[-1]], headers="keys", floatfmt=".3f"), flush=True)
    sizes = " / ".join(f"{many:,}" for many in arguments.entries)
    return {f"{what}: s at {sizes}": " / ".join(f"{of[what]:.3g}" for of in found) for what in found[0]}


def measured(place: Path, many: int, tables: int, rows: int) -> dict[str, float]:
    board = place / "board"
    tasks = [make_task(name, {}) for name in _TASKS[:tables]]
    with patch("os.fsync"):
        # What is made up need not outlive a power cut.
        for number in range(many):
            run(board / "submissions", tasks[number % tables], number, rows, _FEW)
    new = [run(place / "new", tasks[0], many + number, rows, RESAMPLES) for number in range(3)]
    figures = {"add": min(seconds(lambda: leaderboard.add(folder, board))[0] for folder in new[:2])}  # noqa: B023
    figures["ranked, cold"], _ = seconds(lambda: leaderboard.read_entries(board))
    figures["ranked, warm"], entries = seconds(lambda: leaderboard.read_entries(board))
    figures["leaderboard.json"], _ = seconds(lambda: leaderboard.leaderboard_json(entries))
    figures["index.html"], _ = seconds(lambda: page.page(entries))
    figures["plots"], _ = seconds(lambda: page.plots(entries))
    figures["pages of all entries"], _ = seconds(lambda: entry_page.write_pages(entries, board))
    leaderboard.build(board)
    leaderboard.add(new[2], board)
    figures["build with one more entry"], _ = seconds(lambda: leaderboard.build(board))
    figures["show"] = min(seconds(lambda: leaderboard.show(board))[0] for _ in range(3))
    return figures


def seconds(call: Callable) -> tuple[float, Any]:
    """Of this process's CPU, and what the call gives."""
    before = time.process_time()
    gives = call()
    return time.process_time() - before, gives


def run(place: Path, task: Task, number: int, rows: int, resamples: int) -> Path:
    """A made-up run with predictions, in a folder that is named as on a board."""
    chance, folder, like = np.random.default_rng(number), place / str(number), _shipped()
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
        scored[split] = _around(score_with_intervals(task, said, resamples))
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
                "pretrained": True,
            },
            "method": {"name": _METHODS[number % len(_METHODS)], "config": like.run.method.config},
            "seed": 0,
            "arguments": like.run.arguments | {"learning_rate": (1 + number) * 1e-6},
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
        learning_curve=like.learning_curve,
        provenance=like.provenance,
    )
    result.write(folder / RESULT)
    return folder.rename(place / submission_name(result))


@cache
def _shipped() -> Result:
    return Result.read(min((REPOSITORY / "leaderboard" / "submissions").glob("*--lora--*")) / RESULT)


def _around(scored: Scored) -> Scored:
    """Of few draws, an interval may be beside its score, which no record's is."""
    scores = {
        name: score.model_copy(update={"low": min(score.low, score.value), "high": max(score.high, score.value)})
        for name, score in scored.scores.items()
    }
    return scored._replace(scores=scores)


if __name__ == "__main__":
    main()
