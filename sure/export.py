"""A finished run as a folder that can be published: what others need to use it, and nothing else of the run.

With an adapter go its card, and `run.json`, which says what it adapts; merged, a checkpoint of `transformers` with the
head beside it. No path of the machine it was trained on, no prediction and no recording goes along.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import yaml
from huggingface_hub import EvalResultEntry, HfApi, eval_result_entries_to_yaml
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id
from peft.utils import ModulesToSaveWrapper
from safetensors.torch import save_file
from transformers import MODEL_MAPPING

from sure import registry
from sure.backbone import loading
from sure.errors import SureError
from sure.files import write_atomically, writing
from sure.method import by_name, saved
from sure.record import DECISIVE, RESULT, RUN, Result, Run
from sure.record.card import ADAPTER, CARD, card, on_hub, usage, with_interval
from sure.record.method_comparison import experiment_name, method_comparison
from sure.task import Task, make_task
from sure.task.trained import TrainedModel

HEAD = "head.safetensors"
# Where the hub looks for scores on benchmarks (https://huggingface.co/docs/hub/eval-results).
EVAL_RESULTS = ".eval_results"

# Of a run's arguments what decides its scores, and what an adapter is used with; paths and tokens are not among them.
_ARGUMENTS = (*DECISIVE, "seed", "max_seconds", "backbone_revision")
_OPTIONS = ("task_options", "method_options", "backbone_options")

# Where transformers has its models.
_MODELS = "transformers.models."

_MERGED = """\
A backbone with an adapter merged into its weights, trained by SURE, the Speech UndeRstanding Evaluation benchmark
suite."""

_DOWNLOAD = """\
```bash
hf download {repository} --local-dir {folder}
```

"""

_PLAIN = """\
```python
from {module} import {kind}

backbone = {kind}.from_pretrained("{folder}")
```

One utterance at a time it gives what it gave with SURE; in a padded batch some families of `transformers` let the
padding change what they give, which SURE prevents."""

_WITH_HEAD = """

The task's head, which no class of `transformers` has, is in `head.safetensors`:

