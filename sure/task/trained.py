"""A finished run, loaded."""

import json
from pathlib import Path

from peft import PeftModel

from sure import registry
from sure.backbone import Backbone, loading
from sure.errors import SureError
from sure.record import PluginFile, plugins
from sure.task import Task, make_task


def load(adapter: Path) -> tuple[Task, Backbone, PeftModel, float | None]:
    """Task, backbone, adapted model and the seconds of each recording that it was trained on (None: all)."""
    for name in ("run.json", "adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / name).is_file():
            raise SureError(f"--adapter {adapter}: no {name}; expected the output folder of a finished `sure train`.")
    try:
        run = json.loads((adapter / "run.json").read_text(encoding="utf-8"))
        needed = [PluginFile.model_validate(plugin) for plugin in run.get("plugins", [])]
        plugins.check(f"--adapter {adapter}", needed, ("task", "method", "backbone"))
        task = make_task(run["task"], run["task_options"])
        arguments, recorded = run["arguments"], run["backbone"]
    except (ValueError, KeyError) as error:
        raise SureError(f"{adapter / 'run.json'} is not a run of `sure train` ({error!r}).") from None
    backbone = loading.load(
        recorded["name"],
        arguments["backbone_revision"],
        options=recorded.get("options", {}),
        head=task.with_head,
    )
    if backbone.revision != recorded["revision"]:
        raise SureError(
            f"Backbone {backbone.name} is not the one this adapter was trained on: revision {backbone.revision[:12]}, "
            f"then {recorded['revision'][:12]}."
        )
    registry.import_all("method")
    model = PeftModel.from_pretrained(task.build_model(backbone), adapter)
    return task, backbone, model, arguments["max_seconds"]
