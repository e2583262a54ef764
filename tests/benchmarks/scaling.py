"""Whether costs grow with the number of utterances as they should: CPU time and memory of each, at several sizes.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.scaling

A corpus of noise of 0.05 s is decoded into an empty cache, opened again from there, read once in training order, and
evaluated by a tiny model with random weights; its predictions are scored with their intervals. Each size runs in a
process of its own. Transcripts of sixteen words or so, a tenth of them wrong, and ten times as many trials of a
thousand speakers are made up and scored in another. Memory is what a process has for itself (anonymous pages: the cache
is mapped from disk), the most that it had during a part beyond what it had before all of them, or before rows that are
made up were scored.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from tabulate import tabulate
from torch.utils.data import DataLoader
from transformers.utils import logging

from sure.audio import SAMPLE_RATE
from sure.corpus import cache
from sure.runner.arguments import TrainerArguments
from sure.runner.batches import Collator, TrainingBatches, Utterances
from sure.runner.trainer import BenchmarkTrainer, callbacks
from sure.task import make_task
from sure.task.scoring import score_with_intervals
from tests.benchmarks.runner_overhead import adapted

SECONDS = 0.05
LABELS = ("one", "two", "three", "four")
# Utterances of a speaker: as many speakers as there are, they are drawn with all they said.
_PER_SPEAKER = 20
# Of trials.
_SPEAKERS = 1_000
_BETWEEN_LOOKS = 0.02


def main(words: list[str] | None = None) -> dict[str, str]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    arguments = parser.parse_args(words)
    if not sys.platform.startswith("linux"):
        sys.exit("Memory is read from /proc: this needs Linux.")
    found = {}
    for size in arguments.sizes:
        found[size] = {}
        for part in (measure, measure_scoring):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                found[size] |= pool.submit(part, size).result()
        print(_table({size: found[size]}), flush=True)
    print(_table(found))
    parts, sizes = found[arguments.sizes[0]], " / ".join(f"{size:,}" for size in arguments.sizes)
    return {
        f"{part}: {unit} at {sizes}": " / ".join(f"{found[size][part][index]:,.0f}" for size in arguments.sizes)
        for index, unit in enumerate(("µs an utterance", "MB"))
        for part in parts
    }


def _table(found: dict[int, dict[str, tuple[float, float]]]) -> str:
    rows = [[part, f"{size:,}", *figures] for size, parts in found.items() for part, figures in parts.items()]
    headers = ["part", "utterances", "µs an utterance", "MB"]
    return tabulate(sorted(rows, key=lambda row: row[0]), headers, tablefmt="pipe", floatfmt=".1f")


def measure(size: int) -> dict[str, tuple[float, float]]:
    """By part, CPU time in microseconds an utterance, and megabytes of memory."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(prefix="sure-scaling-") as folder:
        place = Path(folder)
        _corpus(place / "corpus", size)
        task = make_task("audio_classification", {})
        before = _anonymous()

        @contextmanager
        def part(name: str) -> Iterator[None]:
            started = time.process_time()
            with _most_memory() as most:
                yield
            found[name] = 1e6 * (time.process_time() - started) / size, (most[0] - before) / 1e6

        with part("decoding"):
            cache.decode(task.load(place / "corpus"), cache_dir=place / "cache")
        with part("opening what is decoded"):
            splits = cache.decode(task.load(place / "corpus"), cache_dir=place / "cache")
        with part("loading"):
            utterances = Utterances.longest_first(splits["train"])
            backbone, model = adapted(task, "linear_probe")
            batches = TrainingBatches([row["samples"] for row in utterances.rows], seed=0, batch_size=32)
            for _ in DataLoader(utterances, batch_sampler=batches, collate_fn=Collator(task, backbone)):
                pass
        args = TrainerArguments(
            output_dir=str(place),
            eval_strategy="no",
            load_best_model_at_end=False,
            label_names=["labels"],
            disable_tqdm=True,
            report_to="none",
        )
        trainer = BenchmarkTrainer(
            task,
            Collator(task, backbone),
            utterances,
            utterances,
            model=model,
            args=args,
            callbacks=callbacks(patience=0),
        )
        with part("evaluation"):
            rows = trainer.predict_rows(utterances, keep=False)
        with part("scoring"):
            score_with_intervals(task, rows)
    return found


def measure_scoring(size: int) -> dict[str, tuple[float, float]]:
    """As `measure`, of rows that other tasks have; of trials for ten at a time."""
    found = {}
    for name, task, rows in (
        ("scoring a transcript", make_task("asr_manifest", {}), _transcripts(size)),
        ("scoring ten trials", make_task("sv_voxceleb1", {}), _trials(10 * size)),
    ):
        before, started = _anonymous(), time.process_time()
        with _most_memory() as most:
            score_with_intervals(task, rows)
        found[name] = 1e6 * (time.process_time() - started) / size, (most[0] - before) / 1e6
    return found


def _transcripts(size: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(2_000)])
    rows = []
    for index in range(size):
        reference = generator.choice(words, generator.integers(8, 25))
        prediction = np.where(generator.random(len(reference)) < 0.1, "wrong", reference)
        texts = {"reference": " ".join(reference), "prediction": " ".join(prediction)}
        rows.append({"id": f"{index:07d}", "speaker": f"speaker{index // _PER_SPEAKER}", **texts})
    return rows


def _trials(size: int) -> list[dict[str, Any]]:
    """Half of them targets."""
    generator = np.random.default_rng(0)
    one = generator.integers(_SPEAKERS, size=size)
    other = (one + generator.integers(1, _SPEAKERS, size=size)) % _SPEAKERS
    target = generator.random(size) < 0.5
    scores = generator.normal(1.5 * target)
    return [
        {
            "id": f"{index:07d}",
            "speaker": f"speaker{one[index]}",
            "test_speaker": f"speaker{one[index] if target[index] else other[index]}",
            "reference": int(target[index]),
            "prediction": float(scores[index]),
        }
        for index in range(size)
    ]


def _corpus(folder: Path, size: int) -> None:
    """A manifest of so many files to train on, each of its own noise, and a few of other splits."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    with (folder / "manifest.csv").open("w") as manifest:
        print("path,label,split,speaker", file=manifest)
        for index in range(size + 2 * len(LABELS)):
            split = "train" if index < size else ("validation", "test")[index % 2]
            name, label = f"{index // 1000}/{index:06d}.wav", LABELS[index // 2 % len(LABELS)]
            (folder / name).parent.mkdir(exist_ok=True)
            noise = generator.normal(0, 0.1, round(SECONDS * SAMPLE_RATE)).astype(np.float32)
            soundfile.write(folder / name, noise, SAMPLE_RATE)
            print(f"{name},{label},{split},{split}{index // _PER_SPEAKER}", file=manifest)


@contextmanager
def _most_memory() -> Iterator[list[int]]:
    """Looks from time to time; gives the most so far."""
    most, over = [_anonymous()], threading.Event()

    def look() -> None:
        while not over.wait(_BETWEEN_LOOKS):
            most[0] = max(most[0], _anonymous())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def _anonymous() -> int:
    """Bytes that this process has in memory and not on disk."""
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


if __name__ == "__main__":
    main()
