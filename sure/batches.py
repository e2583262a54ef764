"""From decoded splits to batches: rows, length buckets, padding to the longest utterance of the batch."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from sure.backbones import Backbone
from sure.task import Task


class Utterances(torch.utils.data.Dataset):
    """A decoded split: rows in memory, waveforms mapped from the cache on disk."""

    def __init__(self, split: Dataset) -> None:
        self.rows: list[dict[str, Any]] = split.remove_columns("waveform").to_list()
        self._audio = split.select_columns("waveform").with_format("numpy")

    @classmethod
    def longest_first(cls, split: Dataset) -> "Utterances":
        """For evaluation: batches of similar lengths, and running out of memory shows at once."""
        samples, ids = split["samples"][:], split["id"][:]
        order = sorted(range(len(split)), key=lambda index: (-samples[index], ids[index]))
        return cls(split.select(order))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.rows[index], "waveform": self._audio[index]["waveform"]}


class Collator:
    """Rows with waveforms of any lengths to what the model takes."""

    def __init__(self, task: Task, backbone: Backbone) -> None:
        self.task, self.backbone = task, backbone

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        return self.backbone.inputs([row["waveform"] for row in rows]) | self.task.targets(rows)


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
