"""Plug-ins: what CONTRIBUTING.md shows works from end to end, and whatever is wrong with one is told."""

import hashlib
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors import safe_open

from sure import cli
from tests.factories import REPOSITORY, processes

SHOWN = dict(
    re.findall(
        r"^`(\w+/\w+\.py)`.*?:\n\n```python\n(.*?)^```", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.M | re.S
    )
)
TASK, METHOD, BACKBONE, METRIC = (
    *("tasks/spoken_digits.py", "methods/scale_and_shift.py"),
    *("backbones/tdnn.py", "metrics/label_error_rate.py"),
)


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A folder with what CONTRIBUTING.md shows."""
    assert set(SHOWN) == {TASK, METHOD, BACKBONE, METRIC}
    return write(tmp_path_factory.mktemp("shown"), SHOWN)


@pytest.fixture
def python():
    """Run Python, with these plug-ins; gives its output, or with `fails` its errors."""

    def run(*words, plugins=(), path=(), fails=False):
        environment = os.environ | {
            "SURE_PLUGINS": os.pathsep.join(map(str, plugins)),
            "PYTHONPATH": os.pathsep.join(map(str, path)),
        }
        words = [sys.executable, *map(str, words)]
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
        assert bool(done.returncode) == fails, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if fails else done.stdout + done.stderr

    return run


@pytest.fixture
def sure(python, tmp_path_factory):
    """Run the command."""

    def run(*words, plugins=(), path=(), fails=False):
        if path:
            return python("-c", "from sure import cli; cli.main()", *words, plugins=plugins, path=path, fails=fails)
        output = tmp_path_factory.mktemp("sure") / "output"
        found = os.pathsep.join(map(str, plugins))
        process = processes.start(cli.main, list(map(str, words)), output=output, SURE_PLUGINS=found)
        process.join()
        said = output.read_text()
        assert bool(process.exitcode) == fails, said
        assert "Traceback" not in said
        return said

    return run


def test_what_is_shown_is_listed_with_where_it_is_from_and_described(sure, shown):
    for file in SHOWN:
        kind, name = file.removesuffix(".py").split("/")
        listed = [line.split() for line in sure(kind, plugins=[shown]).splitlines()]
        (found,) = [words for words in listed if words[:1] == [name]]
        assert found[-2:] == ["from", str(shown / file)]
        described = sure(kind, name, plugins=[shown])
        assert described.startswith(SHOWN[file].removeprefix('"""').partition('"""')[0].strip())


def test_listing_plug_ins_imports_none_of_them_and_nothing_heavy(python, tmp_path):
    write(tmp_path, {"tasks/mine.py": '"""Mine."""\nraise SystemExit("imported")\n'})
    script = (
        "import sys; from sure import cli; cli.main(['tasks'])\n"
        "assert not {'torch', 'transformers', 'datasets', 'peft', 'sure.tasks'} & set(sys.modules)\n"
    )
    assert "mine" in python("-c", script, plugins=[tmp_path])


def test_a_package_brings_plug_ins_and_is_not_imported_to_list_them(python, sure, tmp_path):
    files = {
        "my_package/__init__.py": "raise SystemExit('imported')\n",
        "my_package/sure_plugins/metrics/mine.py": SHOWN[METRIC],
        "my_things-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: my-things\nVersion: 1.0\n",
        "my_things-1.0.dist-info/entry_points.txt": "[sure.plugins]\nany = my_package.sure_plugins\n",
    }
    write(tmp_path, files)
    assert re.search("^mine .*from package my-things$", sure("metrics", path=[tmp_path]), re.M)
    script = (
        "from sure import registry; print(registry.get('metric', 'mine')().compute(predictions='ab', references='aa'))"
    )
    assert "{'mine': 0.5}" in python("-c", script, path=[tmp_path])
    write(tmp_path, {"my_things-1.0.dist-info/entry_points.txt": "[sure.plugins]\nany = my_package.nothing\n"})
    said = sure("metrics", path=[tmp_path], fails=True)
    assert "Package my-things: its entry point any of sure.plugins names my_package.nothing, which has none of" in said


def test_what_a_plug_in_defines_is_known_in_processes_that_are_spawned(python, shown, tmp_path):
    script = (
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "from sure.task import make_task\n"
        "def name(task): return type(task).__module__, task.name, task.labels\n"
        "if __name__ == '__main__':\n"
        "    task = make_task('spoken_digits', {'labels': ['1', '2']})\n"
        "    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:\n"
        "        print(pool.submit(name, task).result())\n"
    )
    write(tmp_path, {"spawn.py": script})
    found = python(tmp_path / "spawn.py", plugins=[shown])
    assert found.strip() == "('sure.tasks.spoken_digits', 'spoken_digits', ['1', '2'])"


@pytest.mark.parametrize(
    ("command", "files", "message"),
    [
        (
            "tasks",
            {"task/mine.py": ""},
            "SURE_PLUGINS: {0} has none of the folders tasks, methods, backbones, metrics.",
        ),
        (
            "tasks",
            {"tasks/esd_emotion.py": ""},
            "{0}/tasks/esd_emotion.py: the name of this plug-in is taken by {ours}/",
        ),
        ("methods", {"methods/ia3.py": ""}, "{0}/methods/ia3.py: the name of this plug-in is taken by PEFT's own ia3"),
        ("methods", {"methods/LoRA.py": ""}, "{0}/methods/LoRA.py: the name of this plug-in is taken by {ours}/sure/"),
        ("metrics", {"metrics/mine.py": "a b"}, "{0}/metrics/mine.py, line 1: not Python (invalid syntax)"),
        (
            "tasks mine",
            {"tasks/mine.py": ""},
            "{0}/tasks/mine.py must define one public subclass of sure.task.Task, found 0",
        ),
        (
            "tasks mine",
            {"tasks/mine.py": "from sure.task import Task\n\n\nclass Mine(Task):\n    pass\n"},
            "{0}/tasks/mine.py: Mine does not define build_model, ",
        ),
        (
            "tasks mine",
            {"tasks/mine.py": "import nothing_of_that_name"},
            "{0}/tasks/mine.py: this plug-in cannot be imported (ModuleNotFoundError: No module named 'nothing_of",
        ),
        (
            "budget --backbone tiny --methods mine",
            {"methods/mine.py": SHOWN[METHOD].replace("register(ScaleAndShift", "print(ScaleAndShift")},
            "{0}/methods/mine.py: not known to PEFT; end it with `register(Config, Layer)`.",
        ),
    ],
)
def test_what_is_wrong_with_a_plug_in_is_told_with_its_file(command, files, message, sure, tmp_path):
    folder = write(tmp_path / "plugins", files)
    assert message.format(folder, ours=REPOSITORY) in sure(*command.split(), plugins=[folder], fails=True)


def test_two_plug_ins_of_one_name_and_a_folder_that_is_not_there_are_refused(sure, shown, tmp_path):
    other = write(tmp_path, {METRIC: ""})
    said = sure("metrics", plugins=[shown, other], fails=True)
    assert f"{other / METRIC}: the name of this plug-in is taken by {shown / METRIC}" in said
    assert "SURE_PLUGINS: nowhere: no such folder." in sure("metrics", plugins=["nowhere"], fails=True)
    # The same one twice is one.
    assert "label_error_rate" in sure("metrics", plugins=[shown, shown])


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Noise in the layout of the corpus that is shown."""
    folder = tmp_path_factory.mktemp("digits")
    (folder / "recordings").mkdir()
    generator = np.random.default_rng(0)
    for digit in (3, 7):
        for take in (0, 4, 5, 9, 10, 11):
            noise = generator.normal(0, 0.1, size=4000 + 1000 * digit)
            soundfile.write(folder / "recordings" / f"{digit}_jackson_{take}.wav", noise, 8000)
    return folder


