"""One step of the optimiser, however its utterances are divided: into batches that accumulate, among processes."""

import os
from dataclasses import replace
from importlib.util import find_spec
from itertools import chain

import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from safetensors.torch import load_file
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2EncoderLayerStableLayerNorm

from sure.audio import SAMPLE_RATE
from sure.backbone.padding import Padding
from sure.heads import ClassificationHead, CTCHead
from sure.record import Result, read_predictions
from sure.runner.batches import EvaluationBatches, Room, TrainingBatches
from sure.runner.run import main
from sure.runner.trainer import BenchmarkTrainer
from tests.factories import REPOSITORY, processes
from tests.factories.corpora import noise_in_fleurs_layout
from tests.factories.encoders import save_backbone, without_chance

# Of 13 utterances each second step has 5, and a checkpoint lies in the middle of an epoch.
UTTERANCES = 13


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    noise_in_fleurs_layout(folder / "en_us", train=UTTERANCES, dev=2, test=2)
    without_chance(save_backbone(folder / "backbone", "wav2vec2"))
    common = f"--task asr_fleurs --data_dir {folder}/en_us --backbone {folder}/backbone --max_steps 6 --use_cpu True"
    common += " --eval_strategy steps --eval_steps 3 --early_stopping_patience 0 --report_to none --disable_tqdm True"
    common += f" --cache_dir {folder}/cache --seed 3"

    def command(output_dir, method, batch_size, accumulated=1, *more):
        run = f"--output_dir {output_dir} --method {method} --per_device_train_batch_size {batch_size}"
        return [*f"{common} {run} --gradient_accumulation_steps {accumulated}".split(), *more]

    return command


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def assert_the_same(folder, other):
    first, second = (Result.read(at / "result.json") for at in (folder, other))
    assert (first.cost.processes, second.cost.processes) == (1, 2)
    for split, scores in first.scores.items():
        for name, score in scores.items():
            assert second.scores[split][name].value == pytest.approx(score.value)
        assert read_predictions(folder, first.predictions[split]) == read_predictions(other, second.predictions[split])
    assert first.cost.steps == second.cost.steps == 6
    seen = [result.cost.samples_per_second * result.cost.training_seconds for result in (first, second)]
    assert seen == pytest.approx([3 * UTTERANCES] * 2)
    assert_close(folder, other)


def assert_close(folder, other):
    mine, others = weights(folder), weights(other)
    assert mine.keys() == others.keys()
    for name, tensor in mine.items():
        torch.testing.assert_close(
            tensor, others[name], atol=2e-5, rtol=1e-4, msg=lambda said, at=name: f"{at}: {said}"
        )


@pytest.mark.parametrize(
    ("utterances", "batch_size", "accumulated", "count"), [(13, 2, 2, 2), (13, 1, 3, 4), (9, 8, 1, 4), (2, 1, 1, 3)]
)
def test_processes_divide_an_epoch_among_them(utterances, batch_size, accumulated, count):
    def batches(process, epoch, **changed):
        of = {"batch_size": batch_size, "accumulated": accumulated, "processes": count, "process": process} | changed
        return list(TrainingBatches(range(utterances), 0, epoch=lambda: epoch, **of))

    for epoch in (0, 1):
        found = [batches(process, epoch) for process in range(count)]
        assert len({len(of_process) for of_process in found}) == 1
        assert len(found[0]) == len(TrainingBatches(range(utterances), 0, batch_size=batch_size, processes=count))
        indices = [index for batch in chain(*found) for index in batch]
        assert sorted(index for index in indices if index >= 0) == [epoch * utterances + n for n in range(utterances)]
        assert all(batch for batch in chain(*found))
        assert max(len(batch) for batch in chain(*found)) <= batch_size
        # The steps are those of one process.
        alone = batches(0, epoch, batch_size=batch_size * accumulated * count, accumulated=1, processes=1)
        for step, together in enumerate(alone):
            parts = chain(*(of[step * accumulated : (step + 1) * accumulated] for of in found))
            assert sorted(index for part in parts for index in part if index >= 0) == sorted(together)


