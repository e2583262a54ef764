"""What an earlier SURE wrote stays valid, and an entry says what made it."""

import json

import pytest

from sure import leaderboard
from sure.errors import SureError
from sure.leaderboard.submission import submission_name
from sure.record import Result
from tests.leaderboard.test_leaderboard import edit, register, write_record


@pytest.fixture(autouse=True)
def known_task(monkeypatch):
    register(monkeypatch)


def test_a_record_without_plug_ins_keeps_the_name_that_it_had_before_there_were_any(tmp_path):
    record = write_record(tmp_path, failed=True)
    assert submission_name(Result.read(record)) == "three_emotions--tiny--lora--seed0--9e821093"
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


def test_a_board_that_an_earlier_sure_built_is_valid_and_wants_building(tmp_path, caplog):
    leaderboard.add(write_record(tmp_path / "run"), tmp_path)
    leaderboard.build(tmp_path)
    built = (tmp_path / "leaderboard.json").read_bytes()
    (tmp_path / "schema.json").write_text("{}")
    with pytest.raises(SureError, match=r"schema\.json is not what the submissions make"):
        leaderboard.validate(tmp_path)
    for earlier in ({"schema_version": 1, "entries": []}, {"entries": []}):
        (tmp_path / "leaderboard.json").write_text(json.dumps(earlier))
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
    (shown,) = [line for line in page.splitlines() if "<summary>0.1.0</summary>" in line]
    for expected in ("torch 2.11.0&lt;<", "Python 3.11<", "commit abababababab<", "plug-in method lora<"):
        assert f">{expected}/small>" in shown
