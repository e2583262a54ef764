"""Boards whose test references are hidden: submitters bring predictions, and the keeper of the references scores."""

import json
import re
import shutil

import pytest

from sure import leaderboard
from sure.cli import main
from sure.leaderboard import hidden
from sure.leaderboard.compare import Side, compare
from sure.leaderboard.manifest import Manifest, row_hash, told, without
from sure.leaderboard.submission import check
from sure.record import Result, write_predictions
from sure.task import task_with_options
from tests.factories.corpora import noise_with_labels
from tests.factories.encoders import folder_of
from tests.leaderboard.test_leaderboard import edit, prediction_rows, register, write_record

FINGERPRINT = "ab" * 32
WITHOUT = "cd" * 32


@pytest.fixture(autouse=True)
def known_task(monkeypatch):
    register(monkeypatch)


@pytest.fixture
def board(tmp_path):
    """A board that hides references, which are in references.jsonl beside it."""
    known = {split: prediction_rows(split, 1.0) for split in ("validation", "test")}
    file = tmp_path / "references.jsonl"
    sha256 = hidden.write(file, "three_emotions", FINGERPRINT, known["test"])
    known["test"] = [without(row) for row in known["test"]]
    manifest = Manifest(
        task="three_emotions",
        fingerprint=FINGERPRINT,
        synthetic=True,
        labels=None,
        options={},
        splits=dict.fromkeys(("train", "validation", "test"), 60),
        rows={split: {row["id"]: row_hash(row) for row in of} for split, of in known.items()},
        references=sha256,
        fingerprint_without=WITHOUT,
    )
    manifest.write(tmp_path / "board")
    return tmp_path / "board"


def submit(board, *runs):
    words = ["--name", "Ours", "--contact", "us@example.org", "--training_data", "its training split"]
    main(["submit", *map(str, runs), "--board", str(board), *words])


def on_board(command, board, *words):
    main(["leaderboard", command, "--board", str(board), *map(str, words)])


def contents(folder):
    return {path: path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}


def table(board):
    """By method of every entry what its score and rank are."""
    entries = json.loads((board / "leaderboard.json").read_text())["entries"]
    return {
        entry["method"]["name"]: [entry[name] for name in ("rank", "tied", "test", "difference", "interval")]
        for entry in entries
    }


def test_predictions_alone_are_submitted_and_scored_by_who_has_the_references(board, tmp_path, capsys, caplog):
    file, plain = tmp_path / "references.jsonl", tmp_path / "plain"
    runs = [
        write_record(tmp_path / f"{method} {seed}", method=method, right=right, seed=seed).parent
        for method, seed, right in (("lora", 0, 0.6), ("lora", 1, 0.65), ("bitfit", 0, 0.8))
    ]
    submit(board, *runs)
    assert "not checked: scores on test: the references are hidden; the board's keeper" in capsys.readouterr().out
    for folder in (board / "submissions").iterdir():
        rows = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
        assert [set(row) for row in rows] == [{"id", "prediction"}] * 60
        assert set(json.loads((folder / "result.json").read_text())["scores"]) == {"validation"}
    submitted = contents(board / "submissions")
    # Whoever has no references, such as the check of a pull request, builds and validates all the same.
    on_board("build", board)
    assert "2 entries are not scored, whose references are hidden" in caplog.text
    on_board("validate", board)
    assert "not checked, of 3: scores on test: the references are hidden" in capsys.readouterr().out
    on_board("show", board)
    text = capsys.readouterr().out
    assert text.count("not scored") == 2 and text.endswith("has them, makes the scores on test.\n")
    # The keeper's board says what one without secrets does.
    on_board("build", board, "--references", file)
    for run in runs:
        leaderboard.add(run, plain)
    leaderboard.build(plain)
    assert table(board) == table(plain)
    assert [of[0] for of in table(board).values()] == [1, 2]
    for command in ("validate", "show"):
        on_board(command, board)
    on_board("validate", board, "--references", file)
    assert "References are hidden: the board's keeper" in capsys.readouterr().out
    (page,) = (path for path in (board / "entries").iterdir() if "bitfit" in path.name)
    assert "References are hidden" in page.read_text() and "Confusion" not in page.read_text()
    # Nothing of the references has come to the board.
    assert contents(board / "submissions") == submitted
    with_references = [path.name for path, content in contents(board).items() if '"reference":' in content]
    assert set(with_references) == {"validation.jsonl"}
    # What comes later waits for the keeper, and takes nothing from what is scored.
    scored = table(board)
    submit(board, write_record(tmp_path / "ia3", method="ia3").parent)
    on_board("build", board)
    assert {name: of for name, of in table(board).items() if name != "ia3"} == scored
    assert table(board)["ia3"][:3] == [None, False, {}]
    on_board("validate", board)
    # What else was edited is seen by anybody, and a score by who can make it again.
    path = board / "leaderboard.json"
    path.write_text(path.read_text().replace('"trainable_parameters": 1000', '"trainable_parameters": 10'))
    with pytest.raises(SystemExit):
        on_board("validate", board)
    assert "leaderboard.json is not what the submissions make" in capsys.readouterr().err
    path.write_text(path.read_text().replace('"value": 0.8', '"value": 0.9'))
    on_board("build", board)
    on_board("validate", board)
    with pytest.raises(SystemExit):
        on_board("validate", board, "--references", file)
    assert "leaderboard.json is not what the submissions make" in capsys.readouterr().err
    # An entry whose run is gone has no score any more, and no other a rank, which was among them all.
    on_board("build", board, "--references", file)
    shutil.rmtree(next((board / "submissions").glob("*lora--seed1*")))
    for _ in range(2):
        on_board("build", board)
        assert (table(board)["lora"][:3], scored["bitfit"][0]) == ([None, False, {}], 1)
        assert table(board)["bitfit"] == [None, False, scored["bitfit"][2], None, scored["bitfit"][4]]
    on_board("validate", board)
    on_board("show", board)
    assert "not ranked  bitfit" in capsys.readouterr().out
    on_board("build", board, "--references", file)
    assert table(board)["bitfit"][0] == 1


