"""What frozen parts of a backbone give, computed once and mapped from disk from then on.

<cache>/frozen/<key>/states.bin     a split's outputs, one utterance after another, the longest first
<cache>/frozen/<key>/index.npy      by utterance: where its output begins, its shape, the length of its input
<cache>/frozen/<key>/settings.json  what of the outputs is the same for all

The key is of the utterances' audio, the backbone, the part and the precision, whatever run asks: methods, seeds and
processes share what is there. Where it would take more than the limit, those that nobody has used for longest leave.
"""

import dataclasses
import hashlib
import inspect
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from filelock import Timeout
from peft import PeftModel
from torch import Tensor
from tqdm import tqdm

import sure
from sure.backbone import Backbone
from sure.backbone.frozen import CNN, FrozenPart, frozen_parts
from sure.corpus import cache
from sure.files import default_folder, write_atomically
from sure.model import ModelWithHead
from sure.record import Cached
from sure.runner.arguments import RunArguments, TrainerArguments
from sure.runner.batches import Layout, Output, Room, Utterances

# Counted up when what is kept changes, so that older outputs are not read.
_FORMAT = 1
_STATES, _INDEX, _SETTINGS = "states.bin", "index.npy", "settings.json"
_GIGABYTE = 10**9

# Fewer epochs do not pay for computing outputs beforehand.
EPOCHS = 2

_log = logging.getLogger("sure")


class Outputs:
    """The outputs of a split's utterances, in its order, mapped into memory."""

    def __init__(self, folder: Path, places: Sequence[int]) -> None:
        self.folder, self.places = folder, places
        self.layout = Layout(**json.loads((folder / _SETTINGS).read_text(encoding="utf-8")))
        self._index = np.load(folder / _INDEX)
        self._mapped = self._map()

    def _map(self) -> Tensor:
        # From now on it can be read, whoever deletes it.
        file, layout = str(self.folder / _STATES), self.layout
        return torch.from_file(file, shared=False, size=layout.numbers, dtype=getattr(torch, layout.dtype))

    def __getitem__(self, index: int) -> Output:
        start, length, *shape = self._index[self.places[index]].tolist()
        output = self._mapped[start : start + int(np.prod(shape))].view(shape)
        return Output(output, length, self.layout)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_mapped"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A process that loads batches maps the file itself.
        vars(self).update(state)
        self._mapped = self._map()


def cache_frozen(
    model: PeftModel, training: Utterances, evaluations: Sequence[Utterances], run: RunArguments, args: TrainerArguments
) -> Cached | None:
    """Let utterances bring what a frozen part of an adapted model gives for them, as far as this pays.

    What there is in the cache is used whatever the run's length, and else computed for a run of two epochs or more.
    Says in the log what is cached, and why not more is; None where nothing is.
    """
    base = model.get_base_model()
    if not run.cache_frozen or not isinstance(base, ModelWithHead):
        return None
    parts, by_chance = frozen_parts(model.to(args.device), base.source)
    store = _Store(run, args, base.source, [of for of in (training, *evaluations) if of.repeats], len(training))
    for part in parts:
        try:
            cached = store.let_bring(part)
        except OSError as error:
            _log.warning("What the frozen %s gives is not cached: %s.", part.name, error)
            continue
        if cached is not None:
            part.stand_in(base.source)
            limits = [] if training.repeats else ["for evaluations alone, since training changes its waveforms"]
            limits += [by_chance] if by_chance and not part.whole else []
            _log.warning("Cached: %s (%s).", cached.part, "; ".join([store.said, *limits]))
            return cached
    if by_chance and not parts:
        _log.warning("Nothing frozen is cached: %s.", by_chance)
    return None


