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
from sure.backbones import Backbone
from sure.task import Task


class Utterances(torch.utils.data.Dataset):
    """A decoded split: rows in memory, waveforms mapped from the cache on disk.

    `change` makes of a row's waveform what the model gets: an augmentation, a cut.
    """

    def __init__(
        self, split: Dataset, change: Callable[[np.ndarray, dict[str, Any]], np.ndarray] | None = None
    ) -> None:
        self.rows: list[dict[str, Any]] = split.remove_columns("waveform").to_list()
        self.change = change
        self._audio = split.select_columns("waveform").with_format("numpy")

    @classmethod
    def longest_first(cls, split: Dataset, seconds: float | None = None) -> "Utterances":
        """For evaluation, on the first `seconds` of each: similar lengths in a batch; lacking memory shows at once."""
        samples, ids = split["samples"][:], split["id"][:]
        order = sorted(range(len(split)), key=lambda index: (-samples[index], ids[index]))
        longest = None if seconds is None else round(seconds * SAMPLE_RATE)
        return cls(split.select(order), None if longest is None else lambda waveform, _: waveform[:longest])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row, waveform = self.rows[index], self._audio[index]["waveform"]
        return {**row, "waveform": self.change(waveform, row) if self.change else waveform}


class Collator:
    """Rows with waveforms of any lengths to what the model takes."""

    def __init__(self, task: Task, backbone: Backbone) -> None:
        self.task, self.backbone = task, backbone

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        return self.task.batch(self.backbone, rows)


class LengthBuckets(Sampler[int]):
    """A random order in which neighbours have similar lengths; the same for every process, seed and epoch again.

    `batch_size` counts the utterances of one optimiser step over all processes.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed = list(lengths), batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer, when it resumes too."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))
