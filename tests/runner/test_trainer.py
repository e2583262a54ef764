"""The trainer's loops: what a step asks of the host, and what is kept of an evaluation."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback

from sure.runner.arguments import TrainerArguments
from sure.runner.batches import Collator, Utterances
from sure.runner.trainer import BenchmarkTrainer, CostMeter, Packed, callbacks
from tests.benchmarks.runner_overhead import adapted, noise_corpus


class Waits(TorchDispatchMode, TrainerCallback):
    """Counts, from the end of the first step to that of the last, what would wait until a GPU has come so far.

    That is whatever reads a number from a tensor, or makes one whose size depends on numbers in another.
    """

    kinds = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.equal")

    def __init__(self):
        super().__init__()
        self.operations, self.found, self.counting = 0, [], False

    def on_step_end(self, args, state, control, **_):
        self.counting = state.global_step < state.max_steps

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if self.counting:
            self.operations += 1
            self.found += [str(function)] * str(function).startswith(self.kinds)
        return function(*args, **(kwargs or {}))


@pytest.fixture
def trainer(tmp_path):
    def of(backbone_name, method="lora", **settings):
        task, splits = noise_corpus(tmp_path, [0.3] * 8)
        backbone, model = adapted(task, method, backbone_name)
        args = TrainerArguments(
            output_dir=str(tmp_path / "run"),
            per_device_train_batch_size=2,
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
            label_names=["labels"],
            disable_tqdm=True,
            report_to="none",
            use_cpu=True,
            **settings,
        )
        data = Utterances(splits["train"]), Utterances(splits["validation"])
        return BenchmarkTrainer(
            task, Collator(task, backbone), *data, model=model, args=args, callbacks=callbacks(patience=0)
        )

    return of


def test_the_peak_of_a_gpu_is_of_steps_and_not_of_evaluations(monkeypatch):
    gpu = {"now": 100, "peak": 0}
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: gpu.update(peak=0))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: gpu["peak"])
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: gpu["now"])
    meter, args = CostMeter(), SimpleNamespace(device=torch.device("cuda"))
    meter.on_train_begin(args)
    for step, evaluation in ((150, 9000), (140, 9000)):
        gpu["peak"] = step
        meter.on_step_end(args)
        gpu["peak"] = evaluation
        meter.evaluated(1.0)
    memory = meter.memory(args.device)
    assert (memory.kind, memory.mean, memory.maximum) == ("cuda allocated", 100, 150)


def test_between_two_logs_a_step_waits_for_nothing(trainer):
    # Of the families with masks, transformers looks at each for padding.
    one, waits = trainer("whisper:tiny", max_steps=4, logging_steps=4), Waits()
    one.add_callback(waits)
    with waits:
        one.train()
    assert waits.operations > 1000
    assert waits.found == []


@pytest.mark.parametrize("method", ["bitfit", "lora+bitfit", "full_finetuning"])
def test_no_bias_decays(method, trainer):
    one = trainer("wav2vec2:tiny", method, weight_decay=0.1)
    groups = one.create_optimizer().param_groups
    decayed = {id(weight) for group in groups if group["weight_decay"] for weight in group["params"]}
    vectors = {name for name, weight in one.model.named_parameters() if id(weight) in decayed and weight.ndim == 1}
    assert decayed
    # What stands where SpecAugment masks is a vector and no bias.
    assert all(name.endswith("masked_spec_embed") for name in vectors)


def test_what_is_packed_is_what_it_was():
    pack = Packed(block=64)
    outputs = [torch.randn(2, 3), torch.arange(5), torch.tensor([True] * 3), torch.randn(4, 8), torch.ones(1)]
    packed = [pack(output) for output in outputs]
    for output, copy in zip(outputs, packed, strict=True):
        assert copy.dtype == output.dtype
        assert torch.equal(copy, output)
    blocks = [copy.untyped_storage().data_ptr() for copy in packed]
    assert blocks[0] == blocks[1] != blocks[2] != blocks[3] != blocks[4]


def test_outputs_of_all_batches_are_in_one_block(trainer):
    one = trainer("wav2vec2:tiny", per_device_eval_batch_size=2)
    outputs = one.outputs_of(one.train_dataset)
    assert len(outputs) == 8
    assert np.isfinite(outputs).all()
    blocks = set()
    for owner in outputs:
        while isinstance(owner, np.ndarray):
            owner = owner.base
        blocks.add(owner.untyped_storage().data_ptr())
    assert len(blocks) == 1


@pytest.mark.parametrize("settings", [{}, {"max_batch_seconds": 0.7}], ids=["utterances", "seconds"])
def test_what_is_predicted_in_parts_is_what_it_is_at_once(settings, trainer, tmp_path, monkeypatch):
    one = trainer("wav2vec2:tiny", per_device_eval_batch_size=2, **settings)
    utterances, task, predicted, kept = one.train_dataset, one.task, [], []
    expected = one.predict_rows(utterances, keep=False)
    predict = task.predict
    monkeypatch.setattr(task, "predict", lambda outputs, rows: predicted.append(len(outputs)) or predict(outputs, rows))
    monkeypatch.setattr(task, "keep", lambda outputs, rows, folder: kept.extend(row["id"] for row in rows))
    monkeypatch.setattr(type(task), "predicted_at_a_time", 3)
    rows = one.predict_rows(utterances, keep=True)
    assert predicted == [3, 3, 2]
    assert sorted(kept) == [row["id"] for row in rows] == [row["id"] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
