"""A board among many: duplicates, writers at once and killed, strays, edited files, and what is self-reported."""

import json
import shutil
from threading import Thread

import pytest

from sure import leaderboard
from sure.cli import main
from sure.errors import SureError
from sure.leaderboard import submission
from sure.leaderboard.disclosure import SUBMISSION, Checks
from sure.leaderboard.manifest import Manifest, differences, row_hash
from sure.leaderboard.submission import UNFINISHED
from sure.task import make_task, task_with_options
from tests.factories import REPOSITORY
from tests.factories.corpora import noise_in_fleurs_layout, noise_with_labels
from tests.leaderboard.test_leaderboard import edit, prediction_rows, register, write_record
from tests.leaderboard.test_submission import DISCLOSURE

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def known_task(monkeypatch):
    register(monkeypatch)


@pytest.mark.parametrize("argument", ["output_dir", "logging_steps"])
def test_the_same_run_is_there_once_whatever_it_was_called(tmp_path, argument):
    board = tmp_path / "board"
    leaderboard.add(write_record(tmp_path / "one"), board)
    # Not even with another outcome on the same machine.
    record = write_record(tmp_path / "two", right=0.9)
    edit(record, lambda r: r["run"]["arguments"].update({argument: "another"}))
    with pytest.raises(SureError, match="holds this run already; remove that folder to replace it"):
        leaderboard.add(record, board)


def test_the_same_predictions_on_another_machine_are_the_same_run(tmp_path):
    board = tmp_path / "board"
    one = leaderboard.add(write_record(tmp_path / "one"), board)
    record = write_record(tmp_path / "two")
    edit(record, lambda r: r["cost"].update(device="another"))
    with pytest.raises(SureError, match="holds this run already"):
        leaderboard.add(record, board)
    # Where it comes by another way, `validate` finds it.
    two = leaderboard.add(record, tmp_path / "other")
    shutil.copytree(two, board / "submissions" / two.name)
    with pytest.raises(SureError, match=rf"the same run as .*{one.name}|{one.name}: the same run as"):
        leaderboard.validate(board)


def test_writers_at_once_add_each_run_once(tmp_path, capsys):
    """Five of one record, and four results of one run, of which the first holds."""
    same = write_record(tmp_path / "same", method="bitfit", failed=True)
    records = [same] * 5 + [write_record(tmp_path / str(number), right=0.7 + number / 20) for number in range(4)]
    ended = []

    def add(record):
        try:
            main(["leaderboard", "add", str(record), "--board", str(tmp_path / "board")])
            ended.append(0)
        except SystemExit as error:
            ended.append(error.code)

    writers = [Thread(target=add, args=(record,)) for record in records]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(ended) == [0] * 6 + [2] * 3
    assert capsys.readouterr().err.count("holds this run already") == 3
    names = [path.name for path in (tmp_path / "board" / "submissions").iterdir()]
    assert sorted(name.split("--")[2] for name in names) == ["bitfit", "lora"]


def test_what_a_killed_writer_leaves_is_no_submission_and_goes_with_the_next(tmp_path, capsys):
    board = tmp_path / "board"
    left = board / "submissions" / UNFINISHED / "whole"
    left.mkdir(parents=True)
    (left / "result.json").write_text("{")
    assert leaderboard.read_entries(board) == []
    main(["leaderboard", "add", str(write_record(tmp_path / "run", failed=True)), "--board", str(board)])
    assert not left.parent.exists()
    assert len(list((board / "submissions").iterdir())) == 1


