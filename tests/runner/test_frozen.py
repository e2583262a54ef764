"""With what is frozen read from the cache, a model gives what it gives without."""

import copy
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset

from sure import registry
from sure.backbone import loading
from sure.backbone.frozen import frozen_parts
from sure.backbones.wav2vec2 import Wav2Vec2
from sure.method import applying
from sure.record import read_predictions
from sure.runner.arguments import RunArguments, TrainerArguments
from sure.runner.batches import Collator, Utterances
from sure.runner.frozen import cache_frozen
from sure.runner.run import main
from sure.task import make_task
from tests.factories.corpora import noise_with_labels
from tests.factories.encoders import (
    FITTING,
    has_the_parts,
    load,
    save_backbone,
    speech_model,
    stirred,
    waveforms,
    without_chance,
)

# Two are shorter than any batch of a CNN is.
_SECONDS = (0.9, 0.04, 1.3, 0.06)

# Whose CNN trains.
NOTHING_FROZEN = {"full_finetuning", "bitfit", "cnn_adapter", "chapter"}

# A family for each way in which something is frozen in it.
ELSEWHERE = [
    ("whisper:tiny", "weighted_sum_probe", None, "means of all states of backbone"),
    ("whisper:tiny", "lora", {"top": 1}, "layers 0-0"),
    ("audio_spectrogram_transformer:tiny", "lora", {"top": 1}, "layers 0-0"),
    ("audio_spectrogram_transformer:tiny", "layer_output_adapter", None, "all states of backbone"),
    ("wavlm:tiny", "lora", {"top": 1}, "cnn"),
    ("wav2vec2_bert:tiny", "linear_probe", None, "means of backbone"),
]


def utterances() -> Utterances:
    clips = waveforms(*_SECONDS)
    rows = {"id": list("abcd"), "label": ["x", "y", "z", "x"], "sha256": list("1234"), "samples": list(map(len, clips))}
    return Utterances(Dataset.from_dict(rows | {"waveform": clips}))


def arguments(folder: Path, **run) -> tuple[RunArguments, TrainerArguments]:
    args = TrainerArguments(str(folder / "out"), per_device_eval_batch_size=3, report_to="none", use_cpu=True)
    return RunArguments(task="audio_classification", data_dir="", cache_dir=str(folder), **run), args


def adapted(name: str, method: str, options=None):
    backbone = loading.load(name, head=True) if Path(name).is_dir() else load(name)
    config = applying.configure(method, backbone, options or FITTING.get(method))
    return backbone, stirred(applying.apply(speech_model(backbone), config))


def learned(model, batch):
    """Loss, outputs and gradients in training mode, with the same chance each time."""
    torch.manual_seed(3)
    np.random.seed(3)
    # Batch normalisation gathers statistics.
    before = copy.deepcopy(model.state_dict())
    model.train()
    model.zero_grad()
    output = model(**batch)
    output.loss.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad]
    model.eval()
    with torch.no_grad():
        values = [output.loss.detach(), output.logits.detach(), model(**batch).logits, *gradients]
    model.load_state_dict(before)
    return values


