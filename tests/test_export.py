"""A run as others get it: used as its card says, without a path of this machine, and merged the same model."""

import json
import re

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from safetensors.torch import load_file
from transformers import AutoModel

from sure import cli, export
from sure.errors import SureError
from sure.record import Result
from sure.runner.run import main
from sure.task.trained import TrainedModel
from tests.factories.corpora import noise_with_labels
from tests.factories.encoders import save_backbone


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A folder with a backbone, a corpus and a run of LoRA that has learnt something of it."""
    folder = tmp_path_factory.mktemp("machine")
    save_backbone(folder / "encoder", "wav2vec2")
    noise_with_labels(folder / "corpus", "high", "low")
    command = (
        f"--task audio_classification --data_dir {folder / 'corpus'} --backbone {folder / 'encoder'} --method lora"
    )
    command += f" --output_dir {folder / 'run'} --learning_rate 0.05 --num_train_epochs 3 --early_stopping_patience 0"
    main(f"{command} --per_device_train_batch_size 2 --report_to none --disable_tqdm True --use_cpu True".split())
    return folder


def sure(*words):
    """`sure export` in this process."""
    cli._dispatch(["export", *map(str, words)])


def said_of(folder, language):
    """The snippet of a card."""
    return re.findall(rf"```{language}\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)


def texts(folder):
    return "\n".join(path.read_text() for path in folder.rglob("*") if path.suffix != ".safetensors" and path.is_file())


def test_an_adapter_is_used_elsewhere_as_its_card_says(machine, tmp_path, monkeypatch, capsys):
    sure(machine / "run", "--output_dir", tmp_path / "my-adapter", "--license", "mit", "--benchmark", "me/noises:high")
    folder, result = tmp_path / "my-adapter", Result.read(machine / "run" / "result.json")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    scores = ".eval_results/audio_classification.yaml"
    assert files == {"README.md", "adapter_config.json", "adapter_model.safetensors", "run.json", scores}
    assert str(machine) not in texts(folder)
    assert "output_dir" not in texts(folder)

    data = ModelCard.load(folder / "README.md").data
    assert (data.license, data.library_name, data.datasets) == ("mit", "peft", "me/noises")
    (entry,) = parse_eval_result_entries(yaml.safe_load((folder / scores).read_text()))
    score = result.scores["test"][result.metric]
    assert (entry.dataset_id, entry.task_id, entry.value) == ("me/noises", "high", score.value)
    assert f"{score.low:.3f} to {score.high:.3f}" in entry.notes
    assert "the backbone, which was a folder `encoder`" in (folder / "README.md").read_text()

    (tmp_path / "encoder").symlink_to(machine / "encoder")
    (tmp_path / "recording.wav").symlink_to(machine / "corpus" / "low-3.wav")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    (command,) = said_of(folder, "bash")
    cli._dispatch(command.split()[1:])
    predicted = json.loads(capsys.readouterr().out)
    assert set(predicted["probabilities"]) == {"high", "low"}


def test_merged_it_gives_what_it_gave_adapted_in_plain_transformers_and_with_its_head(machine, tmp_path, monkeypatch):
    sure(machine / "run", "--output_dir", tmp_path / "merged", "--merge")
    folder = tmp_path / "merged"
    assert not list(folder.glob("adapter_*"))
    assert str(machine) not in texts(folder)
    adapted = TrainedModel.load(machine / "run").model
    waveform = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (1, 8000)).astype(np.float32))
    # Two snippets, each as it stands.
    monkeypatch.chdir(tmp_path)
    plain, with_head = said_of(folder, "python")
    names = {}
    exec(plain, names)
    assert type(names["backbone"]) is type(AutoModel.from_pretrained(folder))
    with torch.no_grad():
        expected = adapted.base_model.model.backbone(waveform).last_hidden_state
        with adapted.disable_adapter():
            before = adapted.base_model.model.backbone(waveform).last_hidden_state
        given = names["backbone"].eval()(waveform).last_hidden_state
        assert not torch.allclose(before, expected, atol=1e-3)
        torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-4)
        exec(with_head, names)
        torch.testing.assert_close(
            names["model"].eval()(waveform).logits, adapted(input_values=waveform).logits, atol=1e-5, rtol=1e-4
        )
    assert load_file(folder / "head.safetensors").keys() == names["model"].head.state_dict().keys()


def test_it_is_pushed_whole_or_refused_with_what_is_missing(machine, tmp_path, monkeypatch):
    uploaded = {}

    class Hub:
        def create_repo(self, repository, exist_ok):
            return f"https://huggingface.co/{repository}"

        def upload_folder(self, repo_id, folder_path, commit_message):
            uploaded[repo_id] = sorted(path.name for path in folder_path.rglob("*") if path.is_file())

    monkeypatch.setattr(export, "HfApi", Hub)
    monkeypatch.setattr(export.huggingface_hub, "get_token", lambda: None)
    words = (machine / "run", "--output_dir", tmp_path / "out", "--push_to_hub")
    with pytest.raises(SureError, match=r"no token of the hub. `hf auth login`"):
        sure(*words, "me/adapter")
    with pytest.raises(SureError, match="whose"):
        sure(*words, "adapter")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(export.huggingface_hub, "get_token", lambda: "hf_token")
    sure(*words, "me/adapter")
    assert "hf download me/adapter --local-dir out" in (tmp_path / "out" / "README.md").read_text()
    assert uploaded == {"me/adapter": ["README.md", "adapter_config.json", "adapter_model.safetensors", "run.json"]}


# Of a file of theirs, method_comparison/MetaMathQA/results/adamss--llama-3.2-3B-rank32.json, what is in each part.
PEFTS = {
    "run_info": "created_at total_time experiment_name peft_branch train_config peft_config error_msg",
    "train_info": "accelerator_memory_reserved_avg accelerator_memory_max accelerator_memory_reserved_99th train_time "
    "file_size num_trainable_params num_total_params status metrics",
    "meta_info": "model_info dataset_info package_info system_info pytorch_info",
}
PEFTS_TRAIN_CONFIG = (
    "model_id dtype max_seq_length batch_size batch_size_eval max_steps eval_steps compile use_gc query_template seed "
    "grad_norm_clip optimizer_type optimizer_kwargs lr_scheduler use_amp autocast_adapter_dtype generation_kwargs "
    "attn_implementation init_kv_cache_prefix"
)


def test_pefts_comparison_gets_its_own_fields(machine, tmp_path):
    sure(machine / "run", "--output_dir", tmp_path, "--format", "peft_method_comparison")
    content = json.loads((tmp_path / "lora--encoder-seed42.json").read_text())
    assert str(machine) not in json.dumps(content)
    for part, names in PEFTS.items():
        assert set(content[part]) - {"sure"} == set(names.split()), part
    assert list(content["run_info"]["train_config"]) == PEFTS_TRAIN_CONFIG.split()
    result = Result.read(machine / "run" / "result.json")
    last = content["train_info"]["metrics"][-1]
    assert last["test accuracy"] == result.scores["test"]["accuracy"].value
    assert last["train samples"] == 12
    assert last["train loss"] == content["train_info"]["metrics"][-2]["train loss"] > 0
    selected = result.scores["validation"]["weighted_f1"].value
    assert selected in {point["valid weighted f1"] for point in content["train_info"]["metrics"][:-1]}
    assert content["train_info"]["num_trainable_params"] == result.cost.trainable_parameters
    assert content["run_info"]["peft_config"]["peft_type"] == "LORA"
    assert content["meta_info"]["package_info"]["peft-version"] == result.provenance.versions["peft"]
    # On a CPU there is no accelerator whose memory could be compared.
    assert content["train_info"]["accelerator_memory_max"] is None


def test_what_cannot_be_exported_is_refused_with_the_reason(machine, tmp_path):
    def refused(message, folder=machine / "run", *words):
        with pytest.raises(SureError, match=message):
            sure(folder, "--output_dir", tmp_path / "out", *words)
        assert not (tmp_path / "out").exists()

    refused("give OWNER/NAME:TASK", machine / "run", "--benchmark", "noises")
    refused("leave out --merge", machine / "run", "--format", "peft_method_comparison", "--merge")
    for change, message, words in (
        ({"status": "failed", "error": "too hot"}, "failed .too hot.; there is nothing to export", ()),
        ({"run": {"method": {"name": "prefix_tuning"}}}, "no weight of the backbone can hold", ("--merge",)),
        ({"run": {"data": {"synthetic": True}}}, "the speech of this run is synthetic", ("--benchmark", "a/b:c")),
    ):
        record = json.loads((machine / "run" / "result.json").read_text())
        for name, value in change.items():
            record[name] = (
                {key: record[name][key] | of for key, of in value.items()}
                | {key: of for key, of in record[name].items() if key not in value}
                if isinstance(value, dict)
                else value
            )
        folder = tmp_path / f"run {len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "result.json").write_text(json.dumps(record))
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (folder / name).symlink_to(machine / "run" / name)
        refused(message, folder, *words)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(SureError, match="there is something already"):
        sure(machine / "run", "--output_dir", tmp_path / "full")
