"""What `sure compare` says of two runs."""

import re

import pytest
from scipy.stats import norm

from sure import leaderboard
from sure.cli import main
from sure.leaderboard.compare import Compared, compare
from sure.record import write_predictions
from sure.task import make_task
from sure.task.scoring import interval, score_with_intervals
from tests.leaderboard.test_leaderboard import edit, prediction_rows, register, write_record


@pytest.fixture(autouse=True)
def known_task(monkeypatch):
    register(monkeypatch)


def run_of(folder, task_name, options, rows):
    """The record of a run of a real task that predicted `rows` on validation and test; gives its folder."""
    write_record(folder)
    task = make_task(task_name, options)
    scored = {name: score_with_intervals(task, rows) for name in ("validation", "test")}
    predictions = {name: write_predictions(folder / f"{name}.jsonl", rows).model_dump() for name in scored}
    size = {"utterances": len(rows), "seconds": 1.0, "speakers": None}

    def change(record):
        record["run"] |= {"task": task_name, "task_options": options}
        record["run"]["data"]["splits"] = dict.fromkeys(("train", "validation", "test"), size)
        if task.unit == "trial":
            record["run"]["data"]["trials"] = dict.fromkeys(scored, len(rows))
        record["metric"] = task.metric
        record["scores"] = {
            name: {metric: score.model_dump() for metric, score in of.scores.items()} for name, of in scored.items()
        }
        record["interval"] = interval(scored).model_dump()
        record["predictions"] = predictions

    edit(folder / "result.json", change)
    return str(folder)


def told(one, other, utterances=10, board="leaderboard"):
    """By the first two words of its title, what each table holds."""
    tables = compare(*(Compared.of(given, board) for given in (one, other)), utterances)
    return {" ".join(table.title.split()[:2]): table for table in tables}


def test_two_classifiers_are_compared_row_by_row(tmp_path, capsys):
    write_record(tmp_path / "a", right=0.9)
    record = write_record(tmp_path / "b", right=0.8, method="houlsby", parameters=500, seed=1)
    edit(record, lambda r: r["run"]["arguments"].update(learning_rate=0.1, output_dir="b"))
    board = tmp_path / "board"
    submission = leaderboard.add(record, board).name
    tables = told(str(tmp_path / "a"), submission, 2, board)
    assert set(tables["What differs"].rows) == {
        ("method.name", "lora", "houlsby"),
        ("seed", "0", "1"),
        ("arguments.learning_rate", "0.002", "0.1"),
    }
    assert tables["What differs"].about == "Further arguments that differ: output_dir."
    assert ("trainable parameters", "1,000", "500", "0.5") in tables["Budget and"].rows
    # What the one has wrong the other has too: 6 of 60 rows differ, a share of 0.1 whose variance is binomial.
    accuracy = next(row for row in tables["Scores"].rows if row[:2] == ("test", "accuracy"))
    value, low, high = map(float, re.findall(r"[-+.\d]+", accuracy[4]))
    error = (0.1 * 0.9 / 60) ** 0.5
    assert (value, low, high) == pytest.approx((0.1, 0.1 - 1.96 * error, 0.1 + 1.96 * error), abs=0.004)
    assert float(accuracy[5]) == pytest.approx(2 * norm.sf(0.1 / error), abs=0.003)
    assert accuracy[6] == "A is better"
    assert tables["Scores"].about.endswith(" validation: draws of utterances. test: draws of utterances.")
    rows = {row["id"]: row for row in prediction_rows("test", 0.9)}
    others = {row["id"]: row for row in prediction_rows("test", 0.8)}
    table = tables["Utterances of"]
    assert len(table.rows) == 2 and table.about == "6 of 60 utterances differ."
    for name, reference, said, other_said, better in table.rows:
        assert (reference, said, other_said, better) == (
            rows[name]["reference"],
            rows[name]["prediction"],
            others[name]["prediction"],
            "A",
        )
        assert said == reference != other_said
    right = [sum(of[name]["prediction"] == of[name]["reference"] == "angry" for name in of) for of in (rows, others)]
    assert tables["Confusions of"].rows[0][:2] == ("angry", f"{right[0]} / {right[1]}")
    main(["compare", str(tmp_path / "a"), submission, "--board", str(board)])
    text = capsys.readouterr().out
    assert f"B: {submission}: houlsby on lab/tiny, three_emotions, seed 1" in text
    assert all(table.title in text for table in tables.values())


def test_texts_are_compared_by_what_was_said_and_trials_by_the_side_they_are_on(tmp_path):
    texts = ["THE CAT SAT", "A DOG RAN", "NO"]
    said = (["THE HAT SAT", "A DOG", "NO"], ["THE HAT", "A DOG RAN", "NO WAY"])
    runs = [
        run_of(
            tmp_path / str(number),
            "asr_esd",
            {"language": "english"},
            [{"id": t, "reference": t, "prediction": s} for t, s in zip(texts, of, strict=True)],
        )
        for number, of in enumerate(said)
    ]
    tables = told(*runs)
    assert tables["Errors of"].rows == [
        ("substitutions", "1 (14.29%)", "1 (14.29%)"),
        ("deletions", "1 (14.29%)", "1 (14.29%)"),
        ("insertions", "0 (0.00%)", "1 (14.29%)"),
    ]
    assert tables["Most frequent"].rows == [("WAY", "0", "1")]
    assert tables["Utterances of"].rows[0] == (
        "A DOG RAN", "A DOG RAN", "A DOG (1 word wrong)", "A DOG RAN (0 words wrong)", "B"
    )  # fmt: skip
    trials = [(1, 0.9, 0.9), (1, 0.8, 0.2), (1, 0.1, 0.7), (0, 0.3, 0.8), (0, 0.2, 0.1), (0, 0.15, 0.15)]
    runs = [
        run_of(
            tmp_path / f"trials {side}",
            "sv_voxceleb1",
            {},
            [{"id": f"t{n}", "reference": trial[0], "prediction": trial[side]} for n, trial in enumerate(trials)],
        )
        for side in (1, 2)
    ]
    tables = told(*runs)
    # At thresholds 0.3 and 0.7 one of three targets is missed and one of three others accepted.
    assert [row[0] for row in tables["Trials of"].rows][:2] == ["t2", "t1"]
    assert tables["Trials of"].rows[1][1:] == ("target", "0.800, accepted", "0.200, rejected", "A")
    assert tables["Trials that"].rows == [
        ("targets", "3", "1", "1", "1", "0"),
        ("non-targets", "3", "2", "0", "0", "1"),
    ]


def test_runs_that_were_scored_on_other_rows_are_not_told_apart(tmp_path):
    write_record(tmp_path / "a")
    other = write_record(tmp_path / "b", right=0.2)
    rows = prediction_rows("test", 0.2)
    rows[0]["reference"] = "neutral"
    file = write_predictions(other.parent / "test.jsonl", rows)
    edit(other, lambda r: r["predictions"]["test"].update(file.model_dump()))
    tables = told(str(tmp_path / "a"), str(other))
    assert "test: other references of 1 of 60 rows." in tables["Scores"].about
    assert {row[4] for row in tables["Scores"].rows if row[0] == "test"} == {""}
    assert not {"Utterances of", "Confusions of"} & tables.keys()
    write_record(tmp_path / "failed", failed=True)
    assert list(told(str(tmp_path / "a"), str(tmp_path / "failed"))) == ["What differs"]
    with pytest.raises(leaderboard.SureError, match=f"gone: neither a folder with a result.json.*of {tmp_path}"):
        Compared.of("gone", tmp_path)
