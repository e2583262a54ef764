"""From decoded splits to batches: rows, length buckets, padding to the longest utterance of the batch."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers.trainer_pt_utils import BatchRebalanceSampler, get_length_grouped_indices

from sure.audio import SAMPLE_RATE
from sure.backbone import Backbone
from sure.task import Task

# What makes of a waveform, (samples,), and its row what the model gets: an augmentation, a cut.
Change = Callable[[np.ndarray, dict[str, Any], np.random.Generator], np.ndarray]


class Utterances(torch.utils.data.Dataset):
    """A decoded split: rows in memory, waveforms mapped from the cache on disk.

    Index `epoch * len(self) + index` is an utterance as an epoch hears it. What `change` makes of it depends on `seed`,
    epoch and index alone, not on what was loaded before: batches are loaded ahead, by several workers, and a resumed
    run hears what an uninterrupted one does. `~index` is the same utterance where it does not count (`Collator`).
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
        counts = index >= 0
        epoch, index = divmod(index if counts else ~index, len(self))
        row, waveform = self.rows[index], self._audio[index]["waveform"]
        if self.change:
            waveform = self.change(waveform, row, np.random.default_rng((self.seed, epoch, index)))
        return {**row, "waveform": waveform} | ({} if counts else {"counts": False})


class Collator:
    """Rows with waveforms of any lengths to what the model takes.

    A batch that does not count, for a process that would have none, has `items`, zero.
    """

    def __init__(self, task: Task, backbone: Backbone) -> None:
        self.task, self.backbone = task, backbone

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        batch = self.task.batch(self.backbone, rows)
        return batch if rows[0].get("counts", True) else batch | {"items": torch.tensor(0)}


class TrainingBatches(BatchRebalanceSampler):
    """The batches of one process, epoch after epoch: lists of indices of `Utterances`.

    They depend on seed and epoch alone, so that a resumed run has those of an uninterrupted one, and all processes
    divide the same steps among them: no utterance twice in an epoch, none left out. Every epoch has the same number of
    batches, and every process the same, so that where the last step has too few utterances for all, those left without
    get one that does not count. (Of the base class is nothing but its name, by which the trainer knows samplers of
    batches that are one process's.)
    """

    def __init__(
        self,
        lengths: Sequence[int],
        seed: int,
        *,
        batch_size: int,
        accumulated: int = 1,
        processes: int = 1,
        process: int = 0,
        by_length: bool = True,
        epoch: Callable[[], int] = lambda: 0,
    ) -> None:
        """`batch_size` utterances make a batch, of which a step has `accumulated` in each process.

        With `by_length` neighbours in a step have similar lengths. `epoch` tells the epoch when one begins.
        """
        self.lengths, self.seed, self.by_length, self._current = list(lengths), seed, by_length, epoch
        # Under the name `batch_size` Accelerate would fill up those that are smaller.
        self._batch_size, self.processes, self.process = batch_size, processes, process
        self.step_size = batch_size * accumulated * processes

    def __len__(self) -> int:
        """Batches of each process."""
        return math.ceil(len(self.lengths) / (self._batch_size * self.processes))

    def __iter__(self) -> Iterator[list[int]]:
        epoch = self._current()
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        if self.by_length:
            order = get_length_grouped_indices(self.lengths, self.step_size, generator=generator)
        else:
            order = torch.randperm(len(self.lengths), generator=generator).tolist()
        order = [epoch * len(order) + index for index in order]
        whole = len(order) // self.step_size * self.step_size
        batches = [order[first : first + self._batch_size] for first in range(0, whole, self._batch_size)]
        # The last step is short: what there is of it is divided evenly.
        last, many = order[whole:], len(self) * self.processes - len(batches)
        batches += [part.tolist() or [~last[0]] for part in np.array_split(last, many)] if many else []
        return iter(batches[self.process :: self.processes])