@pytest.mark.parametrize(
    ("seconds", "window", "batch_size", "count"), [(9, None, 5, 1), (9, None, 4, 3), (3, 1, 6, 2), (2, None, 2, 2)]
)
def test_seconds_cut_batches_into_parts_and_no_step_changes(seconds, window, batch_size, count):
    lengths = [SAMPLE_RATE * (1 + number * 7 % 6) for number in range(23)]
    room = Room(seconds, window)

    def batches(process, room):
        of = {"batch_size": batch_size, "accumulated": 2, "processes": count, "process": process, "epoch": lambda: 1}
        return list(TrainingBatches(lengths, 0, room=room, **of))

    cut = [batches(process, room) for process in range(count)]
    for process, of_process in enumerate(cut):
        whole = batches(process, None)
        assert len(whole) == len(of_process)
        for batch, parts in zip(whole, of_process, strict=True):
            assert sorted(index for index in chain(*parts) if index >= 0) == sorted(i for i in batch if i >= 0)
            for part in parts:
                heard = [window or lengths[max(index, ~index) % len(lengths)] / SAMPLE_RATE for index in part]
                assert len(part) * max(heard) <= seconds or len(part) == 1
                # Nothing that counts is with what does not.
                assert len({index < 0 for index in part}) == 1
    for together in zip(*cut, strict=True):
        assert len(set(map(len, together))) == 1

    # What may become twice as long has room for half as many.
    twice = list(replace(room, stretch=2.0).parts(longest_first := sorted(lengths, reverse=True)))
    assert twice == list((room if window else Room(seconds / 2)).parts(longest_first))
    found = [list(EvaluationBatches(longest_first, room, count, process)) for process in range(count)]
    for together in zip(*found, strict=True):
        assert len(set(map(len, together))) == 1
        heard = window or longest_first[together[0][0]] / SAMPLE_RATE
        assert len(together[0]) * heard <= seconds or len(together[0]) == 1
    in_order = list(chain(*chain(*zip(*found, strict=True))))
    assert in_order[: len(lengths)] == list(range(len(lengths)))
    assert set(in_order[len(lengths) :]) <= {len(lengths) - 1} and len(in_order) < len(lengths) + count


def test_a_run_in_parts_ends_as_the_whole_one_and_resumes(words, tmp_path, monkeypatch, caplog):
    plain = main(words(tmp_path / "plain", "full_finetuning", 4))
    learns, passes = BenchmarkTrainer.compute_loss, []

    def interrupted(self, model, inputs, *more, **given):
        if self.state.global_step == 4 and len(passes) % 2:
            raise RuntimeError("interrupted")
        passes.append(inputs["input_values"].shape)
        return learns(self, model, inputs, *more, **given)

    parts = words(tmp_path / "parts", "full_finetuning", 4, 1, "--max_batch_seconds", "1.2")
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="interrupted"):
        patched.setattr(BenchmarkTrainer, "compute_loss", interrupted)
        main(parts)
    assert all(size * samples <= 1.2 * SAMPLE_RATE or size == 1 for size, samples in passes)
    assert "is longer and has a batch to itself" in caplog.text
    resumed = main(parts)
    assert "Resuming from" in caplog.text
    assert_close(tmp_path / "plain", tmp_path / "parts")
    assert resumed.cost.samples_per_second * resumed.cost.training_seconds == pytest.approx(UTTERANCES + 2 * 4)
    assert {name: score.value for name, score in resumed.scores["test"].items()} == {
        name: score.value for name, score in plain.scores["test"].items()
    }
    assert resumed.run.arguments["max_batch_seconds"] == 1.2


@pytest.mark.parametrize("head", ["weighted labels", "columns of labels", "weighted columns of labels", "texts"])
def test_means_over_parts_weighted_by_their_items_are_the_mean_over_the_whole(head):
    torch.manual_seed(0)
    states = torch.randn(5, 9, 8)
    if head == "texts":
        head, labels = CTCHead(8, 4), torch.tensor([[1, 2, 3], [1, -100, -100], [2, 2, -100], [3, 1, 2], [1, 1, -100]])
    elif head == "weighted labels":
        head, labels = ClassificationHead(8, 3), torch.tensor([0, 0, 1, 2, 0])
        head.label_weights.copy_(torch.tensor([0.5, 1.0, 3.0]))
    else:
        weights = [0.5, 4.0, 3.0, 0.2, 1.0] if "weighted" in head else [1.0] * 5
        head, labels = ClassificationHead(8, 2, 3), torch.tensor([[0, 2], [1, 1], [1, 0], [0, 0], [1, 2]])
        head.label_weights.copy_(torch.tensor(weights))
    parts = [slice(0, 1), slice(1, 3), slice(3, 5)]
    items = torch.stack([head.items(labels[part]) for part in parts]).float()
    losses = torch.stack([head(states[part], Padding(), labels=labels[part])[0] for part in parts])
    whole, _ = head(states, Padding(), labels=labels)
    torch.testing.assert_close((losses * items).sum() / items.sum(), whole)
    if labels.ndim == 1:
        assert not torch.allclose(losses.mean(), whole)


