"""Recipes are documented, valid, and do on a small scale what they promise on a large one."""

import json
import re
import shlex
import subprocess

import pytest
import yaml

from sure import registry, synth
from sure.method import by_name
from sure.record import Result
from sure.runner.arguments import parse
from tests.factories import REPOSITORY
from tests.factories.corpora import short_sentences, touch
from tests.factories.encoders import bare, has_the_parts, save_backbone
from tests.factories.recipes import carry_out, dry_run

RECIPES = sorted((REPOSITORY / "recipes").glob("*.sh"))


@pytest.fixture(params=RECIPES, ids=lambda path: path.name)
def recipe(request):
    return request.param


def test_there_are_recipes():
    named = {"demo.sh", "emotion_cls.sh", "asr_fleurs.sh", "sv_voxceleb.sh", "tts_adaptation.sh"}
    assert named <= {path.name for path in RECIPES}


def test_a_recipe_is_valid_and_stops_at_the_first_error(recipe):
    subprocess.run(["bash", "-n", recipe], check=True)
    lines = recipe.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert next(line for line in lines if line and not line.startswith("#")) == "set -euo pipefail"


def test_the_header_says_what_it_is_what_it_needs_what_it_costs_and_how_to_run_it(recipe):
    header = recipe.read_text(encoding="utf-8").partition("\nset ")[0].splitlines()[1:]
    assert re.match(r"# \w.*", header[0])
    for heading in ("Data", "Costs", "Run"):
        assert any(re.match(rf"# {heading} {{2,}}\w+", line) for line in header), heading


def test_a_recipe_names_methods_and_tasks_that_exist(recipe):
    text = recipe.read_text(encoding="utf-8")
    named = re.findall(r'METHODS:-([^}]+)\}|--method (\w+)|^compare \w+ \w+ "([\w ]+)"', text, flags=re.MULTILINE)
    methods = " ".join(word for found in named for word in found).split()
    for study in re.findall(r"/(\w+\.yaml)\b", text.partition("\nset ")[2]):
        asked = yaml.safe_load((recipe.parent / study).read_text(encoding="utf-8")).get("method", [])
        methods += [one["method"] if isinstance(one, dict) else one for one in asked]
    tasks = re.findall(
        r"--task (\w+)|TASK=\$\{TASK:-(\w+)\}|TASK=(\w+)|^(?:probe|compare) (\w+)| then study (\w+) ",
        text,
        flags=re.MULTILINE,
    )
    assert methods
    assert set(methods) <= set(by_name.names())
    assert tasks
    assert {name for found in tasks for name in found if name} <= set(registry.names("task"))


def test_the_comparison_at_one_budget_leaves_no_method_out():
    text = next(path for path in RECIPES if path.name == "equal_budget.sh").read_text(encoding="utf-8")
    (methods,) = re.findall(r"METHODS=\$\{METHODS:-([^}]+)\}", text)
    # Of those that sure-mini has the parts for.
    possible = [name for name in registry.names("method") if has_the_parts(bare("hubert:tiny"), name)]
    assert sorted(methods.split()) == possible


