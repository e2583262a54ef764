"""A finished run loads as it was trained, or not at all."""

import json
import shutil

import pytest

from sure.errors import SureError
from sure.predict import predict
from sure.runner.run import main
from tests.factories.corpora import noise_with_labels
from tests.factories.encoders import folder_of

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return noise_with_labels(tmp_path_factory.mktemp("corpus"), "angry", "happy", "sad")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, corpus):
    """The folder of a run of one step, by method."""

    def run(method):
        folder = tmp_path_factory.mktemp("runs") / method
        words = f"--task audio_classification --data_dir {corpus} --backbone {folder_of('wav2vec2:tiny')}"
        words += f" --method {method} --max_steps 1 --report_to none --use_cpu True --disable_tqdm True"
        main([*words.split(), "--output_dir", str(folder)])
        return folder

    return {method: run(method) for method in ("lora", "bitfit", "lora+bitfit")}


@pytest.fixture
def folder(runs, tmp_path):
    return shutil.copytree(runs["lora"], tmp_path / "lora")


def refused(folder, corpus):
    with pytest.raises(SureError) as error:
        list(predict(folder, [corpus / "sad-3.wav"]))
    return str(error.value)


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_weights_of_another_method_are_refused(folder, runs, corpus):
    shutil.copy(runs["bitfit"] / WEIGHTS, folder)
    said = refused(folder, corpus)
    assert f"{WEIGHTS} does not fit this model and {CONFIG}: " in said
    assert "tensors are too many or missing, such as base_model." in said
    shutil.copy(runs["bitfit"] / CONFIG, folder)
    assert f"{CONFIG}: of BITFIT; the run in run.json trained LORA" in refused(folder, corpus)


def test_a_run_of_several_methods_names_and_counts_them_and_predicts(runs, tmp_path, corpus):
    folder = shutil.copytree(runs["lora+bitfit"], tmp_path / "both")
    record = json.loads((folder / "result.json").read_text())
    assert record["run"]["method"]["config"]["methods"] == ["lora", "bitfit"]
    cost = record["cost"]
    assert list(cost["part_parameters"]) == ["lora", "bitfit"]
    assert cost["trainable_parameters"] == cost["head_parameters"] + sum(cost["part_parameters"].values())
    assert [row["prediction"] in ("angry", "happy", "sad") for row in predict(folder, [corpus / "sad-3.wav"])] == [True]
    edit(folder / CONFIG, methods=["lora"])
    assert f"{CONFIG}: of lora; the run in run.json trained lora+bitfit" in refused(folder, corpus)


def test_a_cut_off_file_is_refused(folder, corpus):
    whole = (folder / WEIGHTS).read_bytes()
    for length in (0, 5, len(whole) // 2, len(whole) - 1):
        (folder / WEIGHTS).write_bytes(whole[:length])
        assert f"{WEIGHTS}: broken or cut off (" in refused(folder, corpus)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"peft_type": "MAGIC"}', '{"peft_type": "LORA", "r": "x"}'])
def test_a_broken_configuration_is_refused(content, folder, corpus):
    (folder / CONFIG).write_text(content)
    assert str(folder / "adapter_") in refused(folder, corpus)


def test_options_that_change_the_adapter_s_size_are_refused(folder, corpus):
    edit(folder / CONFIG, r=3)
    assert f"{WEIGHTS} does not fit this model and {CONFIG}: " in refused(folder, corpus)


@pytest.mark.parametrize("labels", [["angry", "sad"], ["angry", "happy", "sad", "other"], "angry"])
def test_labels_that_it_was_not_trained_on_are_refused(labels, folder, corpus):
    run = json.loads((folder / "run.json").read_text())
    edit(folder / "run.json", task_options=run["task_options"] | {"labels": labels})
    assert "abels" in (said := refused(folder, corpus)) or "size mismatch for head" in said