def test_a_record_is_held_against_those_alone_whose_names_say_the_same_run(tmp_path, monkeypatch):
    board = tmp_path / "board"
    for number, rate in enumerate((0.1, 0.2, 0.3)):
        record = write_record(tmp_path / str(number), failed=True)
        edit(record, lambda r, rate=rate: r["run"]["arguments"].update(learning_rate=rate))
        last = leaderboard.add(record, board)
    # Of which run it is, no name said earlier.
    other = last.with_name("--".join([*last.name.split("--")[:-1], last.name[-8:]]))
    last.rename(other)
    looked = []
    monkeypatch.setattr(submission, "read", lambda path, read=submission.read: looked.append(path) or read(path))
    assert leaderboard.add(record, board) == other
    assert list(submission.runs_like(leaderboard.read(record), board)) == [other]
    assert looked == [other / "result.json"]
    leaderboard.build(board)
    assert leaderboard.validate(board) == 3
    # One that says another run than its record's hides nothing for long.
    first = min(path for path in (board / "submissions").iterdir() if path != other)
    forged = first.rename(first.with_name(f"{first.name[:-17]}{'0' * 8}{first.name[-9:]}"))
    with pytest.raises(SureError, match=f"{forged}: its name should be {first.name}; the record or the name"):
        leaderboard.validate(board)


def test_strays_and_broken_submissions_leave_the_board_to_the_others(tmp_path, caplog):
    board = tmp_path / "board"
    good = leaderboard.add(write_record(tmp_path / "good", method="bitfit"), board)
    bad = leaderboard.add(write_record(tmp_path / "bad"), board)
    (bad / "test.jsonl").write_text("{}\n")
    submissions = board / "submissions"
    (submissions / "notes.txt").write_text("mine")
    (submissions / "link").symlink_to(good)
    (submissions / "empty").mkdir()
    (submissions / "cut").mkdir()
    (submissions / "cut" / "result.json").write_text('{"schema_version": 1')
    assert [entry.submission for entry in leaderboard.read_entries(board)] == [good.name]
    for name in (bad.name, "empty", "cut"):
        assert any(name in record.message for record in caplog.records if "Left out" in record.message), name
    with pytest.raises(SureError) as problems:
        leaderboard.validate(board)
    lines = str(problems.value).splitlines()
    for expected in ("notes.txt: a file", "link: a link", "empty/result.json: no such", "cut/result.json: not JSON"):
        assert any(expected in line for line in lines), expected
    assert any(bad.name in line and "its SHA-256" in line for line in lines)
    assert not any(line.startswith(str(good)) for line in lines)


def test_every_fault_of_a_submission_is_said_at_once(tmp_path):
    record = write_record(tmp_path / "run")

    def change(content):
        content["scores"]["test"]["accuracy"].update(value=0.81)
        content["run"]["data"]["splits"]["validation"].update(utterances=61)

    edit(record, change)
    (record.parent / "test.jsonl").write_text((record.parent / "test.jsonl").read_text().replace("test3", "test4"))
    file = leaderboard.submission.hashlib.sha256((record.parent / "test.jsonl").read_bytes()).hexdigest()
    edit(record, lambda r: r["predictions"]["test"].update(sha256=file))
    with pytest.raises(SureError) as problems:
        leaderboard.add(record, tmp_path / "board")
    lines = str(problems.value).splitlines()
    assert any("test.jsonl, line 5, id: 'test4' is the same id twice, first in line 4" in line for line in lines)
    assert any("validation.jsonl: 60 predictions for 61 utterances" in line for line in lines)
    edit(record, lambda r: [r["cost"].update(epochs=-1.0, training_seconds=-2.0), r["run"].update(seed=-3)])
    with pytest.raises(SureError) as problems:
        leaderboard.add(record, tmp_path / "board")
    assert [line.rpartition("result.json: ")[2].split(":")[0] for line in str(problems.value).splitlines()] == [
        "run.seed",
        "cost.training_seconds",
        "cost.epochs",
    ]


def test_a_file_of_the_board_that_was_edited_is_found(tmp_path):
    board = tmp_path / "board"
    leaderboard.add(write_record(tmp_path / "run"), board)
    built = leaderboard.build(board)
    assert {path.suffix for path in built} == {".json", ".html", ".svg"}
    for path in built:
        before = path.read_bytes()
        path.write_bytes(before.replace(b"0.8", b"0.9", 1) if b"0.8" in before else before + b" ")
    with pytest.raises(SureError) as problems:
        leaderboard.validate(board)
    for path in built:
        assert f"{path} is not what" in str(problems.value)


