"""What an earlier SURE wrote stays valid, and an entry says what made it."""

import json

import pytest

from sure import leaderboard
from sure.errors import SureError
from sure.leaderboard.disclosure import Checks
from sure.leaderboard.submission import Submission, disagreements, names_of, submission_name
from sure.record import Result
from tests.leaderboard.test_leaderboard import edit, register, write_record


@pytest.fixture(autouse=True)
def known_task(monkeypatch):
    register(monkeypatch)


def test_a_record_without_plug_ins_keeps_the_name_that_it_had_before_there_were_any(tmp_path):
    record = write_record(tmp_path, backbone="tiny", failed=True)
    name = "three_emotions--tiny--lora--seed0"
    assert names_of(Result.read(record)) == (f"{name}--4bb95812-9e821093", f"{name}--9e821093")
    assert "plugins" not in json.loads(record.read_text())["run"]


def test_a_record_with_plug_ins_reads_back_as_written_and_is_another_run(tmp_path):
    record = write_record(tmp_path, failed=True)
    before = Result.read(record)
    plugins = [{"kind": "metric", "name": "mine", "sha256": "0" * 64}]
    edit(record, lambda content: content["run"].update(plugins=plugins))
    after = Result.read(record)
    assert after.model_dump(mode="json")["run"]["plugins"] == plugins
    assert after.run != before.run
    assert submission_name(after) != submission_name(before)


def earlier(record):
    """The record as it was before each score said how its interval was made, with an interval that nobody gets now."""

    def change(content):
        for scores in content["scores"].values():
            for score in scores.values():
                del score["method"]
                score["low"] = 0.0
        content["interval"]["method"] = "percentile bootstrap"

    edit(record, change)
    return record


def test_intervals_of_an_earlier_record_are_made_anew(tmp_path):
    leaderboard.add(write_record(tmp_path / "now"), tmp_path / "board")
    folder = leaderboard.add(earlier(write_record(tmp_path / "earlier", method="bitfit")), tmp_path / "board")
    assert json.loads((folder / "result.json").read_text())["scores"]["test"]["accuracy"]["low"] == 0
    now, before = sorted(leaderboard.read_entries(tmp_path / "board"), key=lambda entry: entry.method.name == "bitfit")
    assert (before.test, before.validation, before.interval) == (now.test, now.validation, now.interval)
    assert (before.rank, before.tied) == (now.rank, now.tied) == (1, True)
    leaderboard.build(tmp_path / "board")
    assert leaderboard.validate(tmp_path / "board") == 2


def test_trials_of_an_earlier_record_need_not_name_the_other_speaker(tmp_path):
    def submission(method, fields, *, made_earlier):
        record = write_record(tmp_path / method, method=method)
        edit(record, lambda content: content["run"]["data"].update(trials={"test": 1}))
        result = Result.read(earlier(record) if made_earlier else record)
        row = {"id": "a b", "reference": 1, "prediction": 0.5} | fields
        return Submission(record.parent, result, {"test": [row]}, Checks())

    both = {"speaker": "a", "test_speaker": "a"}
    before = submission("lora", {"speaker": "a"}, made_earlier=True)
    now = submission("ia3", both, made_earlier=False)
    assert not list(disagreements([before, now]))
    assert not list(disagreements([now, before]))
    # Two that both name it name the same.
    other = submission("bitfit", both | {"test_speaker": "b"}, made_earlier=False)
    (found,) = disagreements([before, now, other])
    assert found.startswith(f"{other.folder} and {now.folder}: other utterances, references or speakers")


def test_scores_of_an_earlier_record_are_held_to_its_predictions(tmp_path):
    record = earlier(write_record(tmp_path / "run"))
    edit(record, lambda content: content["scores"]["test"]["accuracy"].update(value=0.81))
    with pytest.raises(SureError, match=r"test accuracy, value: the record says 0\.81"):
        leaderboard.add(record, tmp_path / "board")


def test_a_record_keeps_what_it_said_of_its_intervals(tmp_path):
    record = earlier(write_record(tmp_path))
    content = json.loads(record.read_text())
    assert Result.read(record).model_dump(mode="json") == content
    assert set(content["interval"]) == {"method", "level", "resamples", "resampled"}


def test_a_board_that_an_earlier_sure_built_is_valid_and_wants_building(tmp_path, caplog):
    leaderboard.add(write_record(tmp_path / "run"), tmp_path)
    leaderboard.build(tmp_path)
    built = (tmp_path / "leaderboard.json").read_bytes()
    (tmp_path / "schema.json").write_text("{}")
    with pytest.raises(SureError, match=r"schema\.json is not what the submissions make"):
        leaderboard.validate(tmp_path)
    for content in ({"schema_version": 1, "entries": []}, {"entries": []}):
        (tmp_path / "leaderboard.json").write_text(json.dumps(content))
        caplog.clear()
        assert leaderboard.validate(tmp_path) == 1
        assert f"built by an earlier SURE: run `sure leaderboard build --board {tmp_path}`" in caplog.text
    leaderboard.build(tmp_path)
    caplog.clear()
    assert leaderboard.validate(tmp_path) == 1
    assert not caplog.text
    assert (tmp_path / "leaderboard.json").read_bytes() == built


def test_a_submission_that_does_not_hold_is_refused_on_an_earlier_board_too(tmp_path):
    folder = leaderboard.add(write_record(tmp_path / "run"), tmp_path)
    (tmp_path / "leaderboard.json").write_text('{"schema_version": 1, "entries": []}')
    (folder / "test.jsonl").write_text("{}\n")
    with pytest.raises(SureError, match="its SHA-256 is not the one in the record"):
        leaderboard.validate(tmp_path)


def test_an_entry_says_the_versions_commit_and_plug_ins_that_made_it(tmp_path):
    record = write_record(tmp_path / "run")
    versions = {"sure-bench": "0.1.0", "torch": "2.11.0<"}
    plugins = [{"kind": "method", "name": "lora", "sha256": "0" * 64}]

    def change(content):
        content["provenance"].update(versions=versions, commit="ab" * 20)
        content["run"].update(plugins=plugins)

    edit(record, change)
    leaderboard.add(record, tmp_path)
    leaderboard.build(tmp_path)
    (entry,) = json.loads((tmp_path / "leaderboard.json").read_text())["entries"]
    assert (entry["provenance"]["versions"], entry["plugins"]) == (versions, plugins)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    made_with = ["sure-bench 0.1.0", "torch 2.11.0\\u003c", "Python 3.11", "commit abababababab"]
    assert f"{json.dumps(made_with, separators=(',', ':'))[:-1]},".replace("\\\\", "\\") in page
    assert "plug-in method lora (SHA-256 000000000000)" in page
