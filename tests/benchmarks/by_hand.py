"""The runner against `Trainer` and PEFT as one writes them by hand, and against padding to a constant.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.by_hand

All sides train the same adapter, or the same probe, on `sure-mini` for the same epochs of the same noise, in turns:

- the runner, which groups by length and computes what is frozen once, with the time that takes; and without that;
- by hand: transformers' own model with a head, PEFT's adapter, waveforms in memory, batches in random order, padded to
  their longest utterance; and with the trainer's groups by length;
- the same padded to a constant, as SURE's release pads every utterance: to 12.5 s where lengths are those of connected
  digits, else to the longest there is. This takes so much longer that it is measured once.

Seconds are those of this process's CPU for training, without evaluations. Prints medians and how many times as fast the
runner is.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import peft
import torch
from tabulate import tabulate
from transformers import (
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging

from sure.audio import SAMPLE_RATE
from sure.backbone import loading
from sure.method import applying
from sure.methods.lora import Lora
from sure.model import ModelWithHead
from sure.runner.arguments import RunArguments, TrainerArguments
from sure.runner.batches import Collator, Utterances
from sure.runner.frozen import cache_frozen
from sure.runner.trainer import BenchmarkTrainer, callbacks
from tests.benchmarks.runner_overhead import noise_corpus

BATCH, RATE = 4, 1e-3
# SURE's LoRA in transformers' names for these models.
_TARGETS = ["q_proj", "k_proj", "v_proj", "out_proj", "intermediate_dense", "output_dense"]

_RUNNER, _PADDED = "runner", "padded to"


def main(words: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="alternations of the sides (default: 2)")
    parser.add_argument("--utterances", type=int, default=24, help="of a training split (default: 24)")
    parser.add_argument("--epochs", type=int, default=2, help="passes over it (default: 2)")
    parser.add_argument("--methods", nargs="+", default=["lora", "linear_probe"], choices=["lora", "linear_probe"])
    arguments = parser.parse_args(words)
    # What a model has that its checkpoint has not, at every load.
    logging.set_verbosity_error()
    generator = np.random.default_rng(0)
    corpora = {
        # As FLEURS-like digits have them: a median of 2.5 s, from 1.0 to 5.3.
        "lengths of digits": (np.clip(generator.lognormal(np.log(2.5), 0.3, arguments.utterances), 1.0, 5.3), 12.5),
        # Speech of all lengths: a median of 5 s, from 1 to 20.
        "mixed lengths": (np.clip(generator.lognormal(np.log(5.0), 0.7, arguments.utterances), 1.0, 20.0), None),
    }
    rows, figures = [], {}
    for name, (lengths, constant) in corpora.items():
        for method in arguments.methods:
            with tempfile.TemporaryDirectory() as folder:
                sides = _sides(Path(folder), lengths, constant or max(lengths), method, arguments.epochs)
                taken: dict[str, list[float]] = {side: [] for side in sides}
                for number in range(arguments.rounds):
                    for side, train in sides.items():
                        if not number or _PADDED not in side:
                            taken[side].append(train())
            for side, seconds in taken.items():
                ratio = median(one / of_runner for one, of_runner in zip(seconds, taken[_RUNNER], strict=False))
                rows.append([name, method, side, median(seconds), ratio])
                if side != _RUNNER:
                    figures[f"{method}, {name}: {side} / runner"] = ratio
            print(tabulate(rows[-len(taken) :], floatfmt=".2f", tablefmt="plain"), flush=True)
    headers = ["lengths", "method", "side", "CPU seconds", "of the runner's"]
    print(tabulate(rows, headers, tablefmt="pipe", floatfmt=".2f"))
    return figures


def _sides(
    folder: Path, lengths: Sequence[float], constant: float, method: str, epochs: int
) -> dict[str, Callable[[], float]]:
    task, splits = noise_corpus(folder, lengths)
    train = Utterances(splits["train"])
    in_memory = [
        {"input_values": train.waveform(index), "labels": task.labels.index(row["label"])}
        for index, row in enumerate(train.rows)
    ]

    def runner(gigabytes: float) -> float:
        # Every time in a cache of its own, which is empty.
        with tempfile.TemporaryDirectory(dir=folder) as cache_dir:
            return with_runner(task, splits, method, {}, epochs, gigabytes, Path(cache_dir))[0]

    return {
        _RUNNER: lambda: runner(20.0),
        "runner without cache": lambda: runner(0.0),
        "by hand": lambda: _by_hand(in_memory, method, epochs, folder),
        "by hand, by length": lambda: _by_hand(in_memory, method, epochs, folder, grouped=True),
        f"by hand, {_PADDED} {constant:.1f} s": lambda: _by_hand(in_memory, method, epochs, folder, constant=constant),
    }


def with_runner(
    task, splits, method: str, options: dict, epochs: int, gigabytes: float, cache_dir: Path, **arguments
) -> tuple[float, BenchmarkTrainer]:
    """Seconds of training and of computing what so many gigabytes of cache hold; `arguments` are the trainer's."""
    set_seed(0)
    backbone = loading.load("sure-mini")
    model = ModelWithHead(backbone, task.build_head(backbone.width))
    model = applying.apply(model, applying.configure(method, backbone, options))
    run = RunArguments(
        task=task.name, data_dir=str(cache_dir), method=method, cache_dir=str(cache_dir), cache_frozen=gigabytes
    )
    args = TrainerArguments(**_arguments(cache_dir, epochs) | arguments, label_names=["labels"])
    train, validation = Utterances(splits["train"]), Utterances(splits["validation"])
    trainer = BenchmarkTrainer(
        task, Collator(task, backbone), train, validation, model=model, args=args, callbacks=callbacks(patience=0)
    )
    started = time.process_time()
    cache_frozen(model, train, [], run, args)
    trainer.train()
    return time.process_time() - started, trainer