TRAINED = """
import sys
import pytest, torch
from sure import cli
from sure.backbone.loading import load
from sure.predict import predict

method, out, data_dir, *recordings = sys.argv[1:]
words = f"train --task spoken_digits --data_dir {data_dir} --backbone tdnn:small --method {method} --output_dir {out}"
cli.main(f"{words} --max_steps 2 --use_cpu True --report_to none".split())
together, alone = predict(out, recordings), [row for one in recordings for row in predict(out, [one])]
for row, other in zip(together, alone, strict=True):
    assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)

backbone = load("tdnn:small")
backbone.model.eval()
clips = [torch.randn(samples).numpy() for samples in (4000, 9000, 400)]
batch = backbone.inputs(clips)
states = backbone.model(**batch).last_hidden_state
for clip, state, mask in zip(clips, states, batch["attention_mask"].bool(), strict=True):
    torch.testing.assert_close(state[mask], backbone.model(**backbone.inputs([clip])).last_hidden_state[0])
backbone.model.save_pretrained(out + "/again")
assert load(out + "/again").revision == backbone.revision
"""


def run_script(script, *words):
    sys.argv[1:] = words
    runpy.run_path(str(script))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full_finetuning", "bottleneck_adapter"])
def test_the_family_that_is_shown_trains_from_random_weights(method, shown, digits, tmp_path):
    write(tmp_path, {"trained.py": TRAINED})
    recordings = [digits / "recordings" / f"{name}.wav" for name in ("3_jackson_0", "7_jackson_4")]
    words = [method, tmp_path / "out", digits, *recordings]
    process = processes.start(run_script, tmp_path / "trained.py", *map(str, words), SURE_PLUGINS=str(shown))
    process.join()
    assert process.exitcode == 0
    run = json.loads((tmp_path / "out" / "result.json").read_text())["run"]
    assert (run["backbone"]["name"], run["backbone"]["family"]) == ("tdnn:small", "tdnn")
    assert not run["backbone"]["pretrained"]
    assert run["plugins"][1] == {
        "kind": "backbone",
        "name": "tdnn",
        "sha256": hashlib.sha256(SHOWN[BACKBONE].encode()).hexdigest(),
    }