def launched_with(configuration):
    """What `accelerate launch` tells its processes, but for where they find one another."""
    words = ["--config_file", str(REPOSITORY / f"recipes/accelerate/{configuration}.yaml"), "-m", "sure.train"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    if arguments.use_deepspeed:
        arguments.deepspeed_fields_from_accelerate_config = "zero_stage,zero3_init_flag,zero3_save_16bit_model"
        told = prepare_deepspeed_cmd_env(arguments)[1]
    else:
        told = prepare_multi_gpu_env(arguments)
    return {name: value for name, value in told.items() if name.startswith(("ACCELERATE", "FSDP"))}


def runs_of_two(copied, sharded, interrupted):
    """One after another; the last stops after a checkpoint in the middle of an epoch, and goes on."""
    main(copied)
    os.environ.update(launched_with("fsdp2"))
    learns = BenchmarkTrainer.training_step

    def in_parts(self, model, *arguments):
        assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
        # Each layer is gathered by itself.
        layers = [module for module in model.modules() if isinstance(module, Wav2Vec2EncoderLayerStableLayerNorm)]
        assert layers and all(isinstance(layer, FSDPModule) for layer in layers)
        if fails and self.state.global_step == 4:
            raise RuntimeError("interrupted")
        return learns(self, model, *arguments)

    BenchmarkTrainer.training_step, fails = in_parts, False
    main(sharded)
    fails = True
    with pytest.raises(RuntimeError, match="interrupted"):
        main(interrupted)
    fails = False
    main(interrupted)


@pytest.mark.slow
def test_accumulated_copied_sharded_and_resumed_a_run_ends_as_the_plain_one(words, tmp_path):
    together = processes.start_together(
        2,
        runs_of_two,
        words(tmp_path / "copied", "lora", 2, 2, "--max_batch_seconds", "1"),
        words(tmp_path / "sharded", "lora", 2, 2),
        words(tmp_path / "resumed", "full_finetuning", 4, 1, "--max_batch_seconds", "2"),
    )
    main(words(tmp_path / "plain", "lora", 8))
    main(words(tmp_path / "accumulated", "full_finetuning", 2, 4))
    for process in together:
        process.join()
    assert [process.exitcode for process in together] == [0, 0]
    for name in ("copied", "sharded"):
        assert_the_same(tmp_path / "plain", tmp_path / name)
    assert_the_same(tmp_path / "accumulated", tmp_path / "resumed")


def runs_of_deepspeed(stage, command, interrupted):
    """The last stops after a checkpoint, and goes on."""
    os.environ.update(launched_with(f"deepspeed_zero{stage}"), DS_ACCELERATOR="cpu", LOCAL_SIZE="2")
    # What DeepSpeed compiles for a CPU takes minutes; it is kept where it always is.
    os.environ.pop("TORCH_EXTENSIONS_DIR", None)
    # Accelerate takes a CPU for none of DeepSpeed's, unless it is an accelerator.
    os.environ.pop("ACCELERATE_USE_CPU", None)
    torch.accelerator.is_available = lambda: True
    main(command)
    learns = BenchmarkTrainer.training_step

    def divided(self, model, *arguments):
        assert model.zero_optimization_stage() == stage
        if self.state.global_step == 4:
            raise RuntimeError("interrupted")
        return learns(self, model, *arguments)

    BenchmarkTrainer.training_step = divided
    with pytest.raises(RuntimeError, match="interrupted"):
        main(interrupted)
    BenchmarkTrainer.training_step = learns
    main(interrupted)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")
@pytest.mark.parametrize("stage", [2, 3])
def test_with_deepspeed_a_run_ends_as_the_plain_one(stage, words, tmp_path):
    def command(name, *more):
        given = words(tmp_path / name, *more, "--ddp_backend", "gloo")
        at = given.index("--use_cpu")
        return given[:at] + given[at + 2 :]

    together = processes.start_together(
        2,
        runs_of_deepspeed,
        stage,
        command("adapter", "lora", 2, 2),
        command("resumed", "full_finetuning", 4, 1, "--max_batch_seconds", "2"),
    )
    main(words(tmp_path / "plain", "lora", 8))
    main(words(tmp_path / "whole", "full_finetuning", 8))
    for process in together:
        process.join()
    assert [process.exitcode for process in together] == [0, 0]
    assert_the_same(tmp_path / "plain", tmp_path / "adapter")
    assert_the_same(tmp_path / "whole", tmp_path / "resumed")


@pytest.mark.parametrize(
    ("configuration", "launcher"),
    [
        ("ddp", "multi_gpu"),
        ("fsdp2", "use_fsdp"),
        ("deepspeed_zero2", "use_deepspeed"),
        ("deepspeed_zero3", "use_deepspeed"),
    ],
)
def test_accelerate_reads_the_configurations(configuration, launcher):
    words = ["--config_file", str(REPOSITORY / f"recipes/accelerate/{configuration}.yaml"), "-m", "sure.train"]
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert {name for name in ("multi_gpu", "use_fsdp", "use_deepspeed") if getattr(arguments, name)} == {launcher}
    if launcher == "use_deepspeed":
        assert f"zero{arguments.zero_stage}" == configuration.removeprefix("deepspeed_")
