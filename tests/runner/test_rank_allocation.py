"""AdaLoRA in whole runs: ranks fall, what is left is saved, and an interrupted run goes on as if it had not been."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sure import synth
from sure.errors import SureError
from sure.method import applying
from sure.methods.adalora import AdaLora, _penalise
from sure.predict import predict
from sure.record import Result, read_predictions
from sure.runner.run import main
from sure.runner.trainer import BenchmarkTrainer
from tests.factories.corpora import short_sentences
from tests.factories.encoders import load, save_backbone, speech_model, stirred, waveforms

# Of two layers with six maps each.
MAPS = 12


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adalora")
    with short_sentences():
        synth.esd.make(folder / "esd", speakers=2, train=4, evaluation=1, test=2)
    save_backbone(folder / "backbone", "wav2vec2")
    command = f"--task esd_emotion --data_dir {folder}/esd --backbone {folder}/backbone --method adalora --use_cpu True"
    command += f" --early_stopping_patience 0 --report_to none --disable_tqdm True --cache_dir {folder}/cache"
    return command.split()


def ranks(folder):
    """By map the ranks that an adapter's configuration says are left."""
    return [sum(left) for left in json.loads((folder / "adapter_config.json").read_text())["rank_pattern"].values()]


def test_ranks_fall_to_the_target_and_what_is_left_predicts_what_was_tested(words, tmp_path):
    # Forty utterances: six batches, three steps to an epoch.
    words = [*words, "--per_device_train_batch_size", "7", "--gradient_accumulation_steps", "2"]
    words += ["--num_train_epochs", "4", "--load_best_model_at_end", "False", "--output_dir", str(tmp_path)]
    result = main(words)
    config = result.run.method.config
    assert (config["total_step"], config["tinit"], config["tfinal"]) == (result.cost.steps, 2, 4) == (12, 2, 4)
    assert len(ranks(tmp_path)) == MAPS
    assert sum(ranks(tmp_path)) == 8 * MAPS
    assert max(ranks(tmp_path)) <= 12
    stored = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(len(tensor) for name, tensor in stored.items() if "lora_E" in name) == 8 * MAPS
    # What trains at first counts.
    assert result.cost.trainable_parameters - result.cost.head_parameters == 2 * 12 * (4 * 65 + 2 * 81)
    rows = read_predictions(tmp_path, Result.read(tmp_path / "result.json").predictions["test"])
    expected = {row["id"].rsplit("/", 1)[1]: row["probabilities"] for row in rows}
    recordings = sorted(Path(words[words.index("--data_dir") + 1]).rglob("test/*.wav"))
    for row in predict(tmp_path, recordings):
        name = row["path"].rsplit("/", 1)[1].removesuffix(".wav")
        assert row["probabilities"] == pytest.approx(expected[name], abs=1e-5)


class Interrupted(Exception):
    pass


@pytest.fixture(scope="module")
def twenty_steps(words, tmp_path_factory):
    """Where ranks fall from the fourth to the fourteenth; the best checkpoint may be any."""
    words = [*words, "--num_train_epochs", "4", "--per_device_train_batch_size", "8", "--output_dir"]
    folder = tmp_path_factory.mktemp("twenty") / "whole"
    main([*words, str(folder)])
    return words, folder


@pytest.mark.parametrize("step", [7, 17], ids=["while ranks fall", "after they have"])
def test_interrupted_it_ends_as_if_it_had_not_been(step, twenty_steps, tmp_path, monkeypatch):
    words, whole = twenty_steps
    learns = BenchmarkTrainer.training_step

    def interrupted(self, *arguments):
        if self.state.global_step == step:
            raise Interrupted
        return learns(self, *arguments)

    monkeypatch.setattr(BenchmarkTrainer, "training_step", interrupted)
    with pytest.raises(Interrupted):
        main([*words, str(tmp_path / "resumed")])
    monkeypatch.undo()
    resumed = main([*words, str(tmp_path / "resumed")])
    assert resumed.scores == Result.read(whole / "result.json").scores
    weights = [load_file(folder / "adapter_model.safetensors") for folder in (whole, tmp_path / "resumed")]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])
    assert ranks(whole) == ranks(tmp_path / "resumed")


def test_a_run_too_short_for_ranks_to_fall_is_refused(words, tmp_path):
    words = [*words, "--max_steps", "10", "--method_options", "tinit=5", "tfinal=5", "--output_dir", str(tmp_path)]
    with pytest.raises(SureError, match=r"a run of 10 steps has none .* first 5 \(tinit\) and the last 5 \(tfinal\)"):
        main(words)


def test_the_penalty_is_how_far_a_and_b_are_from_orthogonal_and_in_training_alone():
    backbone = load("wav2vec2:tiny")
    model = stirred(applying.apply(speech_model(backbone), applying.configure("adalora", backbone, {"roles": "query"})))
    inputs = backbone.inputs(waveforms(0.5)) | {"labels": torch.tensor([1])}
    base = model.base_model.model
    distances = []
    for layer in base.backbone.encoder.layers:
        for matrix in (layer.attention.q_proj.lora_A["default"], layer.attention.q_proj.lora_B["default"].T):
            product = torch.einsum("ri,si->rs", matrix, matrix) - torch.eye(12)
            distances.append(product.square().sum().sqrt())
    base.register_forward_hook(lambda module, _, output: _penalise(module, output, 0.1))
    heard = model.eval()(**inputs).loss
    # Dropout and masking are as in evaluation.
    base.training = True
    torch.testing.assert_close(model(**inputs).loss, heard + 0.1 * sum(distances) / 4)


def test_a_schedule_is_a_share_of_the_run_unless_given():
    config = AdaLora()
    config.schedule(300)
    assert (config.tinit, config.tfinal, config.total_step) == (50, 100, 300)
    config = AdaLora(tfinal=10)
    config.schedule(60)
    assert (config.tinit, config.tfinal) == (10, 10)
    assert AdaLora(init_r=6).target_r == 4
