"""A sweep in processes of this machine, from the command line: killed it goes on, and does nothing twice."""

import os
import signal
import time
from pathlib import Path

import pytest

from sure import cli
from sure.record import RESULT, Result
from sure.sweep import estimate, plan, resolving, schedule
from sure.sweep.estimate import Estimates
from sure.sweep.state import LOG, State, States
from sure.task import make_task
from tests.factories import processes
from tests.factories.corpora import noise_with_labels

STUDY = """\
task: audio_classification
data_dir: {corpus}
backbone: wav2vec2:tiny
method: linear_probe
learning_rate: [1e-2, 1e-6]
seed: [3, 4]
settings: {{num_train_epochs: 2, per_device_train_batch_size: 1, report_to: none, use_cpu: true}}
"""


@pytest.fixture
def words(tmp_path):
    corpus = noise_with_labels(tmp_path / "corpus", "angry", "sad")
    (tmp_path / "study.yaml").write_text(STUDY.format(corpus=corpus))
    return [str(tmp_path / "study.yaml"), "--output_dir", str(tmp_path / "out")]


def pids(folder: Path) -> set[int]:
    """Of processes that are at a cell."""
    states = (State.read(path) for path in folder.glob("cells/*"))
    return {state.open.process for state in states if state.open}


@pytest.mark.slow
def test_killed_again_and_again_a_sweep_ends_with_every_record(words, tmp_path, capsys):
    out = tmp_path / "out"
    # First a process at a cell, which the sweep replaces; then the sweep, whose processes end with it.
    sweep = processes.start(cli.main, ["sweep", *words], output=tmp_path / "said.txt")
    _wait(lambda: pids(out))
    os.kill(pids(out).pop(), signal.SIGKILL)
    _wait(lambda: "killed" in outcomes(out) and pids(out))
    left = pids(out)
    sweep.kill()
    sweep.join()
    _wait(lambda: not any(_exists(process) for process in left))
    cli.main(["sweep", *words])
    study = plan.Study.read(out)
    records = [Result.read(path) for path in out.glob(f"cells/*/{RESULT}")]
    assert len(records) == 2 == len(study.questions[0].seeds)
    assert all(record.status == "complete" for record in records)
    assert {"killed", "interrupted"} <= set(outcomes(out))
    for path in out.glob("cells/*"):
        attempts = State.read(path).attempts
        paused = [index for index, attempt in enumerate(attempts) if attempt.outcome == "paused"]
        # What has paused goes on from there.
        assert all(attempt.step > 0 for index in paused for attempt in attempts[index + 1 :])
    lost = next(cell for cell, lost in schedule.cells(study.questions[0], out, States(), 3) if lost)
    assert not list(lost.folder.glob("checkpoint-*"))
    # How each runs alone.
    assert all("sure train --" in path.read_text() for path in out.glob(f"cells/*/{LOG}"))
    assert outcomes(out).count("finished") == 2
    written = {path: path.stat().st_mtime_ns for path in out.glob("cells/*/*.json")}
    cli.main(["sweep", *words])
    assert written == {path: path.stat().st_mtime_ns for path in out.glob("cells/*/*.json")}
    capsys.readouterr()
    cli.main(["sweep", "status", str(out)])
    said = capsys.readouterr().out
    assert said.count(" finished ") == 2 and said.count(" not chosen ") == 1
    assert "3 of 3 cells ended, 0 running" in said


def outcomes(folder: Path) -> list[str]:
    states = [State.read(path) for path in folder.glob("cells/*")]
    return [attempt.outcome for state in states for attempt in state.attempts]


def _wait(until, seconds=120):
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _exists(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_dry_run_says_what_it_will_take_and_what_does_not_apply(words, tmp_path, capsys):
    more = ["--budget", "0.1%", "20%", "--method", "lora", "bitfit", "--weight_decay", "0", "0.1", "--dry_run"]
    cli.main(["sweep", *words, *more])
    said = capsys.readouterr().out
    assert "audio_classification--wav2vec2_tiny--... " in said and "\nbitfit " in said
    # Four values, and two seeds of which one has been tried.
    assert "15 cells" in said
    assert "Does not apply: audio_classification--wav2vec2_tiny--lora--budget=0.1%" in said
    assert not (tmp_path / "out").exists()


def test_an_estimate_is_that_of_the_largest_cell_and_says_which_values_cannot_be_had(words, tmp_path):
    def estimated(**changes):
        raw = resolving.read(tmp_path / "study.yaml") | {"method": "lora", "learning_rate": None} | changes
        return Estimates(tmp_path / "out", States(), 3).of(resolving.resolve(raw, "study.yaml").questions[0])

    alone = [estimated(method={"method": "lora", "method_options.r": r}) for r in (2, 4)]
    both = estimated(select={"method_options.r": [2, 4]})
    assert alone[0].trainable_parameters < both.trainable_parameters == alone[1].trainable_parameters
    assert both.training_bytes == alone[1].training_bytes and both.impossible is None
    wrong = estimated(select={"method_options.r": [4, "zero"]})
    assert "r=zero" in wrong.impossible and wrong.training_bytes == both.training_bytes


def test_an_estimate_counts_the_evaluations_that_a_run_makes(words, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "_speed", lambda: 1e9)

    def seconds(**changes):
        raw = resolving.read(tmp_path / "study.yaml")
        raw |= {"method": "lora", "learning_rate": 1e-2, "settings": raw["settings"] | changes}
        return Estimates(tmp_path / "out", States(), 3).of(resolving.resolve(raw, "study.yaml").questions[0]).seconds

    def every(steps):
        return seconds(eval_strategy="steps", eval_steps=steps)

    # Two epochs, of a step for each utterance.
    training = len(make_task("audio_classification", {}).load(tmp_path / "corpus")["train"])
    assert every(training) == every(0.5) == pytest.approx(seconds())
    assert every(2 * training) < every(1 / 2) < every(1 / 3)
    assert every(1 / 3) - every(1 / 2) == pytest.approx(every(1 / 2) - every(2 * training))
    assert seconds(eval_strategy="no") == every(2 * training)


def test_mistakes_show_no_traceback(words, tmp_path, capsys):
    for more, message in (
        (["--method", "lorra"], "Unknown method 'lorra'"),
        (["--num_train_epoch", "3"], "Unknown flag --num_train_epoch; did you mean --num_train_epochs"),
        (["--data_dir", "nowhere", "--dry_run"], "nowhere: no such folder"),
        (["--data_dir", "nowhere"], "nowhere: no such folder"),
        (["--cells_per_device", "0"], "'0' is not a whole number above 0"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(["sweep", *words, *more])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "cells").exists()


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("settings: [bf16]", ["--num_train_epochs", "3"], "study.yaml: settings: ['bf16'] is no mapping"),
        ("select: [halving]", ["--select", "grid"], "study.yaml: select: ['halving'] is no mapping"),
    ],
)
def test_a_study_that_flags_cannot_be_added_to_is_named(text, more, message, tmp_path, capsys):
    (tmp_path / "study.yaml").write_text(f"task: emodb_emotion\n{text}\n")
    with pytest.raises(SystemExit):
        cli.main(["sweep", str(tmp_path / "study.yaml"), *more])
    assert message in capsys.readouterr().err


def test_a_report_is_not_written_to_a_url(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["sweep", "report", str(tmp_path), "--output", "s3://bucket/report"])
    assert "--output: s3://bucket/report is a URL" in capsys.readouterr().err