MORE = {
    "tasks/intents.py": '''"""Intents: what to do with what, and where."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sure.task.classification import ClassificationTask


@dataclass
class Intents(ClassificationTask):
    """Three labels an utterance."""

    metrics = ("accuracy",)
    label_columns = ("action", "object", "location")

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        for path in (data_dir / "recordings").glob("*.wav"):
            digit, _, take = path.stem.split("_")
            split = "test" if int(take) < 5 else "validation" if int(take) < 10 else "train"
            labels = {"action": digit, "object": str(int(take) % 2), "location": "hall"}
            yield {"id": path.stem, "path": str(path), "speaker": None, "split": split} | labels
''',
    "methods/placed_shift.py": '''"""A learned shift after each layer, or after the attention in it."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from sure.method import AdapterLayer, MethodConfig, register


@dataclass
class PlacedShift(MethodConfig):
    """One number for each dimension, zero at first."""

    placement: Literal["layer", "attention"] = field(default="layer", metadata={"help": "After what it is added."})

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.placement,)


class _Layer(AdapterLayer):
    container = nn.ParameterDict

    def new_adapter(self, config: PlacedShift) -> nn.Parameter:
        return nn.Parameter(torch.zeros(self.model_config.hidden_size))

    def adapt(self, adapter: nn.Parameter, hidden_states: torch.Tensor) -> torch.Tensor:
        return hidden_states + adapter


register(PlacedShift, _Layer)
''',
}


