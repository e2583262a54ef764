"""Settings are refused before anything is read, and processes that do not train together."""

import pytest
import torch

from sure.errors import SureError
from sure.runner.arguments import parse

WORDS = "--task esd_emotion --data_dir nowhere --report_to none".split()


def test_without_an_accelerator_a_run_is_told_that_it_is_on_a_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    _, trainer = parse(WORDS, "sure train")
    assert trainer.use_cpu
    assert trainer.device.type == "cpu"


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