def rows(change):
    """Test predictions changed, with a hash that is right again."""

    def tamper(folder):
        path = folder / "test.jsonl"
        file = write_predictions(path, change([json.loads(line) for line in path.read_text().splitlines()]))
        edit(folder / "result.json", lambda content: content["predictions"].update(test=file.model_dump()))

    return tamper


def claims(folder):
    def claim(content):
        content["scores"]["test"] = content["scores"]["validation"]
        content["interval"]["resampled"]["test"] = "utterance"

    edit(folder / "result.json", claim)


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (
            claims,
            r"scores are of \['test', 'validation'\]; expected \['validation'\], since the board hides references",
        ),
        (
            rows(lambda of: [of[0] | {"reference": "angry", "speaker": "s1"}, *of[1:]]),
            r"test\.jsonl, line 1, reference, speaker: the board hides the references of its test split",
        ),
        (rows(lambda of: [of[0] | {"id": "x"}, *of[1:]]), r"test\.jsonl, line 1, id: 'x' is no row of the manifest's"),
        (rows(lambda of: of[1:]), r"test\.jsonl: 59 predictions for 60 utterances\.[^$]*such as 'test0'"),
        (rows(lambda of: [*of[1:], of[1]]), r"test\.jsonl, line 60, id: 'test1' is the same id twice"),
        (
            rows(lambda of: [of[0] | {"prediction": "sad"}, *of[1:]]),
            r"test\.jsonl: Prediction 'test0': prediction 'sad' is not one of angry, happy, neutral",
        ),
        (rows(lambda of: [{"id": "test0"}, *of[1:]]), r"test\.jsonl, line 1: a row needs id and prediction\."),
        (
            lambda folder: edit(folder / "result.json", lambda content: content["predictions"].pop("test")),
            r"predictions: of \['validation'\]; expected \['test', 'validation'\] at least",
        ),
    ],
    ids=[
        "scores",
        "references",
        "foreign id",
        "missing id",
        "repeated id",
        "no label",
        "no prediction",
        "no predictions",
    ],
)
def test_what_is_wrong_with_predictions_alone_is_named(board, tmp_path, tamper, message):
    folder = leaderboard.add(write_record(tmp_path / "run"), board)
    assert check(folder, board).checks.unchecked[0].startswith("scores on test")
    tamper(folder)
    with pytest.raises(leaderboard.SureError, match=message):
        check(folder, board)