@pytest.mark.slow
def test_an_option_places_one_of_two_methods_and_a_task_has_three_labels_with_a_file_each(sure, digits, tmp_path):
    folder, out = write(tmp_path / "plugins", MORE), tmp_path / "out"
    train = f"train --task intents --data_dir {digits} --backbone tiny --method lora+placed_shift --output_dir {out}"
    train += " --method_options placed_shift.placement=attention --max_steps 2 --use_cpu True --report_to none"
    sure(*train.split(), plugins=[folder])
    run = json.loads((out / "result.json").read_text())["run"]
    assert run["plugins"] == [
        {"kind": kind, "name": Path(file).stem, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        for kind, (file, text) in zip(("task", "method"), MORE.items(), strict=True)
    ]
    assert run["task_options"]["labels"] == {"action": ["3", "7"], "object": ["0", "1"], "location": ["hall"]}
    with safe_open(out / "adapter_model.safetensors", "pt") as weights:
        own = {name for name in weights.keys() if "sure_adapter" in name}
    assert len(own) == 4
    assert all(".attention.sure_adapter" in name for name in own)
    said = sure("predict", "--adapter", out, digits / "recordings" / "3_jackson_0.wav", plugins=[folder])
    assert set(json.loads(said.splitlines()[-1])["prediction"]) == {"action", "object", "location"}
    said = sure(*train.replace("=attention", "=nowhere").split(), "--restart", "True", plugins=[folder], fails=True)
    assert "--method_options placement=nowhere: Input should be 'layer' or 'attention'." in said


@pytest.mark.slow
def test_what_is_shown_trains_predicts_and_enters_a_board(sure, shown, digits, tmp_path):
    out, board, recording = tmp_path / "out", tmp_path / "board", digits / "recordings" / "3_jackson_0.wav"
    train = f"train --task spoken_digits --data_dir {digits} --backbone tdnn:small --method scale_and_shift"
    train += f" --output_dir {out} --max_steps 2 --use_cpu True --report_to none"
    sure(*train.split(), plugins=[shown])
    record = json.loads((out / "result.json").read_text())
    assert record["status"] == "complete"
    assert not record["run"]["backbone"]["pretrained"]
    assert record["scores"]["test"]["label_error_rate"]["method"] == "Wilson"
    assert record["run"]["plugins"] == [
        {"kind": kind, "name": Path(file).stem, "sha256": hashlib.sha256(SHOWN[file].encode()).hexdigest()}
        for kind, file in (("task", TASK), ("method", METHOD), ("backbone", BACKBONE), ("metric", METRIC))
    ]
    add = ("leaderboard", "add", "--board", board, out / "result.json")
    predict = ("predict", "--adapter", out, recording)

    said = sure(*predict, fails=True)
    assert (
        f"--adapter {out}: made with plug-ins that are not there: 'tasks/spoken_digits.py', 'methods/scale_and_" in said
    )
    assert "Set SURE_PLUGINS to the folder that holds them" in said
    assert sure(*predict, plugins=[shown]).count('"probabilities"') == 1

    said = sure(*add, fails=True)
    assert "made with plug-ins that are not there: 'tasks/spoken_digits.py', 'metrics/label_error_rate.py'." in said
    assert not (board / "submissions").exists()
    sure(*add, plugins=[shown])
    # Ranks come from predictions, which a task and its metric score; what was built is shown as it is.
    said = sure("leaderboard", "build", "--board", board)
    assert "Left out: " in said and "'tasks/spoken_digits.py'" in said
    sure("leaderboard", "build", "--board", board, plugins=[shown])
    assert "spoken_digits, label error rate on test" in sure("leaderboard", "show", "--board", board)
    assert "plug-in method scale_and_shift" in (board / "index.html").read_text()
    assert "'tasks/spoken_digits.py'" in sure("leaderboard", "validate", "--board", board, fails=True)
    assert "every submission is valid" in sure("leaderboard", "validate", "--board", board, plugins=[shown])

    changed = write(tmp_path / "changed", SHOWN | {TASK: SHOWN[TASK] + "# changed\n"})
    warning = f"{changed / TASK} has changed since the run: its SHA-256 is not the recorded one."
    assert f"--adapter {out}: {warning}" in sure(*predict, plugins=[changed])
    assert warning in sure("leaderboard", "validate", "--board", board, plugins=[changed])
    (out / "result.json").unlink()
    said = sure(*train.split(), plugins=[changed], fails=True)
    assert f"--output_dir {out} holds a run that began with another task spoken_digits. Choose another" in said