@pytest.mark.slow
def test_the_emotion_recipe_runs_on_several_processes_does_nothing_twice_and_ends_with_a_leaderboard(
    tmp_path, monkeypatch, capsys, caplog
):
    pytest.importorskip("espeakng_loader", reason='eSpeak NG is not installed: pip install "sure-bench[synth]"')
    with short_sentences():
        synth.esd.make(tmp_path / "esd", speakers=2, train=4, evaluation=1, test=2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    settings = {
        "DATA_DIR": str(tmp_path / "esd"),
        "BACKBONE": str(save_backbone(tmp_path / "backbone", "wav2vec2")),
        "OUTPUT_DIR": str(tmp_path / "out"),
        "BATCH_SIZE": "8",
    }

    def run(**changes):
        flags = "--num_train_epochs 1 --eval_strategy epoch --save_strategy epoch --report_to none"
        carry_out(dry_run(tmp_path, "emotion_cls.sh", *flags.split(), **settings | changes))
        return capsys.readouterr().out

    def result(method):
        return Result.read(tmp_path / "out" / method / "result.json")

    run(METHODS="linear_probe", NUM_PROCESSES="2")
    # The paper's batch, learning rate and seed; the flags at the end win over the recipe's own.
    assert result("linear_probe").run.arguments["global_batch_size"] == 256
    assert result("linear_probe").run.arguments["learning_rate"] == 2e-3
    assert result("linear_probe").run.seed == 1314
    assert result("linear_probe").cost.epochs == 1
    assert result("linear_probe").cost.processes == 2

    written = (tmp_path / "out" / "linear_probe" / "result.json").stat().st_mtime_ns
    again = run(METHODS="linear_probe bitfit")
    assert "linear_probe/result.json is complete" in caplog.text
    assert (tmp_path / "out" / "linear_probe" / "result.json").stat().st_mtime_ns == written
    assert result("bitfit").run.arguments["global_batch_size"] == 256

    board = json.loads((tmp_path / "out" / "leaderboard" / "leaderboard.json").read_text(encoding="utf-8"))
    assert sorted(entry["method"]["name"] for entry in board["entries"]) == ["bitfit", "linear_probe"]
    page = (tmp_path / "out" / "leaderboard" / "index.html").read_text(encoding="utf-8")
    for method in ("bitfit", "linear_probe"):
        assert method in page
        assert method in again.rpartition("== esd_emotion, bitfit")[2], "not in the table at the end"


@pytest.fixture
def told_by(tmp_path):
    """Runs a recipe whose `sure` and `torchrun` say what they were told."""

    def run(name, **settings):
        return dry_run(tmp_path, name, **{"DATA_DIR": str(tmp_path)} | settings)

    return run


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        *(("asr_fleurs.sh", 32), ("emotion_cls.sh", 256), ("sv_voxceleb.sh", 64), ("tts_adaptation.sh", 32)),
        *(("ks.sh", 256), ("ic.sh", 32), ("sp_cls.sh", 256), ("pr.sh", 64)),
        *(("spoofing.sh", 32), ("lid_fleurs.sh", 64)),
    ],
)
def test_a_recipe_s_batch_is_the_same_on_any_number_of_processes(name, batch, told_by):
    for processes, size in ((1, 8), (2, 16), (4, 4)):
        said = told_by(name, METHODS="lora", NUM_PROCESSES=str(processes), BATCH_SIZE=str(size))
        assert said.returncode == 0, said.stderr
        accumulated = int(re.search(r"--gradient_accumulation_steps (\d+)", said.stdout)[1])
        assert accumulated * processes * size == batch
    # Flags that `sure train` takes, with values that are right.
    told = next(line for line in said.stdout.splitlines() if line.startswith("torchrun"))
    run, trainer = parse([*shlex.split(told.partition("sure.train ")[2]), "--fp16", "False"], "sure train")
    run.make_task()
    assert trainer.gradient_accumulation_steps == accumulated
    refused = told_by(name, NUM_PROCESSES="3")
    assert refused.returncode
    assert f"on NUM_PROCESSES=3 makes no batch of {batch}" in refused.stderr
    assert "train" not in refused.stdout


def test_the_slot_filling_recipe_has_the_paper_s_steps_and_rates(told_by):
    said = told_by("sf.sh", METHODS="full_finetuning lora prefix_tuning conv_adapter", NUM_PROCESSES="2")
    assert said.returncode == 0, said.stderr
    told = [line.partition("sure.train ")[2] for line in said.stdout.splitlines() if line.startswith("torchrun")]
    runs = [parse(shlex.split(words), "sure train") for words in told]
    assert [trainer.learning_rate for _, trainer in runs] == [2e-4, 2e-4, 2e-3, 2e-5]
    for run, trainer in runs:
        assert run.make_task().metric == "slot_type_f1"
        assert trainer.per_device_train_batch_size * trainer.gradient_accumulation_steps * 2 == 8
        assert (trainer.max_steps, trainer.lr_scheduler_kwargs["num_decay_steps"]) == (50_000, 25_000)