def _by_hand(
    rows: list[dict], method: str, epochs: int, folder: Path, *, grouped: bool = False, constant: float | None = None
) -> float:
    set_seed(0)
    place = loading.SHIPPED["sure-mini"]
    extractor = AutoFeatureExtractor.from_pretrained(place)
    model = AutoModelForAudioClassification.from_pretrained(place, num_labels=2, layerdrop=0.0, dtype=torch.float32)
    if method == "lora":
        chosen = {"r": Lora.r, "lora_alpha": Lora.lora_alpha, "lora_dropout": Lora().lora_dropout}
        config = peft.LoraConfig(target_modules=_TARGETS, modules_to_save=["projector", "classifier"], **chosen)
        model = peft.get_peft_model(model, config)
    else:
        model.freeze_base_model()

    def collate(some: list[dict]) -> dict[str, torch.Tensor]:
        padding = {"padding": True}
        if constant is not None:
            padding = {"padding": "max_length", "max_length": round(constant * SAMPLE_RATE), "truncation": True}
        batch = extractor(
            [row["input_values"] for row in some],
            sampling_rate=SAMPLE_RATE,
            return_attention_mask=True,
            return_tensors="pt",
            **padding,
        )
        return {**batch, "labels": torch.tensor([row["labels"] for row in some])}

    args = TrainingArguments(
        **_arguments(folder / "by-hand", epochs),
        use_cpu=not torch.accelerator.is_available(),
        remove_unused_columns=False,
        train_sampling_strategy="group_by_length" if grouped else "random",
        report_to="none",
    )
    # Groups by length ask the extractor what a batch's input is.
    trainer = Trainer(model, args, data_collator=collate, train_dataset=rows, processing_class=extractor)
    started = time.process_time()
    trainer.train()
    return time.process_time() - started


def _arguments(folder: Path, epochs: int) -> dict:
    """What is the same for all sides."""
    return {
        "output_dir": str(folder),
        "num_train_epochs": epochs,
        "per_device_train_batch_size": BATCH,
        "learning_rate": RATE,
        "eval_strategy": "no",
        "save_strategy": "no",
        "load_best_model_at_end": False,
        "disable_tqdm": True,
        "logging_steps": 1000,
    }


if __name__ == "__main__":
    main()
