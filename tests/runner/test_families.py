"""Every family of tasks is interrupted and resumed, and runs on several processes, as emotion is (`test_run.py`)."""

import signal

import pytest
from safetensors.torch import load_file

from sure import synth
from sure.record import Result, read_predictions
from sure.runner.run import main
from sure.runner.trainer import BenchmarkTrainer
from sure.task.text_to_speech import TextToSpeechTask
from tests.factories import processes
from tests.factories.corpora import short_sentences
from tests.factories.encoders import save_backbone
from tests.factories.speaking import save_fastspeech2_conformer, save_speecht5
from tests.factories.writing import save_whisper

pytest.importorskip("espeakng_loader", reason='eSpeak NG is not installed: pip install "sure-bench[synth]"')

FLAGS = "--max_steps 4 --eval_strategy steps --eval_steps 2 --logging_steps 1 --report_to none --use_cpu True"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    with short_sentences():
        synth.fleurs.make(folder / "fleurs", train=8, dev=2, test=3)
        synth.voxceleb.make(folder / "voxceleb", speakers=13, test_speakers=3, sessions=2, utterances=1)
        synth.libritts.make(folder / "libritts", speakers=2, chapters=1, utterances=6, test=0)
    save_backbone(folder / "encoder", "wav2vec2")
    save_fastspeech2_conformer(folder / "fastspeech2")
    save_speecht5(folder / "speecht5")
    save_whisper(folder / "whisper")
    return folder


RUNS = {
    "asr": "--task asr_fleurs --data_dir {0}/fleurs --backbone {0}/encoder",
    "sv": "--task sv_voxceleb1 --data_dir {0}/voxceleb --backbone {0}/encoder --task_options crop_seconds=1 "
    "score_normalization=adaptive",
    "tts": "--task tts_libritts --data_dir {0}/libritts --backbone {0}/fastspeech2",
    "asr with whisper": "--task asr_fleurs --data_dir {0}/fleurs --backbone {0}/whisper",
    "tts with speecht5": "--task tts_libritts --data_dir {0}/libritts --backbone {0}/speecht5",
}


@pytest.fixture(params=RUNS)
def words(request, folder):
    common = f"{FLAGS} --method bitfit --per_device_train_batch_size 2 --cache_dir {folder / 'cache'}"
    return f"{RUNS[request.param].format(folder)} {common}".split()


def killed_in_the_third_step(words):
    """Runs as the command does until the second step's checkpoint has been written."""
    learns = BenchmarkTrainer.training_step

    def killed(self, *arguments):
        if self.state.global_step == 3:
            processes.kill_this()
        return learns(self, *arguments)

    BenchmarkTrainer.training_step = killed
    main(words)


@pytest.mark.slow
def test_killed_and_run_again_it_ends_as_if_it_had_not_been(words, tmp_path, caplog):
    whole = main([*words, "--output_dir", str(tmp_path / "whole")])
    again = [*words, "--output_dir", str(tmp_path / "resumed")]
    killed = processes.start(killed_in_the_third_step, again)
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert not (tmp_path / "resumed" / "result.json").exists()
    resumed = main(again)
    assert f"Resuming from {tmp_path / 'resumed' / 'checkpoint-2'}" in caplog.text
    assert resumed.scores == whole.scores
    assert resumed.cost.steps == whole.cost.steps == 4
    weights = [load_file(tmp_path / name / "adapter_model.safetensors") for name in ("whole", "resumed")]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])


def a_sentence_at_a_time(words):
    """Runs as the command does; what is said is predicted in parts of fewer than there are processes."""
    TextToSpeechTask.predicted_at_a_time = 1
    main(words)


@pytest.mark.slow
@pytest.mark.parametrize("words", ["asr", "sv", "tts"], indirect=True)
def test_two_processes_score_every_utterance_or_trial_once(words, tmp_path):
    # A last batch is filled up, to so many for each process: what is said twice takes as long as what counts.
    words = [*words, "--per_device_eval_batch_size", "2", "--output_dir", str(tmp_path)]
    together = processes.start_together(2, a_sentence_at_a_time, words)
    for process in together:
        process.join()
    assert [process.exitcode for process in together] == [0, 0]
    result = Result.read(tmp_path / "result.json")
    assert result.cost.processes == 2
    rows = read_predictions(tmp_path, result.predictions["test"])
    assert len({row["id"] for row in rows}) == len(rows)
    # Three texts; of three speakers six trials; of two speakers a sentence each.
    assert len(rows) == {"asr_fleurs": 3, "sv_voxceleb1": 6, "tts_libritts": 2}[result.run.task]
