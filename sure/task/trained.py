"""A finished run, loaded: it hears recordings, or says texts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor
from tqdm import tqdm

from sure.backbone import Backbone, loading
from sure.errors import SureError
from sure.method import bare_type, saved
from sure.method.composition import PLUS, Composition
from sure.model import SpeechModel
from sure.record import RUN, Run, plugins
from sure.task import Task, make_task

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class TrainedModel:
    """The adapted `model` of a run, ready to predict; it was trained on `max_seconds` of each recording (None: all)."""

    task: Task
    backbone: Backbone
    model: PeftModel
    max_seconds: float | None

    @classmethod
    def load(cls, adapter: Path) -> "TrainedModel":
        """From the output folder of `sure train`, onto the GPU where there is one.

        Raises `SureError` for a folder that is none, for a backbone that has changed since, and for files that are
        broken or of different runs.
        """
        for name in (RUN, saved.CONFIG, saved.WEIGHTS):
            if not (adapter / name).is_file():
                raise SureError(
                    f"--adapter {adapter}: no {name}; expected the output folder of a finished `sure train`."
                )
        run = Run.read(adapter / RUN)
        plugins.check(f"--adapter {adapter}", run.plugins, ("task", "method", "backbone"))
        task = make_task(run.task, run.task_options)
        backbone = loading.load(
            run.backbone.name,
            run.arguments.get("backbone_revision"),
            options=run.backbone.options,
            head=task.with_head,
        )
        if backbone.revision != run.backbone.revision:
            raise SureError(
                f"Backbone {backbone.name} is not the one this adapter was trained on: revision "
                f"{backbone.revision[:12]}, then {run.backbone.revision[:12]}."
            )
        model = _adapted(task.build_model(backbone), adapter, run)
        model.to("cuda" if torch.cuda.is_available() else "cpu").eval().requires_grad_(False)
        return cls(task, backbone, model, run.arguments.get("max_seconds"))

    def hear(
        self, rows: Rows, waveform: Callable[[dict[str, Any]], np.ndarray], batch_size: int
    ) -> Iterator[dict[str, Any]]:
        """What the task predicts for each row, which has an `id`; `waveform` gives its samples, (samples,), 16 kHz."""

        def inputs(batch: Rows) -> dict[str, Tensor]:
            return self.backbone.inputs([waveform(row) for row in batch])

        for batch, outputs in self._outputs(rows, inputs, batch_size):
            yield from self.task.predict(outputs, batch)

    def say(self, rows: Rows, batch_size: int, unit: str | None = None) -> Iterator[np.ndarray]:
        """A waveform of shape (samples,), 16 kHz, for each row, which has a `text` and a `speaker`.

        Progress is shown where a `unit` says what is counted.
        """
        for _, outputs in self._outputs(rows, lambda batch: self.task.batch(self.backbone, batch), batch_size, unit):
            yield from self.task.speech(outputs)

    def _outputs(
        self, rows: Rows, inputs: Callable[[Rows], dict[str, Tensor]], batch_size: int, unit: str | None = None
    ) -> Iterator[tuple[Rows, np.ndarray]]:
        """Each batch of rows with the model's outputs for it, as `Task.reduce` leaves them."""
        with tqdm(total=len(rows), unit=unit or "it", disable=None if unit else True) as progress:
            for start in range(0, len(rows), batch_size):
                batch = rows[start : start + batch_size]
                tensors = {name: tensor.to(self.model.device) for name, tensor in inputs(batch).items()}
                with torch.inference_mode():
                    outputs = self.task.reduce(self.model(**tensors).logits)
                progress.update(len(batch))
                yield batch, outputs.float().cpu().numpy()


def _adapted(model: SpeechModel, adapter: Path, run: Run) -> PeftModel:
    """A task's model with the adapter and head of a run. Raises `SureError` where the files are not of that run."""
    config = saved.read_config(adapter)
    trained, found = bare_type(run.method.config.get("peft_type")), bare_type(config.peft_type)
    if isinstance(config, Composition):
        trained, found = PLUS.join(run.method.config.get("methods", [trained])), PLUS.join(config.methods)
    if found != trained:
        raise SureError(f"{adapter / saved.CONFIG}: of {found}; the run in {RUN} trained {trained}.")
    return saved.load(model, adapter, config)
