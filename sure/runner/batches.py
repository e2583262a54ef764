"""From decoded splits to batches: rows, length buckets, padding to the longest utterance of the batch."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from sure.audio import SAMPLE_RATE
from sure.backbone import Backbone
from sure.task import Task

# What makes of a waveform, (samples,), and its row what the model gets: an augmentation, a cut.
Change = Callable[[np.ndarray, dict[str, Any], np.random.Generator], np.ndarray]


class Utterances(torch.utils.data.Dataset):
    """A decoded split: rows in memory, waveforms mapped from the cache on disk.

    Index `epoch * len(self) + index` is an utterance as an epoch hears it. What `change` makes of it depends on `seed`,
    epoch and index alone, not on what was loaded before: batches are loaded ahead, by several workers, and a resumed
    run hears what an uninterrupted one does.
    """

    def __init__(self, split: Dataset, change: Change | None = None, seed: int = 0) -> None:
        self.rows: list[dict[str, Any]] = split.remove_columns("waveform").to_list()
        self.change, self.seed = change, seed
        self._audio = split.select_columns("waveform").with_format("numpy")

    @classmethod
    def longest_first(cls, split: Dataset, seconds: float | None = None) -> "Utterances":
        """For evaluation, on the first `seconds` of each: similar lengths in a batch; lacking memory shows at once."""
        samples, ids = split["samples"][:], split["id"][:]
        order = sorted(range(len(split)), key=lambda index: (-samples[index], ids[index]))
        longest = None if seconds is None else round(seconds * SAMPLE_RATE)
        return cls(split.select(order), None if longest is None else lambda waveform, *_: waveform[:longest])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        epoch, index = divmod(index, len(self))
        row, waveform = self.rows[index], self._audio[index]["waveform"]
        if self.change:
            waveform = self.change(waveform, row, np.random.default_rng((self.seed, epoch, index)))
        return {**row, "waveform": waveform}


class Collator:
    """Rows with waveforms of any lengths to what the model takes."""

    def __init__(self, task: Task, backbone: Backbone) -> None:
        self.task, self.backbone = task, backbone

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        return self.task.batch(self.backbone, rows)


class TrainingOrder(Sampler[int]):
    """A random order of `Utterances`, the same for every process and for seed and epoch again.

    With `batch_size`, the utterances of one optimiser step over all processes, neighbours have similar lengths.
    """

    def __init__(self, lengths: Sequence[int], seed: int, batch_size: int | None = None) -> None:
        self.lengths, self.seed, self.batch_size = list(lengths), seed, batch_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer, when it resumes too."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        if self.batch_size is None:
            order = torch.randperm(len(self), generator=generator).tolist()
        else:
            order = get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)
        return (self.epoch * len(self) + index for index in order)