class _Store:
    """The outputs of one run's utterances."""

    def __init__(
        self,
        run: RunArguments,
        args: TrainerArguments,
        backbone: Backbone,
        utterances: Sequence[Utterances],
        training: int,
    ) -> None:
        """`training` is the number of utterances of an epoch."""
        self.backbone, self.utterances = backbone, utterances
        self.folder = (Path(run.cache_dir) if run.cache_dir else default_folder()) / "frozen"
        self.limit = run.cache_frozen * _GIGABYTE
        self.device, self.batch_size = args.device, args.per_device_eval_batch_size
        self.room = Room.of(args.max_batch_seconds, backbone)
        self.half = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
        most = args.max_steps * args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        self.worth_building = (most if args.max_steps > 0 else args.num_train_epochs * training) >= EPOCHS * training
        self.settings = [_FORMAT, sure.__version__, torch.__version__, transformers.__version__, args.tf32]
        self.settings += [self.device.type, str(self.half), run.max_seconds, *_identity(backbone)]
        self.said = ""

    def let_bring(self, part: FrozenPart) -> Cached | None:
        """What it took where all utterances bring the part's outputs now; None where they do not.

        Raises `OSError` where the cache cannot be written.
        """
        if part.means and self.half:
            # Sums in half precision come out differently in another order.
            part = FrozenPart(part.name, part.module, part.all_states)
        wanted = [self._wanted(part, of) for of in self.utterances]
        missing = {folder: of for (folder, _), of in zip(wanted, self.utterances, strict=True) if not _there(folder)}
        seconds = 0.0
        if missing:
            if not self.worth_building:
                return None
            started = time.perf_counter()
            needed = {folder: self._size(part, of) for folder, of in missing.items()}
            if not self._make_room(part, sum(needed.values()), keep={folder for folder, _ in wanted}):
                return None
            for folder, of in missing.items():
                with cache.locked_for(folder):
                    # Another run may have built it while this one waited.
                    if not _there(folder):
                        self._build(part, of, folder)
            seconds = time.perf_counter() - started
        opened = [Outputs(folder, places) for folder, places in wanted]
        for of, outputs in zip(self.utterances, opened, strict=True):
            of.frozen = outputs
            # What nobody has used for longest leaves first; of another user's cache the time cannot be set.
            with suppress(OSError):
                os.utime(outputs.folder / _INDEX)
        size = sum((folder / _STATES).stat().st_size for folder in {folder for folder, _ in wanted})
        self.said = f"{size / 10**6:,.0f} MB, " + (f"{seconds:.0f} s to compute" if missing else "there already")
        return Cached(part=part.description, seconds=seconds)

    def _wanted(self, part: FrozenPart, utterances: Utterances) -> tuple[Path, list[int]]:
        """The folder of a split's outputs, and by utterance the place of its output there."""
        contents = [json.dumps(content) for content in utterances.contents]
        places = {content: place for place, content in enumerate(sorted(set(contents)))}
        key = cache.key_of([*self.settings, part.description, utterances.seconds, list(places)])
        return self.folder / key, [places[content] for content in contents]

    def _size(self, part: FrozenPart, utterances: Utterances) -> int:
        """Bytes of a split's outputs, from those of its longest and its shortest utterance."""
        samples = np.array([len(utterances.waveform(index)) for index in _ends(utterances)])
        sizes = [self._outputs(part, [utterances.waveform(index)])[0][0].nbytes for index in _ends(utterances)]
        lengths = np.array([row["samples"] for row in utterances.rows]).clip(max=samples.max())
        slope = (sizes[1] - sizes[0]) / max(1, samples[1] - samples[0])
        return int(np.sum(sizes[0] + slope * (lengths - samples[0])))

    def _make_room(self, part: FrozenPart, needed: int, keep: set[Path]) -> bool:
        """Whether there is, or now is, room for so many bytes; the outputs in `keep` stay."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for unfinished in self.folder.glob("*.building"):
            # Of a run that was killed, unless one is at it.
            with suppress(Timeout), cache.locked_for(unfinished).acquire(blocking=False):
                shutil.rmtree(unfinished, ignore_errors=True)
        with cache.locked_for(self.folder / "room"):
            there = sorted((index.stat().st_mtime, index.parent) for index in self.folder.glob(f"*/{_INDEX}"))
            sizes = {folder: sum(file.stat().st_size for file in folder.iterdir()) for _, folder in there}
            taken, free = sum(sizes.values()), shutil.disk_usage(self.folder).free
            leaving = []
            for _, folder in there:
                if taken + needed <= self.limit and needed <= free:
                    break
                if folder not in keep:
                    leaving.append(folder)
                    taken, free = taken - sizes[folder], free + sizes[folder]
            if taken + needed > self.limit or needed > free:
                what = "--cache_frozen allows" if taken + needed > self.limit else "the disk has left"
                _log.warning(
                    "Outputs of the frozen %s would take %.1f GB, more than %s (%.1f GB): they are not cached.",
                    *(part.description, needed / _GIGABYTE, what, min(self.limit - taken, free) / _GIGABYTE),
                )
                return False
            for folder in leaving:
                # Runs that have it mapped go on.
                shutil.rmtree(folder, ignore_errors=True)
        return True

    def _build(self, part: FrozenPart, utterances: Utterances, folder: Path) -> None:
        """Compute into a temporary folder and rename it: a folder under its own name is complete."""
        temporary = folder.with_suffix(".building")
        for leftover in (temporary, folder):
            shutil.rmtree(leftover, ignore_errors=True)
        temporary.mkdir()
        _, places = self._wanted(part, utterances)
        by_place = {place: index for index, place in enumerate(places)}
        order = sorted(by_place, key=lambda place: -utterances.rows[by_place[place]]["samples"])
        index, start = {}, 0
        try:
            with (temporary / _STATES).open("wb") as file, tqdm(total=len(order), **_PROGRESS) as progress:
                for first, number in self._batches([utterances.samples[by_place[place]] for place in order]):
                    batch = order[first : first + number]
                    outputs, inputs = self._outputs(part, [utterances.waveform(by_place[place]) for place in batch])
                    mask = inputs.get("attention_mask")
                    lengths = [0] * len(batch) if mask is None else mask.sum(dim=-1).tolist()
                    for place, output, length in zip(batch, outputs, lengths, strict=True):
                        file.write(output.clone(memory_format=torch.contiguous_format).view(torch.uint8).numpy().data)
                        index[place] = [start, length, *output.shape]
                        start += output.numel()
                    progress.update(len(batch))
                file.flush()
                # The name must not reach the disk before the data.
                os.fsync(file.fileno())
            np.save(temporary / _INDEX, np.array([index[place] for place in sorted(index)], dtype=np.int64))
            layout = Layout(
                dtype=str(outputs[0].dtype).removeprefix("torch."),
                numbers=start,
                time_axis=-1 if part.name == CNN else -2,
                whole=part.whole,
                input_shape=list(inputs[self.backbone.model.main_input_name].shape[1:]),
                mask_size=None if mask is None else mask.shape[1],
            )
            write_atomically(temporary / _SETTINGS, json.dumps(dataclasses.asdict(layout)))
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _batches(self, lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Where each begins among utterances, and how many it has."""
        if self.room:
            return self.room.parts(lengths)
        return ((first, self.batch_size) for first in range(0, len(lengths), self.batch_size))

    def _outputs(self, part: FrozenPart, waveforms: list[np.ndarray]) -> tuple[list[Tensor], dict[str, Tensor]]:
        """What the part gives for each, in main memory, and what it has read."""
        inputs = {name: tensor.to(self.device) for name, tensor in self.backbone.inputs(waveforms).items()}
        with self._autocast():
            outputs = part.outputs(self.backbone, inputs)
        return [output.cpu() for output in outputs], inputs

    def _autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, self.half) if self.half else nullcontext()