def test_pages_need_not_be_built_and_what_a_repository_holds_must(tmp_path):
    board = tmp_path / "board"
    leaderboard.add(write_record(tmp_path / "run"), board)
    leaderboard.build(board)
    (board / "index.html").unlink()
    shutil.rmtree(board / "entries")
    assert leaderboard.validate(board) == 1
    for name in ("leaderboard.json", "schema.json", "three_emotions.svg"):
        (board / name).unlink()
        with pytest.raises(SureError, match=f"{name} is not what the submissions make"):
            leaderboard.validate(board)
        leaderboard.build(board)


def test_a_submission_claims_no_more_than_a_board_finds(tmp_path):
    board = tmp_path / "board"
    folder = leaderboard.add(write_record(tmp_path / "run"), board, DISCLOSURE)
    (entry,) = leaderboard.read_entries(board)
    assert not entry.verified
    assert [what.split(":")[0] for what in entry.unchecked] == ["references", "weights", "parameters"]
    (folder / SUBMISSION).write_text(json.dumps({"verified": True, "disclosure": DISCLOSURE.model_dump()}))
    with pytest.raises(SureError) as problems:
        leaderboard.validate(board)
    assert f"{folder / SUBMISSION}: verified: it is self-reported: references: the board has no" in str(problems.value)
    assert f"{folder / SUBMISSION}: unchecked: it does not say: references" in str(problems.value)
    for wrong, message in (
        ({"disclosure": {"name": "x"}}, "disclosure.contact: Field required"),
        ({"disclosure": DISCLOSURE.model_dump() | {"name": "x" * 501}}, "disclosure.name: String should have at most"),
        (
            {"disclosure": DISCLOSURE.model_dump() | {"paper": "\u202e"}},
            r"disclosure.paper: it has the character U+202E",
        ),
        ({"schema_version": 2}, "schema_version: Input should be 1"),
    ):
        (folder / SUBMISSION).write_text(json.dumps(wrong))
        with pytest.raises(SureError) as problems:
            leaderboard.validate(board)
        assert message in str(problems.value)


def test_markup_is_shown_as_text(tmp_path):
    board = tmp_path / "board"
    record = write_record(
        tmp_path / "run", method=SCRIPT, backbone=f"lab/{SCRIPT[8:-9]}", options=[f"vocoder={SCRIPT}"]
    )

    def change(content):
        content["provenance"].update(versions={SCRIPT: SCRIPT}, platform=SCRIPT, commit=SCRIPT)
        content["cost"].update(device=SCRIPT)
        content["run"]["arguments"][SCRIPT] = SCRIPT
        content["run"]["method"]["config"] = {SCRIPT: SCRIPT}

    edit(record, change)
    leaderboard.add(record, board, DISCLOSURE.model_copy(update=dict.fromkeys(("name", "contact", "paper"), SCRIPT)))
    leaderboard.add(write_record(tmp_path / "failed", failed=True, backbone=SCRIPT), board)
    for path in leaderboard.build(board):
        if path.suffix in (".html", ".svg"):
            assert SCRIPT not in path.read_text(encoding="utf-8"), path


def test_a_manifest_has_the_rows_that_runs_predict(tmp_path):
    """A record on a corpus is held to it as soon as there is one."""
    data = noise_with_labels(tmp_path / "data", "a", "b")
    main(
        ["leaderboard", "manifest", "--task", "audio_classification", "--data_dir", str(data), "--board", str(tmp_path)]
    )
    (path,) = (tmp_path / "manifests").iterdir()
    manifest = Manifest.read(path)
    assert path.name == f"audio_classification-{manifest.fingerprint[:8]}.json"
    assert (manifest.labels, manifest.splits) == (["a", "b"], {"train": 4, "validation": 2, "test": 2})
    task = make_task("audio_classification", {"labels": ["a", "b"]})
    splits = task_with_options("audio_classification", {}).load(data)
    predicted = task.predict([[0.0, 1.0]] * 2, list(splits["test"]))
    assert list(differences(manifest, "test", predicted)) == []
    assert list(differences(manifest, "test", [predicted[0] | {"reference": "b"}])) == [
        f", line 1, reference: {predicted[0]['id']!r} has another reference or speaker in the manifest.",
        f": 1 rows of the manifest's test split are missing, such as {predicted[1]['id']!r}.",
    ]


