"""A sweep whose folder is at a URL: stopped, it goes on from what is there, on a machine that has nothing of it."""

import json
import shutil
import time
from pathlib import Path

import fsspec
import pytest

from sure import cli
from sure.record import RESULT, Result
from sure.sweep import local, remote, running
from sure.sweep.schedule import next_steps
from sure.sweep.state import CELL, State
from tests.factories.corpora import noise_with_labels

URL = "memory://bucket/study"
STUDY = """\
task: audio_classification
backbone: wav2vec2:tiny
method: linear_probe
learning_rate: [1e-2, 1e-6]
seed: [3, 4]
settings: {num_train_epochs: 2, per_device_train_batch_size: 1, report_to: none, use_cpu: true}
"""


@pytest.fixture
def words(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    return [str(tmp_path / "study.yaml"), "--data_dir", str(noise_with_labels(tmp_path / "corpus", "angry", "sad"))]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Gives a machine that has nothing yet, on which a sweep runs its steps in this process, at most so many."""

    def new(name, most=100):
        steps = []

        def run(study, output_dir, places, attempts, state_of, ended):
            while to_do := next_steps(study, output_dir, state_of, attempts):
                if len(steps) == most:
                    raise KeyboardInterrupt
                steps.append(to_do[0])
                ended(to_do[0], running.run(to_do[0], attempts))
                local.discard_lost(study, output_dir, state_of, attempts)

        monkeypatch.setattr(local, "run", run)
        monkeypatch.setenv("SURE_CACHE", str(tmp_path / name))
        return steps

    yield new
    fsspec.filesystem("memory").store.clear()


def refused(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    return capsys.readouterr().err


def states(folder):
    return {path.parent.name: State.read(path.parent) for path in folder.glob(f"cells/*/{CELL}")}


@pytest.mark.slow
def test_stopped_and_gone_on_with_elsewhere_it_does_nothing_twice(words, machine, tmp_path, capsys):
    url = (tmp_path / "bucket" / "study").as_uri()
    machine("first", most=3)
    with pytest.raises(SystemExit, match="Interrupted"):
        cli.main(["sweep", *words, "--output_dir", url])
    # Both values were compared, and the better one has its first record.
    before = states(tmp_path / "bucket" / "study")
    assert sorted(state.finished for state in before.values()) == [False, True]
    steps = machine("second")
    cli.main(["sweep", *words, "--output_dir", url])
    (step,) = steps
    assert "seed=4" in step.cell.name and step.cell.folder.is_relative_to(tmp_path / "second")
    after = states(tmp_path / "bucket" / "study")
    assert {name: after[name] for name in before} == before
    records = list((tmp_path / "bucket" / "study").glob(f"cells/*/{RESULT}"))
    assert [Result.read(path).status for path in records] == ["complete"] * 2
    assert all((path.parent / "adapter_model.safetensors").exists() for path in records)
    # What has come further there replaces what is here, and nothing is left to do.
    assert machine("first") == []
    cli.main(["sweep", *words, "--output_dir", url])
    assert states(next((tmp_path / "first").glob("sweeps/*/*/study"))) == after
    # Of a third machine, what is said of it and the report need no adapters.
    machine("third")
    capsys.readouterr()
    cli.main(["sweep", "status", url])
    assert "3 of 3 cells ended" in capsys.readouterr().out
    cli.main(["sweep", "report", url])
    assert (tmp_path / "bucket" / "study" / "report" / "report.html").exists()
    assert not list((tmp_path / "third").rglob("*.safetensors"))


@pytest.mark.slow
def test_what_was_in_the_middle_goes_on_from_its_checkpoint_there(words, machine, tmp_path, monkeypatch):
    steps = machine("first", most=2)
    with pytest.raises(SystemExit):
        cli.main(["sweep", *words, "--output_dir", URL])
    paused = {step.cell.name: running.newest_step(step.cell.folder) for step in steps}
    # That which lost has none any more.
    assert sorted(map(bool, paused.values())) == [False, True]
    shutil.rmtree(tmp_path / "first")
    machine("second", most=0)
    with pytest.raises(SystemExit):
        cli.main(["sweep", *words, "--output_dir", URL])
    (fetched,) = (tmp_path / "second").rglob("trainer_state.json")
    best = Path(json.loads(fetched.read_text())["best_model_checkpoint"])
    assert (best.name, fetched.parent.exists(), best.exists()) == (fetched.parent.name, True, False)
    steps = machine("second")
    cli.main(["sweep", *words, "--output_dir", URL])
    gone_on = State.read(steps[0].cell.folder)
    assert [attempt.outcome for attempt in gone_on.attempts] == ["paused", "finished"]
    assert gone_on.attempts[1].step == paused[steps[0].cell.name]
    # In the end all is there that is here, but checkpoints, from which nobody goes on.
    there = fsspec.filesystem("memory").find("/bucket/study")
    here = steps[0].cell.folder.parent.parent
    kept = {str(path.relative_to(here)) for path in here.rglob("*") if path.is_file() and path.name != ".lock"}
    assert {path.removeprefix("/bucket/study/") for path in there} == {
        path for path in kept if "checkpoint-" not in path
    }


def test_files_go_there_before_the_record_that_names_them(machine, tmp_path, monkeypatch):
    machine("first")
    mirror = remote.Mirror(URL, "work")
    cell, put = mirror.folder / "cells" / "one", []
    (cell / "checkpoint-3").mkdir(parents=True)
    for name in (CELL, RESULT, "checkpoint-3/trainer_state.json", "checkpoint-3/optimizer.pt", "a.jsonl", "log.txt"):
        (cell / name).write_text("{}")
    (cell / "checkpoint-6").mkdir()
    (cell / "checkpoint-6" / "optimizer.pt").write_text("half")
    monkeypatch.setattr(
        mirror._files, "put", lambda here, there: put.append({path.rsplit("one/")[1] for path in there})
    )
    mirror.put()
    assert put == [
        {"checkpoint-3/optimizer.pt", "a.jsonl", "log.txt"}, {"checkpoint-3/trainer_state.json"}, {RESULT}, {CELL},
    ]  # fmt: skip
    # Only what is new.
    (cell / "log.txt").write_text("more")
    put.clear()
    mirror.put()
    assert put == [{"log.txt"}]


def test_where_it_cannot_be_put_nothing_is_lost_here(words, machine, monkeypatch, capsys):
    steps = machine("first", most=1)
    put = remote.Mirror._put_new

    def unreachable(mirror, here):
        if any(RESULT in name or CELL in name for name in here):
            raise ConnectionError("no route")
        return put(mirror, here)

    with monkeypatch.context() as broken:
        broken.setattr(remote.Mirror, "_put_new", unreachable)
        said = refused(["sweep", *words, "--output_dir", URL], capsys)
    assert f"{URL} cannot be written (ConnectionError: no route). What is new is in " in said
    (step,) = steps
    assert State.read(step.cell.folder).reached
    # The same command, which would go on, puts it there.
    machine("first", most=0)
    with pytest.raises(SystemExit):
        cli.main(["sweep", *words, "--output_dir", URL])
    assert fsspec.filesystem("memory").exists(f"/bucket/study/cells/{step.cell.name}/{CELL}")


def test_who_works_there_already_is_not_disturbed(words, machine, capsys):
    machine("first", most=0)
    there = fsspec.filesystem("memory")
    for seconds, message in ((70, "elsewhere works on it, and said so 70 s ago"), (400, "Interrupted")):
        there.pipe_file(
            "/bucket/study/driver.json", json.dumps({"host": "elsewhere", "time": time.time() - seconds}).encode()
        )
        with pytest.raises(SystemExit) as ended:
            cli.main(["sweep", *words, "--output_dir", URL])
        assert message in f"{capsys.readouterr().err}{ended.value}"


def test_places_that_cannot_be_had_are_named(words, machine, tmp_path, capsys):
    machine("first")
    (tmp_path / "file").write_text("")
    for url, message in (
        ("s3://bucket/study", "s3://bucket/study: fsspec needs another package for s3://. Install s3fs"),
        ("nowhere://bucket", "nowhere://bucket: fsspec has no place for nowhere://"),
        ((tmp_path / "file").as_uri() + "/study", "/file/study cannot be"),
    ):
        assert message in refused(["sweep", *words, "--output_dir", url], capsys)
    assert "nodes share" in refused(["sweep", *words, "--output_dir", URL, "--slurm"], capsys)
    assert "study.json: No such file" in refused(["sweep", "status", URL], capsys)


def test_elsewhere_a_url_is_no_path(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (
        ["train", "--task", "esd_emotion", "--data_dir", "data", "--output_dir", "s3://bucket/run"],
        ["leaderboard", "add", "s3://bucket/study/cells/one/result.json"],
    ):
        assert "s3://bucket/" in (said := refused(words, capsys)) and "is a URL" in said
    assert not list(tmp_path.iterdir())