_PROGRESS: dict[str, Any] = {"desc": "Computing what is frozen", "unit": "utterance", "disable": None}


def _there(folder: Path) -> bool:
    """Whether outputs are complete: of those that were cut off by hand nobody reads."""
    try:
        layout = Layout(**json.loads((folder / _SETTINGS).read_text(encoding="utf-8")))
        return (folder / _STATES).stat().st_size == layout.numbers * getattr(torch, layout.dtype).itemsize
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def _ends(utterances: Utterances) -> tuple[int, int]:
    """The shortest utterance and the longest."""
    lengths = [row["samples"] for row in utterances.rows]
    return int(np.argmin(lengths)), int(np.argmax(lengths))


def _identity(backbone: Backbone) -> Iterator[Any]:
    """What decides what a backbone gives for a waveform besides the libraries."""
    yield from (backbone.family(), backbone.revision, backbone.head, backbone.options_given())
    config = {name: value for name, value in backbone.config.to_dict().items() if not name.endswith("name_or_path")}
    yield json.dumps(config, sort_keys=True, default=str)
    yield _code(type(backbone))
    # A processor has settings of its own: what it makes of a noise tells.
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    for name, tensor in sorted(backbone.inputs([noise]).items()):
        yield [name, hashlib.sha256(np.ascontiguousarray(tensor.numpy()).data).hexdigest()]


def _code(family: type[Backbone]) -> list[str]:
    """The SHA-256 of each file with code of a family: its own, those it inherits from, and what all families share.

    A family may be a plug-in, and so may what it inherits from.
    """
    classes = [ancestor for ancestor in family.__mro__ if issubclass(ancestor, Backbone)]
    files = {Path(inspect.getfile(ancestor)) for ancestor in classes}
    files |= set(Path(inspect.getfile(Backbone)).parent.glob("*.py"))
    return sorted({hashlib.sha256(file.read_bytes()).hexdigest() for file in files})
