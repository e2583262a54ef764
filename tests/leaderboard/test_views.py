"""A board as text: what filters let through, and what each format says of it."""

import csv
import io
import json

import pytest

from sure import leaderboard
from sure.cli import main
from sure.errors import SureError
from sure.leaderboard.views import Filters
from tests.leaderboard.test_leaderboard import register, write_record

RUNS = (
    {"method": "linear_probe", "right": 0.4, "parameters": 100},
    {"method": "lora", "right": 0.9, "parameters": 600, "seed": 0},
    {"method": "lora", "right": 0.88, "parameters": 600, "seed": 1},
    {"method": "houlsby", "right": 0.6, "parameters": 1600, "backbone": "a_b&|*"},
    {"method": "bitfit", "right": 0.3, "parameters": 300, "options": ["shots=5"]},
)


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        for number, run in enumerate(RUNS):
            leaderboard.add(write_record(folder / str(number), **run), folder / "board")
        (folder / "board" / "leaderboard.json").write_text(
            leaderboard.leaderboard_json(leaderboard.read_entries(folder / "board"))
        )
    return folder / "board"


def methods(board, **filters):
    return [entry["method"]["name"] for table in shown(board, **filters)["tables"] for entry in table["entries"]]


def shown(board, **filters):
    return json.loads(leaderboard.show(board, Filters(**filters), "json"))


def test_entries_are_filtered_and_keep_the_ranks_of_the_whole_table(board):
    assert methods(board, method=["houlsby", "lora"]) == ["lora", "houlsby"]
    assert methods(board, backbone=["lab/tiny"], seeds=2) == ["lora"]
    assert methods(board, family=["wav2vec2"], shots=["5"]) == ["bitfit"]
    assert methods(board, shots=["all"], budget=(None, "0.6%")) == ["lora", "linear_probe"]
    # 500, 1,500 and 200 of 99,900, head left out.
    assert methods(board, budget=("0.3%", "1%")) == ["lora"]
    assert methods(board, budget=("501", "1.5k")) == ["houlsby"]
    (table,) = shown(board, method=["houlsby"])["tables"]
    assert (table["entries_in_table"], table["entries"][0]["rank"]) == (4, 2)
    text = leaderboard.show(board, Filters(method=["houlsby"]))
    assert "\n2" in text
    assert "Filtered (--method houlsby): 1 of 4 entries; ranks, differences and † are those of the whole" in text
    assert "Filtered" not in leaderboard.show(board, Filters(task=["three_emotions"]))


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"method": ["lorra"]}, "Unknown method on this board 'lorra'. Did you mean 'lora'?"),
        ({"method": ["lora"], "shots": ["5"]}, "--shots 5: no entry of --method lora; there is all."),
        ({"method": ["lora"], "budget": ("1%", "2%")}, r"--budget 1% 2%: no entry of --method lora; there is 500 (0.5"),
        ({"seeds": 3}, "--seeds 3: no entry; there are 1, 2."),
        ({"budget": (None, "tiny")}, "budget=tiny: give a share"),
    ],
)
def test_what_matches_nothing_says_what_there_is(board, filters, message):
    with pytest.raises(SureError) as error:
        leaderboard.show(board, Filters(**filters))
    assert message in str(error.value)


def test_formats_say_the_same_escaped_and_with_marks(board, capsys):
    rows = list(csv.DictReader(io.StringIO(leaderboard.show(board, form="csv"))))
    assert [(row["rank"], row["tied"], row["method"], row["seeds"]) for row in rows if row["options"] == ""] == [
        ("1", "False", "lora", "0 1"),
        ("2", "False", "houlsby", "0"),
        ("3", "False", "linear_probe", "0"),
    ]
    entry = next(e for table in shown(board)["tables"] for e in table["entries"] if e["method"]["name"] == "lora")
    assert float(rows[0]["score"]) == entry["test"][entry["metric"]]["value"]
    assert rows[0]["claims"] == "self-reported"
    # No two entries here are of one method and backbone.
    assert {row["settings"] for row in rows} == {""}
    main(["leaderboard", "show", "--board", str(board), "--budget", "2%", "--format", "markdown"])
    text = capsys.readouterr().out
    assert f"| **{float(rows[0]['score']):.3f} ± " in text
    assert r"a_b&\|\*" in text
    main(["leaderboard", "show", "--board", str(board), "--method", "bitfit", "houlsby", "--format", "latex"])
    text = capsys.readouterr().out
    assert r"a\_b\&\textbar{}*" in text
    assert text.count(r"\toprule") == text.count(r"\begin{tabular}{lllllrrrrl") == 1
    assert r"\% intervals" in text and r"\caption{Three\_emotions, unweighted average recall on test" in text
