"""A finished run, loaded: it hears recordings, or says texts."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm import tqdm

from sure import registry
from sure.backbone import Backbone, loading
from sure.errors import SureError
from sure.model import SpeechModel
from sure.record import RUN, Run, plugins
from sure.task import Task, make_task

Rows = Sequence[dict[str, Any]]

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


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
        for name in (RUN, _CONFIG, _WEIGHTS):
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
        self, rows: Rows, waveform: Callable[[dict[str, Any]], np.ndarray], batch_size: int, unit: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """What the task predicts for each row, which has an `id`; `waveform` gives its samples, (samples,), 16 kHz.

        Progress is shown where a `unit` says what is counted.
        """

        def inputs(batch: Rows) -> dict[str, Tensor]:
            return self.backbone.inputs([waveform(row) for row in batch])

        for batch, outputs in self._outputs(rows, inputs, batch_size, unit):
            yield from self.task.predict(outputs, batch)

    def say(self, rows: Rows, batch_size: int, unit: str | None = None) -> Iterator[np.ndarray]:
        """A waveform of shape (samples,), 16 kHz, for each row, which has a `text` and a `speaker`."""
        for _, outputs in self._outputs(rows, lambda batch: self.task.batch(self.backbone, batch), batch_size, unit):
            yield from self.task.speech(outputs)

    def _outputs(
        self, rows: Rows, inputs: Callable[[Rows], dict[str, Tensor]], batch_size: int, unit: str | None
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
    registry.import_all("method")
    try:
        config = PeftConfig.from_pretrained(adapter)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise SureError(f"{adapter / _CONFIG}: not the configuration of an adapter ({error!r}).") from None
    trained = run.method.config.get("peft_type")
    if config.peft_type != trained:
        raise SureError(f"{adapter / _CONFIG}: of {config.peft_type}; the run in {RUN} trained {trained}.")
    try:
        with safe_open(adapter / _WEIGHTS, framework="pt") as file:
            stored = set(file.keys())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Found missing adapter keys")
            adapted = PeftModel.from_pretrained(model, adapter, config=config)
    except SafetensorError as error:
        raise SureError(f"{adapter / _WEIGHTS}: broken or cut off ({error}). Copy it again.") from None
    except (ValueError, TypeError, RuntimeError) as error:
        # Of tensors of other sizes, the second line names the first.
        said = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise SureError(f"{adapter / _WEIGHTS} does not fit what {RUN} and {_CONFIG} describe: {said}") from None
    # PEFT would leave at random what it does not find.
    differing = stored ^ set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    if differing:
        raise SureError(
            f"{adapter / _WEIGHTS} does not fit what {RUN} and {_CONFIG} describe: {len(differing)} tensors are too "
            f"many or missing, such as {min(differing)}."
        )
    return adapted
