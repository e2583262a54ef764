"""The runner against SpeechBrain's `Brain.fit`, which trains the same probe, and the same LoRA on query and value.

    pip install speechbrain    # no dependency of this package
    OMP_NUM_THREADS=1 python -m tests.benchmarks.against_speechbrain

All sides train on `sure-mini`, in turns, with the same utterances of mixed lengths in memory, batch size, epochs, AdamW
and head (projection, mean over the frames that are not padding, linear). It fails where the numbers of trained
parameters differ, or a side's loss does not fall. SpeechBrain's parts are its own: `Wav2Vec2`, `AdaptedModel` with
`LoRA`, `DynamicItemDataset`, `PaddedBatch`, `StatisticsPooling`. What differs:

- SpeechBrain has batches in random order, padded to their longest utterance; or those of a corpus sorted by length, the
  same in every epoch; or the runner's, which shuffles and groups by length.
- The runner computes what is frozen once, with the time that takes, in batches of the same size (for a corpus this
  small its own would mix most lengths): all that is below a probe's head, and the CNN below LoRA. Without cache it does
  the work that SpeechBrain does.
- With LoRA SpeechBrain goes backward through the frozen CNN too: transformers lets its output want gradients.
- SpeechBrain normalises waveforms with their padding, and keeps the learning rate. A frozen encoder would drop out in
  training; that is more work, and is switched off here.

Seconds are those of this process's CPU (no side starts another) for training, without evaluations. Prints medians, and
how many times as fast the runner is.
"""

import argparse
import copy
import functools
import itertools
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Literal

import speechbrain
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2
from speechbrain.nnet.adapters import AdaptedModel, LoRA
from speechbrain.nnet.pooling import StatisticsPooling
from tabulate import tabulate
from torch import Tensor, nn
from torch.utils.data import Subset
from transformers import set_seed
from transformers.utils import logging

from sure.audio import SAMPLE_RATE
from sure.backbone import loading
from sure.heads import PROJECTION
from sure.methods.lora import Lora
from sure.runner.batches import TrainingBatches, Utterances
from tests.benchmarks.batch_seconds import mixed_lengths
from tests.benchmarks.by_hand import BATCH, RATE, with_runner
from tests.benchmarks.runner_overhead import noise_corpus

METHODS: dict[str, dict[str, Any]] = {"linear_probe": {}, "lora": {"roles": ["query", "value"]}}
# The same in transformers' names.
_TARGETS = ["*.q_proj", "*.v_proj"]
_RUNNER, _WITHOUT, _SAME = "runner", "runner without cache", "SpeechBrain, the runner's batches"

# Of a side: seconds, numbers of trained parameters, the mean loss of each epoch.
Trained = tuple[float, int, list[float]]


def main(words: list[str] | None = None) -> dict[str, float | str]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="alternations of the sides (default: 1)")
    # With fewer there is no choice of batches by length.
    parser.add_argument("--utterances", type=int, default=64, help="of a training split (default: 64)")
    parser.add_argument("--epochs", type=int, default=2, help="passes over it (default: 2)")
    arguments = parser.parse_args(words)
    # What a model has that its checkpoint has not, at every load.
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        # Whoever trains first pays for what a process does once.
        for train in _sides(Path(folder), BATCH, "linear_probe", 1).values():
            train()
    rows, figures = [], {"version of SpeechBrain": version("speechbrain")}
    for method in METHODS:
        with tempfile.TemporaryDirectory() as folder:
            sides = _sides(Path(folder), arguments.utterances, method, arguments.epochs)
            trained: dict[str, list[Trained]] = {side: [] for side in sides}
            for _ in range(arguments.rounds):
                for side, train in sides.items():
                    trained[side].append(train())
        _refuse_void(method, trained)
        for side, found in trained.items():
            ratio = median(one[0] / of_runner[0] for one, of_runner in zip(found, trained[_RUNNER], strict=True))
            losses = found[-1][2]
            rows.append([method, side, found[0][1], losses[0], losses[-1], median(one[0] for one in found), ratio])
            if side != _RUNNER:
                figures[f"{method}: {side} / runner"] = ratio
        without = [found[0] for found in trained[_WITHOUT]]
        same = [found[0] for found in trained[_SAME]]
        figures[f"{method}: {_SAME} / {_WITHOUT}"] = median(one / of for one, of in zip(same, without, strict=True))
    headers = ["method", "side", "trained parameters", "first loss", "last", "CPU seconds", "of the runner's"]
    print(tabulate(rows, headers, tablefmt="pipe", floatfmt=".2f"))
    return figures


def _refuse_void(method: str, trained: dict[str, list[Trained]]) -> None:
    counts = {side: found[0][1] for side, found in trained.items()}
    if len(set(counts.values())) > 1:
        raise RuntimeError(f"{method}: the sides do not train the same: {counts} parameters")
    for side, found in trained.items():
        for _, _, losses in found:
            if not losses[-1] < losses[0]:
                raise RuntimeError(f"{method}: {side} does not learn: losses {losses}")


