"""What a study says, resolved: questions, values to try, cells with names; mistakes are named."""

from collections import Counter
from datetime import date

import pytest

from sure.errors import SureError
from sure.sweep import plan, resolving
from sure.sweep.report.answers import group_of
from tests.factories import REPOSITORY

STUDY = {
    "task": "emodb_emotion",
    "data_dir": "/data/emodb",
    "backbone": "wav2vec2:tiny",
    "method": ["lora", "linear_probe"],
    "budget": ["1%", "5%"],
    "learning_rate": ["5e-4", 2e-3],
    "seed": [1, 2, 3],
    "settings": {"num_train_epochs": 4},
}


def names(study):
    return [question.name for question in study.questions]


def test_questions_cross_what_was_named_and_a_method_of_one_size_is_asked_once():
    study = resolving.resolve(STUDY, "study.yaml")
    first = "emodb_emotion--wav2vec2_tiny--"
    assert names(study) == [f"{first}lora--budget=1%", f"{first}lora--budget=5%", f"{first}linear_probe"]
    lora = study.questions[0]
    assert lora.settings["method_options"] == ["budget=1%"]
    # YAML reads 5e-4 as a text.
    assert lora.candidates == [{"learning_rate": 5e-4}, {"learning_rate": 2e-3}]
    assert (lora.metric, lora.higher_is_better, lora.by) == ("weighted_f1", True, "halving")


def test_a_cell_is_a_run_whose_name_says_what_tells_it_from_others(tmp_path):
    question = resolving.resolve(STUDY, "study.yaml").questions[0]
    cell = question.cell(tmp_path, {"learning_rate": 5e-4}, 2)
    assert cell.name == "emodb_emotion--wav2vec2_tiny--lora--budget=1%--learning_rate=0.0005--seed=2"
    words = cell.command()
    assert words[words.index("--learning_rate") + 1] == "0.0005"
    assert words[words.index("--output_dir") + 1] == str(tmp_path / "cells" / cell.name)
    assert words[words.index("--num_train_epochs") + 1] == "4"


def test_an_entry_has_settings_of_its_own_and_several_values_are_compared():
    method = {
        "method": "lora",
        "method_options": ["roles=query,value"],
        "learning_rate": [1e-3],
        "weight_decay": [0, 0.1],
    }
    study = resolving.resolve(STUDY | {"method": [method, "bitfit"], "budget": None}, "study.yaml")
    assert names(study)[0].endswith("lora--roles=query,value")
    assert study.questions[0].candidates == [{"weight_decay": 0}, {"weight_decay": 0.1}]
    assert study.questions[0].settings["learning_rate"] == 1e-3
    assert len(study.questions[1].candidates) == 2


def test_options_of_a_method_are_compared_too(tmp_path):
    select = {"by": "grid", "method_options.r": [2, 4], "tries": 3}
    question = resolving.resolve(STUDY | {"method": "lora", "budget": None, "select": select}, "study.yaml").questions[
        0
    ]
    # Three of the four, always the same.
    assert len(question.candidates) == 3
    cell = question.cell(tmp_path, {"method_options.r": 4}, 1)
    assert "r=4" in cell.settings["method_options"]
    assert cell.name.endswith("--r=4--seed=1")


def test_a_method_whose_size_is_compared_has_no_budget_beside_it():
    study = resolving.resolve(STUDY | {"method": {"method": "lora", "method_options.r": [2, 4]}}, "study.yaml")
    assert len(study.questions) == 1 and "method_options" not in study.questions[0].settings


def test_all_methods_are_those_of_sure():
    from sure import registry

    study = resolving.resolve(STUDY | {"method": "all", "budget": None}, "study.yaml")
    assert [question.settings["method"] for question in study.questions] == registry.names("method")
    # A key without a value is as none.
    empty = resolving.resolve(STUDY | {"method": None, "backbone": None, "budget": None}, "study.yaml")
    assert len(empty.questions) == len(study.questions)


