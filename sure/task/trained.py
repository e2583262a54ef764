"""A finished run, loaded: it hears recordings, or says texts."""

import json
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
from sure.method import applying
from sure.record import RUN, PluginFile, plugins
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

        Raises `SureError` for a folder that is none, and for a backbone that has changed since.
        """
        for name in (RUN, "adapter_config.json", "adapter_model.safetensors"):
            if not (adapter / name).is_file():
                raise SureError(
                    f"--adapter {adapter}: no {name}; expected the output folder of a finished `sure train`."
                )
        try:
            run = json.loads((adapter / RUN).read_text(encoding="utf-8"))
            needed = [PluginFile.model_validate(plugin) for plugin in run.get("plugins", [])]
            plugins.check(f"--adapter {adapter}", needed, ("task", "method", "backbone"))
            task = make_task(run["task"], run["task_options"])
            arguments, recorded = run["arguments"], run["backbone"]
        except (ValueError, KeyError) as error:
            raise SureError(f"{adapter / RUN} is not a run of `sure train` ({error!r}).") from None
        backbone = loading.load(
            recorded["name"],
            arguments["backbone_revision"],
            options=recorded.get("options", {}),
            head=task.with_head,
        )
        if backbone.revision != recorded["revision"]:
            raise SureError(
                f"Backbone {backbone.name} is not the one this adapter was trained on: revision "
                f"{backbone.revision[:12]}, then {recorded['revision'][:12]}."
            )
        model = applying.load(task.build_model(backbone), adapter)
        model.to("cuda" if torch.cuda.is_available() else "cpu").eval().requires_grad_(False)
        return cls(task, backbone, model, arguments["max_seconds"])

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