def test_a_manifest_of_texts_has_the_rows_that_runs_predict(tmp_path):
    task = task_with_options("asr_fleurs", {})
    manifest = Manifest.of(task, noise_in_fleurs_layout(tmp_path / "en_us"))
    splits = task.load(tmp_path / "en_us")
    task.said = lambda output: "a"
    assert list(differences(manifest, "test", task.predict([[]] * 7, list(splits["test"])))) == []
    assert manifest.labels is None


def test_what_was_self_reported_is_checked_again_when_there_is_a_manifest(tmp_path, capsys):
    board = tmp_path / "board"
    folder = leaderboard.add(write_record(tmp_path / "run"), board, DISCLOSURE)
    rows = {split: prediction_rows(split, 0.8) for split in ("validation", "test")}
    manifest = Manifest(
        task="three_emotions",
        fingerprint="ab" * 32,
        synthetic=True,
        labels=None,
        options={},
        splits=dict.fromkeys(("train", "validation", "test"), 60),
        rows={split: {row["id"]: row_hash(row) for row in of} for split, of in rows.items()},
    )
    leaderboard.build(board)
    main(["leaderboard", "validate", "--board", str(board)])
    assert "0 verified, 1 self-reported.\n  not checked, of 1: references: the board has no" in capsys.readouterr().out
    manifest.write(board)
    assert leaderboard.check_again(board, "three_emotions") == [folder]
    checks = Checks.of(folder)
    assert [what.split(":")[0] for what in checks.unchecked] == ["weights", "parameters"]
    assert checks.disclosure == DISCLOSURE
    rows["test"][0]["reference"] = "neutral"
    manifest.model_copy(update={"rows": {s: {r["id"]: row_hash(r) for r in of} for s, of in rows.items()}}).write(board)
    with pytest.raises(SureError, match=r"test\.jsonl, line 1, reference: 'test0' has another reference"):
        leaderboard.check_again(board, "three_emotions")


def test_sure_submit_makes_a_submission_with_what_it_discloses(tmp_path, capsys):
    record, board = write_record(tmp_path / "run"), tmp_path / "board"
    words = ["submit", str(record.parent), "--board", str(board), "--name", "Ours", "--contact", "us@example.org"]
    words += ["--training_data", "its training split", "--backbone_heard_test", "no"]
    main(words)
    said = capsys.readouterr().out
    (folder,) = (board / "submissions").iterdir()
    assert f"{folder}: self-reported\n  not checked: references" in said
    disclosure = Checks.of(folder).disclosure
    assert (disclosure.name, disclosure.backbone_heard_test, disclosure.paper) == ("Ours", "no", None)
    # Again, with what had been forgotten.
    main([*words, "--paper", "arXiv:2303.03267"])
    assert Checks.of(folder).disclosure.paper == "arXiv:2303.03267"
    with pytest.raises(SystemExit):
        main([*words[:-4], "--training_data", ""])
    assert "--training_data: String should have at least 1 character" in capsys.readouterr().err


def test_the_board_that_ships_is_valid_and_every_entry_of_it_verified(tmp_path):
    board = tmp_path / "board"
    shutil.copytree(REPOSITORY / "leaderboard", board, ignore=shutil.ignore_patterns("index.html", "entries"))
    assert leaderboard.validate(board) > 20, "as it is cloned"
    before = (board / "leaderboard.json").read_text(encoding="utf-8")
    leaderboard.build(board)
    assert (board / "leaderboard.json").read_text(encoding="utf-8") == before
    assert all(entry["verified"] for entry in json.loads(before)["entries"])