def test_references_may_be_missing_only_where_the_board_hides_them(board, tmp_path):
    folder = leaderboard.add(write_record(tmp_path / "run"), board)
    with pytest.raises(
        leaderboard.SureError, match=r"scores are of \['validation'\]; expected \['test', 'validation'\]; pred"
    ):
        leaderboard.add(folder, tmp_path / "another board")
    # A message about what stays behind names the submitter's own file.
    run = write_record(tmp_path / "cut").parent
    rows(lambda of: of[1:])(run)
    with pytest.raises(leaderboard.SureError, match=f"{run}/test.jsonl: 59 predictions for 60"):
        leaderboard.add(run, board)


def test_who_has_the_references_and_who_has_not_share_a_table(board, tmp_path):
    for method, fingerprint in (("lora", FINGERPRINT), ("bitfit", WITHOUT)):
        leaderboard.add(write_record(tmp_path / method, method=method, fingerprint=fingerprint), board)
    leaderboard.build(board, [tmp_path / "references.jsonl"])
    assert [of[0] for of in table(board).values()] == [1, 1]
    assert leaderboard.validate(board) == 2
    folder = next((board / "submissions").glob("*bitfit*"))
    edit(folder / "result.json", lambda content: content["run"]["data"].update(fingerprint=WITHOUT))
    with pytest.raises(leaderboard.SureError, match=r"fingerprint: cdcdcdcd, of the corpus without references; a sub"):
        check(folder, board)


def test_what_claims_scores_that_are_hidden_is_left_out_by_their_keeper(board, tmp_path, caplog):
    leaderboard.add(write_record(tmp_path / "lora"), board)
    # By hand, with references of its own, and beside a seed of the same configuration.
    forged = leaderboard.add(write_record(tmp_path / "forged", right=1.0, seed=1), tmp_path / "elsewhere")
    shutil.copytree(forged, board / "submissions" / forged.name)
    seeds = Side.of([str(tmp_path / "lora"), forged.name], board)
    waiting = Side.of([next((board / "submissions").glob("*lora--seed0*")).name], board)
    scores = compare(seeds, waiting)[2]
    assert {row[0] for row in scores.rows} == {"validation"}
    assert scores.about.endswith(" test: not compared, since references are hidden.")
    leaderboard.build(board)
    leaderboard.build(board, [tmp_path / "references.jsonl"])
    assert "Left out" in caplog.text and "the board hides the references of its test split" in caplog.text
    (entry,) = json.loads((board / "leaderboard.json").read_text())["entries"]
    assert [run["seed"] for run in entry["runs"]] == [0]
    shutil.rmtree(board / "submissions" / forged.name)
    # A record whose intervals are to be made again has no references to make them of.
    folder = leaderboard.add(write_record(tmp_path / "ia3", method="ia3"), board)
    edit(folder / "result.json", lambda content: content["interval"].update(method="percentile bootstrap"))
    leaderboard.build(board)
    assert table(board)["ia3"][:3] == [None, False, {}]


@pytest.mark.parametrize(
    ("task", "message"), [("sv_voxceleb1", "cannot predict without"), ("esc50", "is tested in folds")]
)
def test_what_cannot_be_hidden_is_said(task, message):
    assert message in told(task_with_options(task, {}), [])


def test_a_file_of_references_is_the_one_that_the_manifest_pins(board, tmp_path, capsys):
    file = tmp_path / "references.jsonl"
    lines = file.read_text().splitlines()

    def refused(content):
        file.write_text("\n".join(content) + "\n")
        with pytest.raises(SystemExit):
            on_board("build", board, "--references", file)
        return capsys.readouterr().err

    assert "its SHA-256 is not the one in the manifest of three_emotions" in refused(
        [lines[0], lines[1].replace("angry", "happy"), *lines[2:]]
    )
    said = refused([lines[0], '{"id": "x", "reference": "angry"}', *lines[2:]])
    assert f"{file}, line 2, id: 'x' is no row of the manifest's test split" in said
    assert "1 rows of the manifest's test split are missing, such as 'test0'" in said
    assert f"{file}, line 1: not a file of references" in refused(lines[1:])
    other = [lines[0].replace(FINGERPRINT, "ef" * 32), *lines[1:]]
    assert f"corpus efefefef; {board} has no manifest of it" in refused(other)


