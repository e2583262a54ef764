"""Batches of a number of utterances against batches of so many seconds (`--max_batch_seconds`), on mixed lengths.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.batch_seconds

Padding is counted on the samplers, over 2,000 utterances: its share in what the model hears. Time is that of this
process's CPU for an epoch of LoRA on `sure-mini`, in steps of 16 utterances, and for an evaluation, in turns; so few
utterances are hardly grouped by length whatever the strategy.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from transformers import set_seed

from sure.audio import SAMPLE_RATE
from sure.backbone import loading
from sure.method import applying
from sure.model import ModelWithHead
from sure.runner.arguments import TrainerArguments
from sure.runner.batches import Collator, EvaluationBatches, Room, TrainingBatches, Utterances
from sure.runner.trainer import BenchmarkTrainer, callbacks
from tests.benchmarks.runner_overhead import noise_corpus

STEP, EVALUATED, SECONDS = 16, 32, 40.0
_SIDES = {f"{SECONDS:g} s": SECONDS, "a number": None}


def main(words: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="alternations of the sides (default: 2)")
    parser.add_argument("--utterances", type=int, default=48, help="to train on, and to evaluate (default: 48)")
    arguments = parser.parse_args(words)
    figures = {}
    for strategy in ("group_by_length", "random"):
        for side, seconds in _SIDES.items():
            shares = padding(mixed_lengths(2_000), seconds, strategy == "group_by_length")
            # An evaluation is in order of length whatever the strategy.
            named = {f"training, {strategy}": shares["training"], "evaluation": shares["evaluation"]}
            figures |= {f"{what}, by {side}: padding, longest batch": said for what, said in named.items()}
    with tempfile.TemporaryDirectory() as folder:
        task, splits = noise_corpus(Path(folder), mixed_lengths(arguments.utterances))
        taken = {(side, strategy): [] for side in _SIDES for strategy in ("group_by_length", "random")}
        for _ in range(arguments.rounds):
            for side, strategy in taken:
                taken[side, strategy].append(_with_runner(task, splits, _SIDES[side], strategy, Path(folder) / "out"))
    by_seconds, by_number = _SIDES
    for strategy in ("group_by_length", "random"):
        ratios = zip(taken[by_number, strategy], taken[by_seconds, strategy], strict=True)
        training, evaluation = zip(*(np.divide(*both) for both in ratios), strict=True)
        figures[f"training, {strategy}: by {by_number} / by {by_seconds}, CPU seconds"] = float(median(training))
    figures[f"evaluation: by {by_number} / by {by_seconds}, CPU seconds"] = float(median(evaluation))
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    return figures


def mixed_lengths(utterances: int) -> np.ndarray:
    """Seconds: a median of 5, from 1 to 20."""
    return np.clip(np.random.default_rng(0).lognormal(np.log(5.0), 0.7, utterances), 1.0, 20.0)


def padding(seconds: np.ndarray, most: float | None, by_length: bool) -> dict[str, str]:
    """Of an epoch and of an evaluation: the share of what a model hears that is padding, and its longest batch."""
    lengths, room = (seconds * SAMPLE_RATE).astype(int).tolist(), Room(most) if most else None
    steps = TrainingBatches(lengths, 0, batch_size=STEP, by_length=by_length, room=room)
    parts = [part for batch in steps for part in (batch if room else [batch])]
    ordered = sorted(lengths, reverse=True)
    fixed = [range(first, min(first + EVALUATED, len(ordered))) for first in range(0, len(ordered), EVALUATED)]
    evaluated = EvaluationBatches(ordered, room) if room else fixed
    return {
        what: _share([[of[index] for index in batch] for batch in batches])
        for what, of, batches in (("training", lengths, parts), ("evaluation", ordered, evaluated))
    }


def _share(batches: list[list[int]]) -> str:
    heard = [len(batch) * max(batch) for batch in batches]
    return f"{1 - sum(map(sum, batches)) / sum(heard):.1%}, {max(heard) / SAMPLE_RATE:.0f} s ({len(batches)} batches)"


def _with_runner(task, splits, seconds: float | None, strategy: str, folder: Path) -> tuple[float, float]:
    """CPU seconds of an epoch, and of an evaluation of the same utterances."""
    set_seed(0)
    backbone = loading.load("sure-mini")
    model = ModelWithHead(backbone, task.build_head(backbone.width))
    model = applying.apply(model, applying.configure("lora", backbone))
    args = TrainerArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=STEP,
        per_device_eval_batch_size=EVALUATED,
        max_batch_seconds=seconds,
        train_sampling_strategy=strategy,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        label_names=["labels"],
        report_to="none",
        disable_tqdm=True,
    )
    train, longest_first = Utterances(splits["train"]), Utterances.longest_first(splits["train"])
    trainer = BenchmarkTrainer(
        task, Collator(task, backbone), train, longest_first, model=model, args=args, callbacks=callbacks(patience=0)
    )
    started = time.process_time()
    trainer.train()
    trained = time.process_time()
    trainer.evaluate()
    return trained - started, time.process_time() - trained


if __name__ == "__main__":
    main()
