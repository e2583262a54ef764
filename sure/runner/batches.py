"""From decoded splits to batches: rows, length buckets, padding to the longest utterance of the batch."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Subset
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

    # What a frozen part of the model gives for each, which a row then has instead of its waveform.
    frozen: "Sequence[Output] | None" = None

    def __init__(
        self, split: Dataset, change: Change | None = None, seed: int = 0, seconds: float | None = None
    ) -> None:
        """Of each the first `seconds`; None: all of it."""
        self.rows: list[dict[str, Any]] = split.remove_columns("waveform").to_list()
        self.change, self.seed, self.seconds = change, seed, seconds
        self._audio = split.select_columns("waveform").with_format("numpy")

    @classmethod
    def longest_first(cls, split: Dataset, seconds: float | None = None) -> "Utterances":
        """For evaluation, on the first `seconds` of each: similar lengths in a batch; lacking memory shows at once."""
        samples, ids = split["samples"][:], split["id"][:]
        order = sorted(range(len(split)), key=lambda index: (-samples[index], ids[index]))
        return cls(split.select(order), seconds=seconds)

    @property
    def samples(self) -> list[int]:
        """The length of each, before any change."""
        most = math.inf if self.seconds is None else round(self.seconds * SAMPLE_RATE)
        return [min(row["samples"], most) for row in self.rows]

    @property
    def repeats(self) -> bool:
        """Whether an utterance is the same in every epoch."""
        return self.change is None

    @property
    def contents(self) -> list[list]:
        """What is heard of each, whatever its file is called."""
        return [[row["sha256"], row.get("start"), row.get("end")] for row in self.rows]

    def parts(self, number: int) -> "Iterator[Utterances]":
        """So many at a time, in their order, as they are before any change."""
        for first in range(0, len(self), number):
            places, part = range(first, min(first + number, len(self))), copy.copy(self)
            part.rows, part._audio = self.rows[first : first + number], self._audio.select(places)
            part.change = None
            if self.frozen is not None:
                part.frozen = Subset(self.frozen, places)
            yield part

    def waveform(self, index: int) -> np.ndarray:
        """The utterance before any change."""
        waveform = self._audio[index]["waveform"]
        return waveform if self.seconds is None else waveform[: round(self.seconds * SAMPLE_RATE)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | list[int]) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, list):
            return [self[one] for one in index]
        counts = index >= 0
        epoch, index = divmod(index if counts else ~index, len(self))
        row = self.rows[index] if counts else self.rows[index] | {"counts": False}
        if self.frozen is not None:
            return {**row, "frozen": self.frozen[index]}
        waveform = self.waveform(index)
        if self.change:
            waveform = self.change(waveform, row, np.random.default_rng((self.seed, epoch, index)))
        return {**row, "waveform": waveform}


class Collator:
    """Rows with waveforms of any lengths to what the model takes; of a batch in parts, each part.

    A batch that does not count, for a process that would have none, has `items`, zero.
    """

    def __init__(self, task: Task, backbone: Backbone) -> None:
        self.task, self.backbone = task, backbone

    def __call__(
        self, rows: Sequence[dict[str, Any]] | Sequence[list[dict[str, Any]]]
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        if isinstance(rows[0], list):
            return [self(part) for part in rows]
        if "frozen" in rows[0]:
            batch = with_frozen(self.backbone, [row["frozen"] for row in rows]) | self.task.targets(rows)
        else:
            batch = self.task.batch(self.backbone, rows)
        return batch if rows[0].get("counts", True) else batch | {"items": torch.tensor(0)}


@dataclass(frozen=True)
class Layout:
    """What is the same for all outputs of a frozen part: their type, how many numbers, and which axis is frames.

    Of the whole backbone, or of a part behind which the input still says where padding is; `input_shape` and
    `mask_size` are those of a batch of the model's inputs, where every utterance fills a window.
    """

    dtype: str
    numbers: int
    time_axis: int
    whole: bool
    input_shape: list[int]
    mask_size: int | None


class Output(NamedTuple):
    """What a frozen part gives for an utterance, and how long the input is by the attention mask, if there is one."""

    output: Tensor
    length: int
    layout: Layout


def with_frozen(backbone: Backbone, outputs: Sequence[Output]) -> dict[str, Tensor]:
    """A batch that brings what a frozen part gives, padded with zeros, in place of waveforms.

    Of the whole backbone with a mask of its frames. Otherwise with an attention mask and an input of the right shape,
    in which nothing is: the model asks it for its size.
    """
    layout, main = outputs[0].layout, backbone.model.main_input_name
    axis, frames = layout.time_axis, [one.output.shape[layout.time_axis] for one in outputs]
    if layout.whole:
        mask = torch.arange(max(frames)) < torch.tensor(frames).unsqueeze(1)
        return {main: torch.zeros(len(outputs)), "frozen": _padded(outputs, axis, max(frames)), "frozen_mask": mask}
    shape, longest, batch = list(layout.input_shape), max(frames), {}
    if layout.mask_size is not None:
        lengths = torch.tensor([one.length for one in outputs]).unsqueeze(1)
        size = layout.mask_size
        if backbone.window is None:
            shape[0] = size = max(int(lengths.max()), backbone.shortest_batch)
        batch["attention_mask"] = (torch.arange(size) < lengths).int()
    batch[main] = torch.zeros(()).expand(len(outputs), *shape)
    if backbone.window is None and batch.get("attention_mask") is not None:
        longest = backbone.frame_mask(batch[main], batch["attention_mask"]).shape[1]
    return batch | {"frozen": _padded(outputs, axis, longest)}


def _padded(outputs: Sequence[Output], axis: int, frames: int) -> Tensor:
    shape = list(outputs[0].output.shape)
    shape[axis] = frames
    padded = outputs[0].output.new_zeros(len(outputs), *shape)
    for place, one in zip(padded, outputs, strict=True):
        place.narrow(axis, 0, one.output.shape[axis]).copy_(one.output)
    return padded


@dataclass(frozen=True)
class Room:
    """What goes through the model at once: so many seconds, as they are padded, or one utterance that is longer."""

    seconds: float
    # How long every utterance is made, of a model that hears windows or a task that crops.
    window: float | None = None
    # How many times as long an utterance may become.
    stretch: float = 1.0

    @classmethod
    def of(cls, seconds: float | None, backbone: Backbone) -> "Room | None":
        """For a backbone; None where there is no limit."""
        return cls(seconds, backbone.window) if seconds else None

    def heard(self, samples: int) -> float:
        """Seconds of an utterance by itself."""
        return self.window or samples / SAMPLE_RATE * self.stretch

    def beyond(self, utterances: Utterances) -> list[str]:
        """The ids of those that are longer."""
        pairs = zip(utterances.rows, utterances.samples, strict=True)
        return [row["id"] for row, samples in pairs if self.heard(samples) > self.seconds]

    def parts(self, lengths: Sequence[int], processes: int = 1) -> Iterator[tuple[int, int]]:
        """Where each part of utterances begins, the longest first, and how many it has for each of the processes.

        In the last one there may be fewer than that for all.
        """
        start = 0
        while start < len(lengths):
            fitting = max(1, int(self.seconds / self.heard(lengths[start])))
            number = min(fitting, math.ceil((len(lengths) - start) / processes))
            yield start, number
            start += number * processes


class EvaluationBatches(BatchRebalanceSampler):
    """The batches of one process for an evaluation, the longest first, of as many utterances as there is room for.

    What processes have at the same time are as many utterances each, so that outputs can be gathered; at the end the
    last one is repeated.
    """

    def __init__(self, lengths: Sequence[int], room: Room, processes: int = 1, process: int = 0) -> None:
        last = len(lengths) - 1
        self._batches = [
            [min(start + process * number + place, last) for place in range(number)]
            for start, number in room.parts(lengths, processes)
        ]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)


class TrainingBatches(BatchRebalanceSampler):
    """The batches of one process, epoch after epoch: lists of indices of `Utterances`, or with `room` of such lists.

    They depend on seed and epoch alone, so that a resumed run has those of an uninterrupted one, and all processes
    divide the same steps among them: no utterance twice in an epoch, none left out. Every epoch has the same number of
    batches, and every process the same, so that where the last step has too few utterances for all, those left without
    get one that does not count. `room` changes no step: batches are cut into parts, in every process as many, which go
    through the model one after another. (Of the base class is nothing but its name, by which the trainer knows
    samplers of batches that are one process's.)
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
        room: Room | None = None,
        epoch: Callable[[], int] = lambda: 0,
    ) -> None:
        """`batch_size` utterances make a batch, of which a step has `accumulated` in each process.

        With `by_length` neighbours in a step have similar lengths. `epoch` tells the epoch when one begins.
        """
        self.lengths, self.seed, self.by_length, self._current = list(lengths), seed, by_length, epoch
        self.room = room
        # Under the name `batch_size` Accelerate would fill up those that are smaller.
        self._batch_size, self.processes, self.process = batch_size, processes, process
        self.step_size = batch_size * accumulated * processes

    def __len__(self) -> int:
        """Batches of each process."""
        return math.ceil(len(self.lengths) / (self._batch_size * self.processes))

    def __iter__(self) -> Iterator[list[int] | list[list[int]]]:
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
        if self.room is None:
            return iter(batches[self.process :: self.processes])
        return (
            self._parts(batches[first : first + self.processes]) for first in range(0, len(batches), self.processes)
        )

    def _parts(self, batches: Sequence[list[int]]) -> list[list[int]]:
        """The parts of this process's among batches that processes have at the same time."""
        cut = []
        for batch in batches:
            batch = sorted(batch, key=self._length, reverse=True)
            parts = self.room.parts([self._length(index) for index in batch])
            cut.append([batch[start : start + number] for start, number in parts])
        mine = cut[self.process]
        # Where parameters lie in parts, processes wait for one another in each pass.
        while len(mine) < max(map(len, cut)):
            most = max(mine, key=len)
            if len(most) > 1:
                mine.remove(most)
                half = len(most) // 2
                mine += [most[:half], most[half:]]
            else:
                mine.append([min(mine[-1][0], ~mine[-1][0])])
        return mine

    def _length(self, index: int) -> int:
        return self.lengths[(index if index >= 0 else ~index) % len(self.lengths)]
