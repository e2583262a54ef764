"""Overhead of the runner over a bare PyTorch loop on the same batches, as a ratio measured in one run.

    python -m tests.benchmarks.runner_overhead

Both sides train the same adapted model with AdamW on batches made by the same collator from the same cached corpus, in
turns, so that a machine that slows down slows both; seconds are those of this process's CPU. Prints the median of the
ratios.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch.utils.data import DataLoader

from sure.backbone import loading
from sure.corpus import cache
from sure.method import applying
from sure.model import ModelWithHead
from sure.runner.arguments import TrainerArguments
from sure.runner.batches import Collator, TrainingBatches, Utterances
from sure.runner.trainer import BenchmarkTrainer, callbacks
from sure.task import make_task


def main(words: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="alternations of the two sides (default: 5)")
    parser.add_argument("--batches", type=int, default=40, help="steps per round and side (default: 40)")
    parser.add_argument("--method", default="full_finetuning")
    arguments = parser.parse_args(words)

    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        task, splits = noise_corpus(Path(folder), generator.uniform(1, 3, 8 * arguments.batches))
        ratios = []
        for number in range(arguments.rounds):
            bare = bare_loop(task, splits, arguments.method)
            runner = with_runner(task, splits, arguments.method, Path(folder) / f"run{number}")
            ratios.append(runner / bare)
            print(f"round {number + 1}: bare loop {bare:.2f} s, runner {runner:.2f} s, ratio {ratios[-1]:.3f}")
    print(f"median ratio {statistics.median(ratios):.3f}")
    return {f"{arguments.method}: runner / bare loop, seconds": statistics.median(ratios)}


def noise_corpus(folder: Path, lengths: Sequence[float]):
    """Noise of so many seconds each, to train on, in two labelled folders, of which one has a tone in it to learn."""
    generator = np.random.default_rng(0)
    for split, seconds in (("train", lengths), ("validation", lengths[:2]), ("test", lengths[:2])):
        for index, length in enumerate(seconds):
            path = folder / "corpus" / split / f"label{index % 2}" / f"{index:04d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = generator.standard_normal(int(16_000 * length))
            tone = index % 2 * np.sin(0.1 * np.arange(len(noise)))
            soundfile.write(path, 0.1 * (noise + tone), 16_000)
    task = make_task("audio_classification", {})
    return task, cache.decode(task.load(folder / "corpus"), cache_dir=folder / "cache")


def adapted(task, method: str, backbone_name: str = "tiny"):
    torch.manual_seed(0)
    backbone = loading.load(backbone_name, head=True)
    model = ModelWithHead(backbone, task.build_head(backbone.width))
    return backbone, applying.apply(model, applying.configure(method, backbone))


def bare_loop(task, splits, method: str) -> float:
    """Seconds of one epoch of the loop that one would write by hand."""
    backbone, model = adapted(task, method)
    train = Utterances(splits["train"])
    batches = TrainingBatches([row["samples"] for row in train.rows], seed=0, batch_size=8)
    loader = DataLoader(train, batch_sampler=batches, collate_fn=Collator(task, backbone))
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e-4)
    model.train()
    started = time.process_time()
    for batch in loader:
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return time.process_time() - started


def with_runner(task, splits, method: str, output_dir: Path) -> float:
    """Seconds of the same epoch in the runner, without evaluation and checkpoints."""
    backbone, model = adapted(task, method)
    args = TrainerArguments(
        output_dir=str(output_dir),
        num_train_epochs=1,
        per_device_train_batch_size=8,
        learning_rate=1e-4,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        label_names=["labels"],
        disable_tqdm=True,
    )
    trainer = BenchmarkTrainer(
        task,
        Collator(task, backbone),
        Utterances(splits["train"]),
        Utterances(splits["validation"]),
        model=model,
        args=args,
        callbacks=callbacks(patience=0),
    )
    started = time.process_time()
    trainer.train()
    return time.process_time() - started


if __name__ == "__main__":
    main()