```python
from safetensors.torch import load_file
from sure.backbone import loading
from sure.record import Run
from sure.task import make_task

run = Run.read("{folder}/run.json")
backbone = loading.load("{folder}", options=run.backbone.options, head=True)
model = make_task(run.task, run.task_options).build_model(backbone)
model.head.load_state_dict(load_file("{folder}/head.safetensors"))
```"""

_HEAD_ALONE = "\n\nThe task's head is in `head.safetensors`, under its names in `sure.heads`."

_LICENCE = "\n\n## Licence\n\n{}"
_NO_LICENCE = "Whoever trained this states none; what the backbone's and the corpus' licences ask for holds."


@dataclass(frozen=True)
class Benchmark:
    """A dataset of the hub that has a leaderboard, and the id of a task in its eval.yaml."""

    dataset: str
    task: str

    @classmethod
    def parse(cls, text: str) -> "Benchmark":
        """From `OWNER/NAME:TASK`. Raises `SureError` for anything else."""
        if not (found := re.fullmatch(r"([\w.-]+/[\w.-]+):([\w.-]+)", text)):
            raise SureError(
                f"--benchmark {text}: give OWNER/NAME:TASK, a dataset of the hub and a task that its eval.yaml names."
            )
        return cls(*found.groups())


def export(
    folder: Path,
    output_dir: Path,
    *,
    merge: bool = False,
    licence: str | None = None,
    benchmark: Benchmark | None = None,
    repository: str | None = None,
) -> list[Path]:
    """Write what of a run's folder can be published into an empty folder; gives the files, relative to it.

    `merge`: a checkpoint with the adapter in the backbone's weights instead of the adapter. `licence` is the hub's id
    of one. `benchmark`: where on the hub the test split is a benchmark, so that the score counts there. `repository`:
    where the folder will be.
    Raises `SureError` for a run that is not complete, a method that does not merge, and a folder that is not empty.
    """
    result = _complete(folder)
    if benchmark and result.run.data.synthetic:
        raise SureError(f"--benchmark {benchmark.dataset}: the speech of this run is synthetic, not that benchmark's.")
    if merge and not by_name.can_be_merged(result.run.method.name):
        raise SureError(
            f"--merge: {result.run.method.name} computes what no weight of the backbone can hold, so it cannot be "
            "merged. Without --merge the adapter is exported."
        )
    task = make_task(result.run.task, result.run.task_options)
    before, result = result.run, portable(result, task)
    name, trained = output_dir.resolve().name, TrainedModel.load(folder) if merge else None
    with _new(output_dir) as whole:
        write_atomically(whole / RUN, result.run.model_dump_json(indent=2) + "\n")
        if trained:
            what, use = _MERGED, _merged(trained, whole, name)
        else:
            what = ADAPTER + _lacking(before, result.run)
            use = usage(name, task.voices if task.speaks else ())
            shutil.copyfile(folder / saved.WEIGHTS, whole / saved.WEIGHTS)
            config = _without_paths(json.loads((folder / saved.CONFIG).read_text(encoding="utf-8")))
            write_atomically(whole / saved.CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        if repository:
            use = _DOWNLOAD.format(repository=repository, folder=name) + use
        licensed = f"`{licence}`; the backbone's and the corpus' own licences hold besides." if licence else _NO_LICENCE
        text = card(
            result,
            task.hub_task,
            name,
            what=what,
            use=use + _LICENCE.format(licensed),
            dataset=benchmark and benchmark.dataset,
            license=licence,
            library_name="transformers" if merge else "peft",
        )
        write_atomically(whole / CARD, text)
        if benchmark:
            entries = eval_result_entries_to_yaml([_eval_result(result, benchmark)])
            path = whole / EVAL_RESULTS / f"{result.run.task}.yaml"
            write_atomically(path, yaml.safe_dump(entries, sort_keys=False, allow_unicode=True))
        files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    return files


def export_method_comparison(folder: Path, output_dir: Path) -> Path:
    """Write the run as PEFT's method comparison has it, `<method>--<experiment>.json`; gives the file."""
    result = _complete(folder)
    result = portable(result, make_task(result.run.task, result.run.task_options))
    path = Path(output_dir) / f"{experiment_name(result).replace('/', '--')}.json"
    with writing(f"--output_dir {output_dir}"):
        write_atomically(path, json.dumps(method_comparison(result), indent=2) + "\n")
    return path


def refuse_unpublishable(repository: str) -> None:
    """Raises `SureError`, before anything is written, for a name that the hub would not take, or without a token."""
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise SureError(f"--push_to_hub {repository}: {str(error).splitlines()[0]}") from None
    if "/" not in repository:
        raise SureError(f"--push_to_hub {repository}: whose? Give USER/NAME.")
    if huggingface_hub.get_token() is None:
        raise SureError(f"--push_to_hub {repository}: no token of the hub. `hf auth login` keeps one, or set HF_TOKEN.")


