"""Every family of tasks is interrupted and resumed, and runs on several processes, as emotion is (`test_train.py`)."""

import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from sure import synth
from sure.results import Result, read_predictions
from sure.train import main
from sure.trainer import BenchmarkTrainer
from tests.factories import save_backbone
from tests.speaking_factories import save_fastspeech2_conformer

pytest.importorskip("espeakng_loader", reason='eSpeak NG is not installed: pip install "sure-bench[synth]"')

FLAGS = "--max_steps 4 --eval_strategy steps --eval_steps 2 --logging_steps 1 --report_to none --use_cpu True"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    synth.fleurs(folder / "fleurs", train=8, dev=2, test=3)
    synth.voxceleb(folder / "voxceleb", speakers=13, test_speakers=3, sessions=2, utterances=1)
    synth.libritts(folder / "libritts", speakers=2, chapters=1, utterances=6, test=0)
    save_backbone(folder / "encoder", "wav2vec2")
    save_fastspeech2_conformer(folder / "speaker")
    return folder


@pytest.fixture(
    params=[
        "--task asr_fleurs --data_dir {0}/fleurs --backbone {0}/encoder",
        "--task sv_voxceleb1 --data_dir {0}/voxceleb --backbone {0}/encoder --task_options crop_seconds=1",
        "--task tts_libritts --data_dir {0}/libritts --backbone {0}/speaker",
    ],
    ids=["asr", "sv", "tts"],
)
def words(request, folder):
    common = f"{FLAGS} --method bitfit --per_device_train_batch_size 2 --cache_dir {folder / 'cache'}"
    return f"{request.param.format(folder)} {common}".split()


def test_interrupted_and_run_again_it_ends_as_if_it_had_not_been(words, tmp_path, monkeypatch):
    whole = main([*words, "--output_dir", str(tmp_path / "whole")])
    learns = BenchmarkTrainer.training_step

    def interrupted(self, *arguments):
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return learns(self, *arguments)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(BenchmarkTrainer, "training_step", interrupted)
        main([*words, "--output_dir", str(tmp_path / "resumed")])
    resumed = main([*words, "--output_dir", str(tmp_path / "resumed")])
    assert resumed.scores == whole.scores
    assert resumed.cost.steps == whole.cost.steps == 4
    weights = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "resumed")]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_two_processes_score_every_utterance_or_trial_once(words, tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "sure.train"]
    done = subprocess.run(
        [sys.executable, *launcher, *words, "--output_dir", tmp_path],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = Result.read(tmp_path / "result.json")
    assert result.cost.processes == 2
    rows = read_predictions(tmp_path, result.predictions["test"])
    assert len({row["id"] for row in rows}) == len(rows)
    # Three texts; of three speakers six trials; of two speakers a sentence each.
    assert len(rows) == {"asr_fleurs": 3, "sv_voxceleb1": 6, "tts_libritts": 2}[result.run.task]