def compare(name, method, options, part, folder):
    backbone, model = adapted(name, method, options)
    collator = Collator(make_task("audio_classification", {"labels": ["x", "y", "z"]}), backbone)
    heard = utterances()
    batches = [[0, 1, 2, 3], [1, 3]]
    expected = [learned(model, collator([heard[index] for index in batch])) for batch in batches]
    cached = cache_frozen(model, heard, [], *arguments(folder))
    assert (cached and cached.part) == part
    for batch, values in zip(batches, expected, strict=True):
        rows = [heard[index] for index in batch]
        assert all(("waveform" in row) == (part is None) for row in rows)
        torch.testing.assert_close(learned(model, collator(rows)), values, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("method", [name for name in registry.names("method") if has_the_parts(Wav2Vec2, name)])
def test_every_method_learns_and_says_the_same_from_the_cache(method, tmp_path):
    means = {"linear_probe": "means of backbone", "weighted_sum_probe": "means of all states of backbone"}
    part = None if method in NOTHING_FROZEN else means.get(method, "cnn")
    compare("wav2vec2:tiny_like_base", method, None, part, tmp_path)


@pytest.mark.parametrize(("name", "method", "options", "part"), ELSEWHERE)
def test_so_it_does_on_other_families(name, method, options, part, tmp_path):
    compare(name, method, options, part, tmp_path)


def test_runs_share_outputs_and_compute_anew_what_is_damaged(tmp_path, caplog):
    def cached(method, **run):
        _, model = adapted("wav2vec2:tiny", method)
        heard = utterances()
        return cache_frozen(model, heard, [], *arguments(tmp_path, **run)), heard

    (first, heard), (second, again) = cached("lora"), cached("bottleneck_adapter")
    assert first.part == second.part == "cnn"
    assert first.seconds > 0 == second.seconds
    assert torch.equal(heard[2]["frozen"].output, again[2]["frozen"].output)
    (file,) = tmp_path.glob("frozen/*/states.bin")
    whole = file.read_bytes()
    file.write_bytes(whole[:-4])
    assert cached("lora")[0].seconds > 0
    assert file.read_bytes() == whole

    # Of the probe's means there is room; what was used before them leaves, and then nothing has room.
    limit = (file.stat().st_size + 100) / 1e9
    assert cached("linear_probe", cache_frozen=limit)[0].part == "means of backbone"
    assert not file.exists()
    caplog.clear()
    found, heard = cached("lora", cache_frozen=1e-6)
    assert found is None
    assert "waveform" in heard[0]
    assert "Outputs of the frozen cnn would take 0.0 GB, more than --cache_frozen allows" in caplog.text
    assert cached("lora", cache_frozen=0)[0] is None


def test_outputs_are_computed_anew_where_code_that_a_family_inherits_has_changed(tmp_path, monkeypatch):
    (tmp_path / "inherited.py").write_text("from sure.backbones.wav2vec2 import Wav2Vec2\nclass Base(Wav2Vec2): pass\n")
    (tmp_path / "inheriting.py").write_text("from inherited import Base\nclass Family(Base): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    inheriting = importlib.import_module("inheriting")

    def seconds():
        backbone, model = adapted("wav2vec2:tiny", "lora")
        backbone.__class__ = inheriting.Family
        return cache_frozen(model, utterances(), [], *arguments(tmp_path)).seconds

    assert seconds() > 0
    assert seconds() == 0
    with (tmp_path / "inherited.py").open("a") as file:
        file.write("# Changed.\n")
    assert seconds() > 0


def test_parts_of_a_split_bring_the_outputs_of_their_utterances(tmp_path):
    _, model = adapted("wav2vec2:tiny", "lora")
    heard = utterances()
    cache_frozen(model, heard, [], *arguments(tmp_path))
    parts = list(heard.parts(3))
    assert [len(part) for part in parts] == [3, 1]
    rows = [part[index] for part in parts for index in range(len(part))]
    for row, whole in zip(rows, heard[[0, 1, 2, 3]], strict=True):
        assert row["id"] == whole["id"]
        assert torch.equal(row["frozen"].output, whole["frozen"].output)


def test_what_changes_from_epoch_to_epoch_is_heard_and_evaluations_are_cached(tmp_path, caplog):
    _, model = adapted("wav2vec2:tiny", "linear_probe")
    training = utterances()
    training.change = lambda waveform, row, generator: waveform + generator.normal()
    evaluation, cut = utterances(), utterances()
    cut.seconds = 0.03
    assert cache_frozen(model, training, [evaluation, cut], *arguments(tmp_path)).part == "means of backbone"
    assert "waveform" in training[0]
    assert "for evaluations alone, since training changes its waveforms" in caplog.text
    # The first two begin with the same noise.
    assert not torch.allclose(evaluation[0]["frozen"].output, evaluation[1]["frozen"].output, atol=1e-3)
    assert len(list(tmp_path.glob("frozen/*/states.bin"))) == 2


def test_chance_below_the_adapted_layers_keeps_all_but_the_cnn_out(tmp_path):
    folder = save_backbone(tmp_path, "wav2vec2:tiny")

    def parts(options):
        backbone = loading.load(str(folder), head=True)
        model = applying.apply(speech_model(backbone), applying.configure("lora", backbone, options))
        before = torch.get_rng_state()
        found, by_chance = frozen_parts(model, backbone)
        assert torch.equal(torch.get_rng_state(), before)
        return [part.name for part in found], by_chance

    assert parts({"top": 1}) == (["cnn"], "what comes after it draws random numbers in training (dropout, SpecAugment)")
    without_chance(folder)
    assert parts({"top": 1}) == (["layers 0-0", "cnn"], None)
    assert parts({}) == (["cnn"], None)
    compare(str(folder), "lora", {"top": 1}, "layers 0-0", tmp_path / "cache")


def test_a_run_scores_the_same_and_its_record_says_what_it_was_spared(tmp_path):
    corpus = noise_with_labels(tmp_path / "corpus", "one", "two", "three")
    backbone = save_backbone(tmp_path / "backbone", "wav2vec2:tiny_like_base")
    flags = f"--task audio_classification --data_dir {corpus} --backbone {backbone} --num_train_epochs 2 --use_cpu True"
    flags += " --method weighted_sum_probe"
    flags += f" --report_to none --disable_tqdm True --cache_dir {tmp_path / 'cache'} --per_device_train_batch_size 2"

    def run(gigabytes):
        folder = tmp_path / str(gigabytes)
        result = main([*flags.split(), "--cache_frozen", str(gigabytes), "--output_dir", str(folder)])
        return result, read_predictions(folder, result.predictions["test"])

    (cached, rows), (plain, expected) = run(1), run(0)
    assert (cached.cost.cached.part, plain.cost.cached) == ("means of all states of backbone", None)
    assert cached.cost.macs_per_second == plain.cost.macs_per_second
    assert cached.scores == plain.scores
    for row, other in zip(rows, expected, strict=True):
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def test_nothing_is_kept_for_the_backward_pass_below_the_first_trained_parameter():
    backbone, model = adapted("wav2vec2:tiny", "lora", {"top": 1, "roles": "ffn_in"})
    batch = backbone.inputs(waveforms(0.5)) | {"labels": torch.tensor([0])}
    kept = []
    trains = backbone.model.encoder.layers[-1].feed_forward.intermediate_dense
    before = []
    trains.register_forward_pre_hook(lambda *_: before.append(len(kept)))
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        model.train()(**batch).loss.backward()
    assert before == [0]
    assert kept