def push(folder: Path, repository: str) -> str:
    """Upload an exported folder, into a new repository where there is none; gives its address.

    Raises `SureError` where the hub refuses or cannot be reached.
    """
    api = HfApi()
    try:
        address = api.create_repo(repository, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload by `sure export`")
    except (HfHubHTTPError, OSError) as error:
        raise SureError(f"--push_to_hub {repository}: {str(error).strip().splitlines()[0]}") from None
    return str(address)


def portable(result: Result, task: Task) -> Result:
    """A record as it can be published: without what is only true of the machine, such as paths."""
    run = result.run
    arguments = {name: run.arguments[name] for name in _ARGUMENTS if name in run.arguments}
    for name in _OPTIONS:
        arguments[name] = [
            f"{option}={_without_paths(value)}"
            for option, _, value in (given.partition("=") for given in run.arguments.get(name) or [])
        ]
    # What a task has learnt, such as characters, are no paths whatever they look like.
    chosen = {field.name for field in registry.options_of(type(task))}
    changed = {
        "arguments": arguments,
        "task_options": {
            name: _without_paths(value) if name in chosen else value for name, value in run.task_options.items()
        },
        "backbone": run.backbone.model_copy(update={"name": _without_paths(run.backbone.name)}),
        "method": run.method.model_copy(update={"config": _without_paths(run.method.config)}),
    }
    return result.model_copy(update={"run": run.model_copy(update=changed)})


def _complete(folder: Path) -> Result:
    """Its record. Raises `SureError` where a run has not ended well, or lacks its adapter."""
    result = Result.read(folder / RESULT)
    if result.status != "complete":
        raise SureError(f"{folder / RESULT}: of a run that failed ({result.error}); there is nothing to export.")
    for name in (saved.CONFIG, saved.WEIGHTS):
        if not (folder / name).is_file():
            raise SureError(f"{folder}: no {name}; expected the output folder of a finished `sure train`.")
    return result


@contextmanager
def _new(folder: Path) -> Iterator[Path]:
    """A folder that takes the place of one that is empty or not there when it is whole."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise SureError(f"--output_dir {folder}: there is something already; give a new or an empty folder.")
    with writing(f"--output_dir {folder}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder.parent) as temporary:
            whole = Path(temporary) / "whole"
            whole.mkdir()
            yield whole
            whole.replace(folder)


def _without_paths(value: Any) -> Any:
    """A value of JSON in which of every path of this machine its last name is left."""
    if isinstance(value, dict):
        return {name: _without_paths(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_paths(inner) for inner in value]
    if not isinstance(value, str) or "/" not in value:
        return value
    path = Path(value)
    try:
        of_machine = path.is_absolute() or path.exists()
    except OSError:
        # Too long a name, such as a pattern of modules.
        of_machine = False
    return path.name if of_machine and path.name else value


def _lacking(before: Run, after: Run) -> str:
    """What of this machine an adapter is used with, in a sentence; empty where everything is to be had elsewhere."""
    named = [name for name, value in after.task_options.items() if value != before.task_options[name]]
    needed = [f"what `{name}` names ({after.task_options[name]})" for name in named]
    name = after.backbone.name
    if not (on_hub(after) or ":" in name or name in loading.SHIPPED or name in loading.ALIASES):
        needed.insert(0, f"the backbone, which was a folder `{name}`")
    needed += [f"the plug-in `{plugin.kind}s/{plugin.name}.py` in $SURE_PLUGINS" for plugin in after.plugins]
    return f" It needs besides, where the command runs: {'; '.join(needed)}." if needed else ""


def _merged(trained: TrainedModel, whole: Path, name: str) -> str:
    """Write the merged backbone and the head; gives how they are used."""
    try:
        model = trained.model.cpu().merge_and_unload()
    except (ValueError, NotImplementedError) as error:
        raise SureError(f"--merge: {str(error).splitlines()[0]}") from None
    # Some classes here compute as those of transformers do, with the same weights.
    kind = next((base for base in type(model.backbone).__mro__ if base.__module__.startswith(_MODELS)), None)
    if kind is None:
        raise SureError(
            f"--merge: {trained.backbone.family()} models are none of transformers, which could not load one. Without "
            "--merge the adapter is exported."
        )
    model.backbone.__class__ = kind
    model.backbone.save_pretrained(whole)
    processor = trained.backbone.processor
    for part in (processor, getattr(processor, "tokenizer", None)):
        if hasattr(part, "save_pretrained"):
            part.save_pretrained(whole)
            break
    found_by_itself = MODEL_MAPPING.get(type(model.backbone.config), None) is kind
    module, loader = ("transformers", "AutoModel") if found_by_itself else (kind.__module__, kind.__name__)
    use = _PLAIN.format(module=module, kind=loader, folder=name)
    if (head := getattr(model, "head", None)) is None:
        return use
    # LN-tuning leaves the wrapper of what trains besides.
    head = head.modules_to_save[head.active_adapters[0]] if isinstance(head, ModulesToSaveWrapper) else head
    save_file({key: tensor.contiguous() for key, tensor in head.state_dict().items()}, whole / HEAD)
    return use + (_WITH_HEAD.format(folder=name) if found_by_itself else _HEAD_ALONE)


def _eval_result(result: Result, benchmark: Benchmark) -> EvalResultEntry:
    if "test" not in result.scores:
        raise SureError(f"--benchmark: {result.run.task} was predicted on a test split without references; no score.")
    score = result.scores["test"][result.metric]
    return EvalResultEntry(
        dataset_id=benchmark.dataset,
        task_id=benchmark.task,
        value=score.value,
        date=result.provenance.finished,
        notes=f"{with_interval(result.metric, score)}; {result.run.method.name}",
    )