def test_who_has_no_references_trains_predicts_and_submits_and_the_keeper_scores(tmp_path, capsys):
    data = noise_with_labels(tmp_path / "data", "a", "b")
    file, board = tmp_path / "references.jsonl", tmp_path / "board"
    words = ["--task", "audio_classification", "--data_dir", data, "--hide_references"]
    with pytest.raises(SystemExit):
        on_board("manifest", board, *words, file)
    assert "every id of the test split says its reference, such as 'a-3.wav'" in capsys.readouterr().err
    listing = data / "manifest.csv"
    for number, label in enumerate("ab"):
        (data / f"{label}-3.wav").rename(data / f"{number}.wav")
        listing.write_text(listing.read_text().replace(f"{label}-3.wav", f"{number}.wav"))
    on_board("manifest", board, *words, file)
    with pytest.raises(SystemExit):
        on_board("manifest", board, *words[:-1])
    assert "hides references, and another would publish them" in capsys.readouterr().err
    (path,) = (board / "manifests").iterdir()
    manifest, known = hidden.references(file, board)
    assert manifest == Manifest.read(path)
    assert {row["reference"] for row in known.values()} == {"a", "b"}
    assert manifest.rows["test"] == {name: row_hash({"id": name}) for name in known}
    assert file.stat().st_mode & 0o077 == 0
    for place, message in ((file, "it is there already"), (path.parent / "new.jsonl", "everybody sees what is in")):
        with pytest.raises(SystemExit):
            on_board("manifest", board, *words, place)
        assert message in capsys.readouterr().err
    # The submitter has the same recordings, and is not told what the test split's are.
    lines = [re.sub(",[ab],test", ",,test", line) for line in listing.read_text().splitlines()]
    listing.write_text("\n".join(lines) + "\n")
    with pytest.raises(SystemExit):
        on_board("manifest", board, *words, tmp_path / "new.jsonl")
    assert "its test split has no references; whoever has them makes the manifest" in capsys.readouterr().err
    command = f"train --task audio_classification --data_dir {data} --backbone {folder_of('wav2vec2:tiny')}"
    command += f" --method lora --output_dir {tmp_path}/run --max_steps 2 --eval_strategy steps --eval_steps 1"
    main([*command.split(), *"--report_to none --use_cpu True --disable_tqdm True".split()])
    assert "\ntest: predicted, not scored: the split has no references.\n" in capsys.readouterr().out
    result = Result.read(tmp_path / "run" / "result.json")
    assert set(result.scores) == {"validation"} and set(result.predictions) == {"validation", "test"}
    submit(board, tmp_path / "run")
    on_board("build", board, "--references", file)
    predicted = [json.loads(line) for line in (tmp_path / "run" / "predictions-test.jsonl").read_text().splitlines()]
    right = [row["prediction"] == known[row["id"]]["reference"] for row in predicted]
    (entry,) = json.loads((board / "leaderboard.json").read_text())["entries"]
    assert (entry["test"]["accuracy"]["value"], len(right)) == (sum(right) / 2, 2)
    assert entry["references_hidden"]
    # Part of the test split with references is a mistake.
    listing.write_text("\n".join([*lines[:-1], lines[-1].replace(",,test", ",b,test")]) + "\n")
    with pytest.raises(leaderboard.SureError, match=r"0\.wav: no label, like 1 of 2 test utterances"):
        task_with_options("audio_classification", {}).load(data)


def test_texts_of_the_test_split_may_be_hidden_too(tmp_path):
    data = noise_with_labels(tmp_path, "a", "b")
    listing = data / "manifest.csv"
    listing.write_text(re.sub(",[ab],test", ",,test", listing.read_text().replace("label", "text")))
    task = task_with_options("asr_manifest", {})
    splits = task.load(data)
    assert list(splits["test"]["text"]) == [None, None]
    rows = list(splits["test"])
    assert task.targets(rows)["labels"].shape[0] == 2
    task.said = lambda output: "a"
    assert [set(row) for row in task.predict([[]] * 2, rows)] == [{"id", "prediction"}] * 2