def test_the_digits_recipe_leaves_each_speaker_out_in_turn(told_by, tmp_path):
    touch(
        tmp_path / "recordings", *(f"{digit}_{speaker}_0.wav" for digit in (0, 1) for speaker in ("ann", "ben", "cy"))
    )
    said = told_by("ks_digits.sh", TASK_OPTIONS="shots=1")
    assert said.returncode == 0, said.stderr
    told = [line.partition(" train ")[2] for line in said.stdout.splitlines() if line.startswith("sure train")]
    assert len(told) == 3
    for words, (unseen, validation) in zip(told, (("ann", "cy"), ("ben", "ann"), ("cy", "ben")), strict=True):
        run, _ = parse(shlex.split(words), "sure train")
        splits = run.make_task().load(tmp_path / run.data_dir)
        assert {name: set(split["speaker"]) for name, split in splits.items()} == {
            "train": {"ann", "ben", "cy"} - {unseen, validation},
            "validation": {validation},
            "test": {unseen},
        }


def test_the_spectrogram_transformer_s_recipe_runs_every_fold_of_the_corpora_that_are_given(told_by, tmp_path):
    said = told_by("ast.sh", ESC50=str(tmp_path), IEMOCAP=str(tmp_path), METHODS="lora", NUM_PROCESSES="2")
    assert said.returncode == 0, said.stderr
    told = [line.partition("sure.train ")[2] for line in said.stdout.splitlines() if line.startswith("torchrun")]
    runs = [parse(shlex.split(words), "sure train") for words in told]
    tasks = [run.make_task() for run, _ in runs]
    assert [(task.name, task.fold) for task in tasks[:5]] == [("esc50", fold) for fold in range(1, 6)]
    assert [(task.protocol, task.session) for task in tasks[5:]] == [("superb", session) for session in range(1, 6)]
    assert [run.backbone_options for run, _ in runs] == [["window=5"]] * 5 + [["window=8"]] * 5
    for _, trainer in runs:
        assert trainer.per_device_train_batch_size * trainer.gradient_accumulation_steps * 2 == 32
    assert len({trainer.output_dir for _, trainer in runs}) == 10


def test_the_recognition_recipe_wants_to_know_how_large_another_language_is(told_by):
    refused = told_by("asr_fleurs.sh", DATA_DIR="google/fleurs", LANGUAGE_NAME="fr_fr")
    assert refused.returncode
    assert "UTTERANCES: is the number of training utterances of fr_fr" in refused.stderr
    said = told_by("asr_fleurs.sh", DATA_DIR="google/fleurs", LANGUAGE_NAME="fr_fr", UTTERANCES="3193", METHODS="lora")
    # 100 steps in each of 50 epochs: 1,000 rise, 2,000 stay.
    assert "num_decay_steps" in said.stdout
    assert "2000" in said.stdout


@pytest.mark.parametrize("name", [path.name for path in RECIPES if path.name != "demo.sh"])
def test_a_recipe_without_its_data_says_so_before_anything_else(name, told_by):
    several = {
        "ast.sh": ("ESC50", "URBANSOUND8K", "SPEECH_COMMANDS", "FLUENT", "IEMOCAP"),
        "probe_sure_mini.sh": ("EMODB", "DIGITS", "SPEAKERS"),
        "study.sh": ("EMODB", "VOXCELEB"),
        "whisper_base.sh": ("DIGITS", "EMODB"),
    }
    variables = several.get(name, ("DATA_DIR",))
    unset = told_by(name, DATA_DIR="")
    for variable in variables:
        absent = told_by(name, **{variable: "/nowhere/at/all"})
        assert f"{name}: {variable}=/nowhere/at/all: no such folder." in absent.stderr
        for refused in (unset, absent):
            assert refused.returncode == 2
            assert refused.stdout == ""
            assert variable in refused.stderr
            assert re.search(r"^Data {6}\w", refused.stderr, flags=re.MULTILINE)
            assert re.search(rf"^Run {{7}}.*bash recipes/{name}$", refused.stderr, flags=re.MULTILINE)
