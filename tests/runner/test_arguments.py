"""Settings are refused before anything is read, and processes that do not train together."""

import pytest
import torch

from sure.cli.train import train
from sure.errors import SureError
from sure.record import DECISIVE, Result
from sure.runner.arguments import parse, settings
from sure.runner.run import main
from tests.factories.corpora import noise_with_labels
from tests.factories.encoders import folder_of

WORDS = "--task esd_emotion --data_dir nowhere --report_to none".split()


def test_without_an_accelerator_a_run_is_told_that_it_is_on_a_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    _, trainer = parse(WORDS, "sure train")
    assert trainer.use_cpu
    assert trainer.device.type == "cpu"


def test_a_board_joins_runs_that_differ_in_no_setting_but_the_seed():
    """A setting that is new here must be one of those that part runs of a board, or of what records name by itself."""
    named = {"task", "task_options", "backbone", "backbone_revision", "backbone_options", "method", "method_options"}
    assert settings(*parse(WORDS, "sure train")).keys() - named - {"seed"} == set(DECISIVE)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2"}, "2 processes were started and 1 train together"),
        ({"OMPI_COMM_WORLD_SIZE": "3"}, "3 processes were started and 1 train together"),
        # What `accelerate launch --num_processes 2` sets without several GPUs, for the one process that it starts.
        ({"ACCELERATE_USE_CPU": "False", "MASTER_PORT": "29500"}, "accelerate launch was to start several processes"),
    ],
)
def test_processes_that_do_not_train_together_are_refused(environment, message, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # As if there were one, and then a CPU is not taken for where processes meet.
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    with pytest.raises(SureError, match=message):
        parse(WORDS, "sure train")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--learning_rate -1", "--learning_rate -1: give a number from 0 on"),
        ("--learning_rate nan", "--learning_rate nan: give a number from 0 on"),
        ("--learning_rate inf", "--learning_rate inf: give a number from 0 on"),
        ("--seed -1", "--seed -1: give one from 0 to 4294967295"),
        ("--data_seed 4294967296", "--data_seed 4.29497e.09: give one from 0 to 4294967295"),
        ("--num_train_epochs nan", "--num_train_epochs nan: give a number"),
        ("--num_train_epochs 0", "--num_train_epochs 0: nothing would be trained.*--max_steps 1 --learning_rate 0"),
        ("--max_steps 0", "--max_steps 0: nothing would be trained"),
        ("--max_steps -2", "--max_steps -2: give a number from -1 on"),
        ("--warmup_steps -1", "--warmup_steps -1: give a number from 0 on"),
        ("--max_seconds 0", "--max_seconds 0: give a number of seconds, at least the 0.025 s"),
        ("--max_batch_seconds 0", "--max_batch_seconds 0: give a number above 0"),
        ("--eval_steps 0", "--eval_steps 0: give a number above 0"),
        ("--gradient_accumulation_steps 0", "--gradient_accumulation_steps 0: give a whole number above 0"),
        ("--preprocessing_workers 0", "--preprocessing_workers 0: give a whole number above 0"),
        ("--label_smoothing_factor 2", "--label_smoothing_factor 2: give one from 0 to 1"),
        ("--adam_beta1 2", "Training arguments: Invalid beta"),
        ("--train_sampling_strategy sorted", "invalid choice: 'sorted'"),
        ("--optim fastest", "invalid choice: 'fastest'"),
        ("--optim lomo", "Training arguments: You need to install `lomo_optim`"),
        ("--optim_args momentum", "Training arguments: "),
        ('--lr_scheduler_kwargs {"half_life":3}', "Training arguments: .*half_life"),
        ("--deepspeed none.json", "Training arguments: .*deepspeed"),
        ("--accelerator_config none.json", "Training arguments: .*none.json"),
        ("--report_to nobody", "Training arguments: nobody is not supported"),
        ("--report_to swanlab", "Training arguments: .*swanlab"),
        ("--push_to_hub True", "--push_to_hub: a run publishes nothing"),
        ("--dataloader_drop_last True", "--dataloader_drop_last: it would leave utterances out"),
        ("--auto_find_batch_size True", "--auto_find_batch_size: a record states the batch size"),
        ("--bf16_full_eval True", "--bf16_full_eval: what is tested is what was trained"),
        ("--save_only_model True", "--save_only_model: a run resumes by itself"),
        ("--eval_on_start True", "--eval_on_start: a run that resumes would do it again"),
        (
            "--eval_strategy steps --eval_steps 1 --save_steps 3",
            "--save_steps 3: the best of the evaluations, every 1 s",
        ),
        ("--dataloader_persistent_workers True", "--dataloader_persistent_workers True needs workers"),
        ("--torch_compile_mode reduce", "Unknown mode for --torch_compile_mode 'reduce'. Choose one of: default"),
        ("--ignore_data_skip True", "--ignore_data_skip: a run that resumes goes on with the batches"),
        ("--method lora2", "Unknown method 'lora2'"),
    ],
)
def test_settings_that_no_run_can_have_are_refused_before_the_corpus_is_looked_for(words, message):
    with pytest.raises(SureError, match=message):
        main([*WORDS, *words.split()])


def test_what_trains_nothing_because_it_is_asked_to_says_so(tmp_path, capsys):
    """How models are scored as they were pretrained (`recipes/whisper_base.sh`)."""
    corpus = noise_with_labels(tmp_path / "corpus", "angry", "sad")
    words = f"--task audio_classification --data_dir {corpus} --backbone {folder_of('wav2vec2:tiny')} --method lora"
    words += f" --max_steps 1 --learning_rate 0 --report_to none --use_cpu True --output_dir {tmp_path / 'out'}"
    train(words.split(), "sure train")
    assert Result.read(tmp_path / "out" / "result.json").run.arguments["learning_rate"] == 0
    assert "the learning rate was 0: nothing was trained" in capsys.readouterr().out