def _sides(folder: Path, utterances: int, method: str, epochs: int) -> dict[str, Callable[[], Trained]]:
    task, splits = noise_corpus(folder, mixed_lengths(utterances))
    train = Utterances(splits["train"])
    in_memory = {
        row["id"]: {
            "signal": torch.from_numpy(train.waveform(index).copy()),
            "label": task.labels.index(row["label"]),
            "seconds": row["samples"] / SAMPLE_RATE,
        }
        for index, row in enumerate(train.rows)
    }

    def runner(gigabytes: float) -> Trained:
        # Every time in a cache of its own, which is empty.
        with tempfile.TemporaryDirectory(dir=folder) as cache_dir:
            more = {"per_device_eval_batch_size": BATCH, "logging_strategy": "epoch"}
            options, place = METHODS[method], Path(cache_dir)
            seconds, trainer = with_runner(task, splits, method, options, epochs, gigabytes, place, **more)
            losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
            return seconds, _trained(trainer.model), losses

    return {
        _RUNNER: lambda: runner(20.0),
        _WITHOUT: lambda: runner(0.0),
        "SpeechBrain": lambda: _with_speechbrain(in_memory, method, epochs, folder, "random"),
        "SpeechBrain, sorted": lambda: _with_speechbrain(in_memory, method, epochs, folder, "sorted"),
        _SAME: lambda: _with_speechbrain(in_memory, method, epochs, folder, "runner"),
    }


class _Classifier(speechbrain.Brain):
    """An utterance's label, as SpeechBrain's recipes for emotions have it, with the projection of SURE's head."""

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.losses: list[float] = []

    def compute_forward(self, batch: PaddedBatch, stage: speechbrain.Stage) -> Tensor:
        signals, lengths = batch.to(self.device).signal
        if self.modules.encoder.freeze:
            self.modules.encoder.eval()
        frames = self.modules.projector(self.modules.encoder(signals, lengths))
        return self.modules.classifier(self.hparams.pooling(frames, lengths).squeeze(1))

    def compute_objectives(self, predictions: Tensor, batch: PaddedBatch, stage: speechbrain.Stage) -> Tensor:
        return nn.functional.cross_entropy(predictions, batch.label.to(self.device))

    def on_stage_end(self, stage: speechbrain.Stage, stage_loss: float, epoch: int | None = None) -> None:
        if stage == speechbrain.Stage.TRAIN:
            self.losses.append(stage_loss)


def _with_speechbrain(
    rows: dict[str, dict], method: str, epochs: int, folder: Path, order: Literal["random", "sorted", "runner"]
) -> Trained:
    set_seed(0)
    source, frozen = str(loading.SHIPPED["sure-mini"]), method == "linear_probe"
    encoder = Wav2Vec2(source, str(folder), freeze=frozen, apply_spec_augment=not frozen, dtype=torch.float32)
    width = encoder.config.hidden_size
    if not frozen:
        chosen = {"rank": Lora.r, "alpha": Lora.lora_alpha}
        encoder = AdaptedModel(encoder, LoRA, target_layers=_TARGETS, adapter_kwargs=chosen)
    brain = _Classifier(
        modules={
            "encoder": encoder,
            "projector": nn.Linear(width, PROJECTION),
            "classifier": nn.Linear(PROJECTION, 2),
        },
        opt_class=functools.partial(torch.optim.AdamW, lr=RATE, weight_decay=0.0, fused=True),
        hparams={
            "pooling": StatisticsPooling(return_std=False),
            "device": "cuda" if torch.cuda.is_available() else "cpu",
            "noprogressbar": True,
            "max_grad_norm": 1.0,
        },
    )
    # It writes into what it is given.
    dataset = DynamicItemDataset(copy.deepcopy(rows), output_keys=["id", "signal", "label"])
    batches: dict[str, Any] = {"batch_size": BATCH, "shuffle": order == "random"}
    if order == "sorted":
        dataset = dataset.filtered_sorted(sort_key="seconds")
    elif order == "runner":
        epoch, lengths = itertools.count(), [len(row["signal"]) for row in rows.values()]
        sampler = TrainingBatches(lengths, seed=0, batch_size=BATCH, epoch=lambda: next(epoch))
        # Its indices go on from one epoch to the next.
        dataset = Subset(dataset, [*range(len(rows))] * epochs)
        batches = {"batch_sampler": sampler, "collate_fn": PaddedBatch}
    started = time.process_time()
    brain.fit(range(1, epochs + 1), dataset, train_loader_kwargs=batches)
    return time.process_time() - started, _trained(brain.modules), brain.losses


def _trained(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


if __name__ == "__main__":
    main()
