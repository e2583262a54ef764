"""The output folder: for one run at a time, with a record of what failed, and refused where it is none."""

import json

import pytest
from safetensors.torch import load_file, save_file

from sure.errors import SureError
from sure.files import locked
from sure.record import Result
from sure.runner import run
from sure.runner.run import main
from sure.runner.trainer import BenchmarkTrainer
from tests.factories.corpora import noise_with_labels
from tests.factories.disks import small_disk
from tests.factories.encoders import folder_of, save_backbone


@pytest.fixture
def command(tmp_path):
    corpus = noise_with_labels(tmp_path / "corpus", "angry", "sad")
    words = f"--task audio_classification --data_dir {corpus} --backbone {folder_of('wav2vec2:tiny')} --method lora"
    words += " --max_steps 2 --eval_strategy steps --eval_steps 1 --report_to none --use_cpu True --disable_tqdm True"
    return [*words.split(), "--output_dir", str(tmp_path / "out")]


def test_a_run_is_alone_in_its_folder(command, tmp_path):
    with locked(tmp_path / "out", "the other run", wait=False):
        with pytest.raises(SureError, match=r"--output_dir .*out is in use by another run"):
            main(command)
    assert main(command).status == "complete"


def test_a_folder_that_is_none_is_refused_before_decoding(command, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(SureError, match=r"--output_dir .*out: cannot be written \(File exists\)"):
        main([*command, "--cache_dir", str(tmp_path / "cache")])
    assert not (tmp_path / "cache").exists()


def test_a_disk_without_room_leaves_a_failed_record_and_no_half_checkpoint(command, tmp_path):
    # A record has room.
    said = r"The run failed: .*(File too large|cannot be written, is the disk full)"
    with small_disk(30_000), pytest.raises(SureError, match=said):
        main(command)
    result = Result.read(tmp_path / "out" / "result.json")
    assert result.status == "failed"
    assert not list((tmp_path / "out").glob("checkpoint-*"))


def test_with_no_room_for_that_record_either_it_says_so(command, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(BenchmarkTrainer, "training_step", full)
    monkeypatch.setattr(Result, "write", full)
    with pytest.raises(SureError, match=r"No space left on device; no record of it could be written either"):
        main(command)


def test_a_mistake_of_ours_keeps_its_traceback_and_leaves_a_failed_record(command, tmp_path, monkeypatch):
    monkeypatch.setattr(BenchmarkTrainer, "training_step", lambda *_: {}["missing"])
    with pytest.raises(KeyError):
        main(command)
    assert Result.read(tmp_path / "out" / "result.json").error == "KeyError: 'missing'"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"arguments": 1}', "\ud800"])
def test_a_broken_description_of_a_run_is_named_with_what_to_do(content, command, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(SureError, match=r"run\.json is not a run of `sure train`: .* --restart True"):
        main(command)


def test_a_broken_record_is_named_and_discarded_where_that_is_asked_for(command, tmp_path):
    main(command)
    (tmp_path / "out" / "result.json").write_text("{")
    with pytest.raises(SureError, match=r"result\.json is not a result record .* --restart True"):
        main(command)
    assert main([*command, "--restart", "True"]).status == "complete"


def test_a_mistake_in_what_is_to_replace_a_run_leaves_it_as_it_was(command, tmp_path):
    done = main(command)
    held = sorted(path.name for path in (tmp_path / "out").iterdir())
    with pytest.raises(SureError, match="Unknown option of lora: 'rr'"):
        main([*command, "--restart", "True", "--method_options", "rr=4"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == held
    assert main(command) == done


def test_what_is_named_like_a_checkpoint_and_has_no_step_is_not_resumed_from(command, tmp_path):
    copy = tmp_path / "out" / "checkpoint-copy"
    copy.mkdir(parents=True)
    (copy / "trainer_state.json").write_text(json.dumps({"global_step": 1}))
    assert main(command).cost.steps == 2


def test_moved_after_its_last_step_a_run_still_tests_its_best_checkpoint(command, tmp_path):
    main(command)
    state = json.loads((tmp_path / "out" / "checkpoint-2" / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"] == str(tmp_path / "out" / "checkpoint-1")
    best = load_file(tmp_path / "out" / "adapter_model.safetensors")
    (tmp_path / "out" / "result.json").unlink()
    (tmp_path / "out").rename(tmp_path / "moved")
    main([*command, "--output_dir", str(tmp_path / "moved")])
    tested = load_file(tmp_path / "moved" / "adapter_model.safetensors")
    assert all(tested[name].equal(best[name]) for name in best)


def killed(*_, **__):
    raise KeyboardInterrupt


def test_a_run_that_is_to_replace_another_leaves_nothing_of_it_when_it_begins(command, tmp_path, monkeypatch):
    main(command)
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()
    monkeypatch.setattr(BenchmarkTrainer, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        main([*command, "--seed", "7", "--restart", "True"])
    left = {path.name for path in (tmp_path / "out").iterdir()} - {".lock"}
    assert left == {"run.json", "README.md"}


def test_what_was_interrupted_does_not_go_on_with_other_weights(command, tmp_path, monkeypatch):
    backbone = save_backbone(tmp_path / "backbone", "wav2vec2")
    command += ["--backbone", str(backbone)]
    with monkeypatch.context() as interrupted:
        interrupted.setattr(BenchmarkTrainer, "predict_rows", killed)
        with pytest.raises(KeyboardInterrupt):
            main(command)
    weights = load_file(backbone / "model.safetensors")
    save_file(
        {name: 1.01 * tensor for name, tensor in weights.items()}, backbone / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(
        SureError, match=r"out holds a run that began with another backbone .*backbone\. Choose another"
    ):
        main(command)
    save_file(weights, backbone / "model.safetensors", {"format": "pt"})
    assert main(command).status == "complete"


def test_stopped_early_and_killed_a_run_tests_its_end_where_that_is_asked_for(command, tmp_path, monkeypatch):
    command += ["--load_best_model_at_end", "False", "--learning_rate", "0.01"]
    main(command)
    out = tmp_path / "out"
    end, before = (load_file(out / f"checkpoint-{step}" / "adapter_model.safetensors") for step in (2, 1))
    assert not all(end[name].equal(before[name]) for name in end)
    (out / "result.json").unlink()
    monkeypatch.setattr(run, "stopped_early", lambda _: out / "checkpoint-1")
    main(command)
    tested = load_file(out / "adapter_model.safetensors")
    assert all(tested[name].equal(end[name]) for name in end)


def test_a_schedule_by_the_metric_knows_which_is_better(command):
    command += ["--lr_scheduler_type", "reduce_lr_on_plateau"]
    assert main(command).run.arguments["lr_scheduler_kwargs"] == {"mode": "max"}


def test_killed_while_test_is_scored_nothing_is_trained_again(command, tmp_path, monkeypatch):
    with monkeypatch.context() as interrupted:
        interrupted.setattr(BenchmarkTrainer, "predict_rows", killed)
        with pytest.raises(KeyboardInterrupt):
            main(command)
    monkeypatch.setattr(BenchmarkTrainer, "training_step", lambda *_: pytest.fail("trained again"))
    result = main(command)
    assert result.status == "complete"
    assert result.cost.steps == 2
