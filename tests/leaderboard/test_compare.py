"""What `sure compare` says of two runs."""

import re

import pytest
from scipy.stats import norm

from sure import leaderboard
from sure.cli import main
from sure.leaderboard.compare import Side, compare
from sure.leaderboard.entries import score_words
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
    sides = ([given] if isinstance(given, str) else given for given in (one, other))
    tables = compare(*(Side.of(given, board) for given in sides), utterances)
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


def seeds_of(folder, method, rights):
    """Runs of one configuration, by seed; gives their folders."""
    return [
        str(write_record(folder / f"{method} {seed}", method=method, right=right, seed=seed).parent)
        for seed, right in enumerate(rights)
    ]


def test_several_seeds_are_compared_as_the_board_compares_entries(tmp_path, capsys):
    ours, theirs = seeds_of(tmp_path, "lora", [0.7, 0.75, 0.8]), seeds_of(tmp_path, "bitfit", [0.6, 0.55])
    board = tmp_path / "board"
    names = [leaderboard.add(run, board).name for run in (*ours, *theirs)]
    best, worse = leaderboard.read_entries(board)
    tables = told(ours, theirs, 3)
    row = next(row for row in tables["Scores"].rows if row[:2] == ("test", "unweighted average recall"))
    assert row[2:4] == (score_words(best), score_words(worse)) and "± 0.050 (3 seeds)" in row[2]
    of_board = worse.difference
    assert row[4] == f"{-of_board.value:+.3f} [{-of_board.high:+.3f}, {-of_board.low:+.3f}]"
    assert row[5:] == (of_board.p_words, "A is better" if worse.rank == 2 else "cannot be told apart")
    assert "Seeds 0, 1, 2 against seeds 0, 1: means over seeds; intervals cover test sample and seed." in (
        tables["Scores"].about
    )
    assert ("seed", "0, 1, 2", "0, 1") in tables["What differs"].rows
    # All seeds of A have these right, and those of B one label.
    for _, reference, said, other_said, better in tables["Utterances of"].rows:
        assert (said, better) == (f"{reference} (3 of 3)", "A") and other_said.endswith(" (2 of 2)")
    confused = tables["Confusions of"]
    assert confused.title.endswith("on test, sums over seeds, A / B")
    counts = [sum(int(cell.split(" / ")[side]) for row in confused.rows for cell in row[1:4]) for side in (0, 1)]
    assert counts == [3 * 60, 2 * 60]
    main(["compare", *ours, "--with", *theirs])
    said = capsys.readouterr().out
    assert f"B: {', '.join(theirs)}: bitfit on lab/tiny, three_emotions, seeds 0, 1\n" in said
    # On a board the name of one submission stands for all seeds.
    main(["compare", names[1], names[-1], "--entries", "--board", str(board)])
    for given, name in zip((*ours, *theirs), names, strict=True):
        said = said.replace(given, name)
    assert capsys.readouterr().out == said
    # Of a single run on one side nothing is known of other seeds.
    about = told(ours, theirs[0])["Scores"].about
    assert "of A, a mean over seeds, the seed; of B what other seeds would give is not in the intervals." in about


def test_what_makes_no_side_of_a_comparison_is_refused(tmp_path, capsys):
    ours, theirs = seeds_of(tmp_path, "lora", [0.7, 0.8]), seeds_of(tmp_path, "bitfit", [0.6])
    again = str(write_record(tmp_path / "again", seed=1).parent)
    failed = str(write_record(tmp_path / "failed", seed=7, failed=True).parent)

    def refused(*words):
        with pytest.raises(SystemExit):
            main(["compare", *words, "--board", str(tmp_path / "board")])
        return capsys.readouterr().err

    assert "3 runs: give A and B, or the seeds of A, --with, and those of B." in refused(*ours, *theirs)
    assert f"{theirs[0]} and {ours[1]}: no seeds of one configuration; these differ: method.name." in refused(
        theirs[0], ours[1], "--with", ours[0]
    )
    assert f"{ours[1]} and {again}: both are of seed 1." in refused(*ours, again, "--with", *theirs)
    assert f"{ours[0]} and {failed}: a run that failed is no seed." in refused(ours[0], failed, "--with", *theirs)
    assert f"--entries: {ours[0]}: give one submission of" in refused(ours[0], theirs[0], "--entries")


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
    edit(tmp_path / "1" / "result.json", lambda record: record["run"].update(seed=1))
    both = told(runs, runs[0])
    assert both["Errors of"].rows[0] == ("substitutions", "2 (14.29%)", "1 (14.29%)")
    assert both["Errors of"].about == "Of 14 and 7 words."
    assert ("A DOG RAN", "A DOG (1 of 2); A DOG RAN (1 of 2)", "A") in [
        (row[0], row[2], row[4]) for row in both["Utterances of"].rows
    ]
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
    edit(tmp_path / "trials 2" / "result.json", lambda record: record["run"].update(seed=1))
    both = told(runs, runs[0])
    assert "accepted (1 of 2); rejected (1 of 2)" in {row[2] for row in both["Trials of"].rows}
    assert "Trials that" not in both
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
    with pytest.raises(leaderboard.SureError, match=r"xxx: neither a folder with a result\.json"):
        Side.of(["x" * 300], tmp_path)
    with pytest.raises(leaderboard.SureError, match=f"gone: neither a folder with a result.json.*of {tmp_path}"):
        Side.of(["gone"], tmp_path)