def test_a_corpus_for_each_task_or_one_for_all():
    tasks = {"task": ["emodb_emotion", "speech_commands"], "method": "lora", "budget": None}
    study = resolving.resolve(STUDY | tasks | {"data_dir": ["a", "b"]}, "study.yaml")
    assert [question.settings["data_dir"] for question in study.questions] == ["a", "b"]
    with pytest.raises(SureError, match="data_dir: 3 for emodb_emotion, speech_commands"):
        resolving.resolve(STUDY | tasks | {"data_dir": ["a", "b", "c"]}, "study.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metod": "lora"}, r"study\.yaml: unknown key 'metod'. Did you mean 'method'"),
        ({"task": None}, "study.yaml: task is missing"),
        ({"task": "emodb_emotions"}, "Unknown task 'emodb_emotions'. Did you mean 'emodb_emotion'"),
        ({"method": "lorra"}, "Unknown method 'lorra'"),
        ({"method": [{"lora": 1}]}, "method: .* is neither a name nor a mapping"),
        ({"backbone": "wav2vec2:tinny"}, "Unknown size of wav2vec2: 'tinny'"),
        ({"settings": {"num_train_epoch": 3}}, "Unknown flag --num_train_epoch; did you mean --num_train_epochs"),
        ({"settings": {"seed": 3}}, "seed is not for `settings`"),
        ({"settings": [1]}, "settings: .* is no mapping"),
        ({"learning_rate": "fast"}, "argument --learning_rate.*: invalid float value: 'fast'"),
        ({"learning_rate": [1e-3, 1e-3]}, "learning_rate: .* are not different values"),
        ({"seed": [1, 1]}, "seed: .* are not different seeds"),
        ({"seed": "one"}, "seed: 'one' is no whole number"),
        ({"select": "luck"}, "Unknown way to select: 'luck'"),
        ({"select": {"eta": 1}}, "select: eta: 1 is no whole number from 2 to 1000"),
        ({"learning_rate": {"from": 1e-4, "to": 1e-2}}, "a range needs `select: optuna`"),
        ({"select": "optuna"}, "select: optuna needs a range"),
        ({"learning_rate": {"from": 0, "to": 1e-2, "log": True}, "select": "optuna"}, "no range with `log`"),
        ({"method": []}, "method: an empty list names none"),
        ({"backbone": []}, "backbone: an empty list names none"),
        ({"settings": {"save_strategy": "best"}}, "to choose among values, runs pause"),
        ({"method": ["lora", "lora"]}, "2 questions have the same name"),
        (
            {"method": ["bitfit", {"method": "bitfit", "learning_rate": 2e-3}]},
            "bitfit, learning_rate 0.002 and .*bitfit--learning_rate=0.002 would have the same folder",
        ),
        ({"seed": [1, 2**32]}, "seed: 4294967296 is no whole number from 0 to 4294967295"),
        ({"settings": {1: 2}}, "settings: 1 is no name of a setting"),
        ({"method": [{"method": "lora", 3: 4}]}, "method: 3 is no name of a setting"),
        ({"method": [{"method": "lora", "backbone": "tiny"}]}, "method: lora has a backbone of its own"),
        ({"settings": {"backbone": "wav2vec2:tiny"}}, "backbone is not for `settings`: a study has it as its own key"),
        ({"learning_rate": 1e-3, "settings": {"learning_rate": 1e-4}}, "learning_rate is not for `settings`"),
        ({"settings": {"metric_for_best_model": ["accuracy", "macro_f1"]}}, "scores do not say which of several"),
        ({"task": [{"task": "emodb_emotion", "data_dir": ["/a", "/b"]}]}, "data_dir: scores do not say which of"),
        ({"settings": {"task_options.shots": [1, 5]}}, r"task_options\.shots: scores do not say which of several"),
        ({"settings": {"method_options": {"r": 4}}}, r"method_options: .* is a mapping; list it as \[r=4\]"),
        ({"learning_rate": {"from": 0, "to": float("inf")}, "select": "optuna"}, "from 0 to inf is no range"),
        ({"learning_rate": {"from": False, "to": True}, "select": "optuna"}, "from False to True is no range"),
        (
            {"learning_rate": {"from": 1e-4, "to": 1e-2}, "select": "optuna"}
            | {"settings": {"per_device_train_batch_size": [4, "x"]}},
            "argument --per_device_train_batch_size.*: invalid int value: 'x'",
        ),
        ({"learning_rate": [1.0000001e-3, 1e-3]}, "learning_rate 0.0010000001 and .* would have the same folder"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(SureError, match=message):
        resolving.resolve(STUDY | change, "study.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"s\.yaml, line 1: not YAML"),
        ("a: 2026-13-01", r"s\.yaml: not YAML \(month must be"),
        ("- 1", "a study is a mapping"),
    ],
)
def test_a_file_that_is_no_study_is_named(text, message, tmp_path):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SureError, match=message):
        resolving.read(tmp_path / "s.yaml")


def test_a_folder_is_of_one_study_to_which_cells_may_be_added(tmp_path):
    study = resolving.resolve(STUDY, "study.yaml")
    study.write(tmp_path)
    assert plan.Study.read(tmp_path) == study
    resolving.resolve(STUDY | {"data_dir": "/elsewhere"}, "study.yaml").write(tmp_path)
    resolving.resolve(STUDY | {"seed": [1, 2, 3, 4], "method": ["lora", "linear_probe", "bitfit"]}, "s").write(tmp_path)
    for change, message in (
        ({}, "bitfit is missing now"),
        ({"settings": {"num_train_epochs": 5}}, "num_train_epochs 4 there, 5 now"),
        ({"learning_rate": [5e-4, 2e-3, 5e-3]}, "candidates .* there"),
        ({"select": "grid"}, "by 'halving' there, 'grid' now"),
        ({"seed": [2, 1, 3, 4]}, r"seeds \[1, 2, 3, 4\] there, \[2, 1, 3, 4\] now"),
    ):
        with pytest.raises(SureError, match=message):
            resolving.resolve(STUDY | change, "study.yaml").write(tmp_path)
    with pytest.raises(SureError, match=r"study\.json: .*`sure sweep` writes it"):
        plan.Study.read(tmp_path / "nowhere")


def test_dates_and_mappings_are_written_as_a_flag_takes_them(tmp_path):
    settings = {"run_name": date(2026, 1, 2), "lr_scheduler_kwargs": {"num_cycles": 2}, "num_train_epochs": 4}
    study = resolving.resolve(STUDY | {"settings": settings}, "study.yaml")
    study.write(tmp_path)
    # Read again it is the same.
    study.write(tmp_path)
    assert study.questions[0].settings["run_name"] == "2026-01-02"
    assert study.questions[0].settings["lr_scheduler_kwargs"] == '{"num_cycles": 2}'


def test_runs_of_other_settings_are_another_comparison():
    backbones = [{"backbone": "sure-mini", "max_seconds": seconds} for seconds in (1, 2)]
    study = resolving.resolve(STUDY | {"backbone": backbones, "budget": None}, "study.yaml")
    titles = Counter(group_of(question) for question in study.questions)
    assert titles == {f"emodb_emotion with sure-mini, max_seconds={seconds}": 2 for seconds in (1, 2)}


def test_the_recipe_is_a_study():
    study = resolving.resolve(
        resolving.read(REPOSITORY / "recipes" / "sweep.yaml") | {"data_dir": "x", "method": "lora"}, "x"
    )
    assert [question.settings["method_options"] for question in study.questions] == [["budget=1%"], ["budget=5%"]]
