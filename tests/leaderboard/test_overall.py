"""Scores over all tasks, of boards small enough to be reckoned by hand."""

from math import log10

import pytest

from sure import leaderboard
from sure.leaderboard.comparison import Difference
from sure.leaderboard.overall import overall, told_apart
from sure.leaderboard.page import page
from sure.leaderboard.views import Filters, render
from sure.record import BackboneInfo, MethodInfo
from tests.leaderboard import boards
from tests.leaderboard.test_leaderboard import entry, register, write_record


def on_task(task, rows, *, higher=True, gain=True):
    """Ranked entries of one table: method, share, score, validation score; full fine-tuning gains or does not."""
    entries = []
    for rank, (method, share, score, validation) in enumerate(rows, start=1):
        one = entry(f"{task} {method} {share}", score, 0, 1, higher=higher)
        one.cost = one.cost.model_copy(update={"trainable_share_without_head": share})
        p = 0.01 if gain else 0.5
        probe = next(score for method, _, score, _ in rows if method == "linear_probe")
        change = {
            "rank": rank,
            "task": task,
            "method": MethodInfo(name=method, config={}),
            "validation": {"error": validation},
        }
        if method != "linear_probe":
            change["to_probe"] = Difference(value=score - probe, low=0, high=1, p=p)
        entries.append(one.model_copy(update=change))
    return entries


ACCURACY = [
    ("full_finetuning", 1.0, 0.9, 0.9),
    # The larger is better on validation, and so is the one that counts where it fits, and not on test.
    ("lora", 0.001, 0.85, 0.80),
    ("lora", 0.01, 0.80, 0.85),
    ("bitfit", 0.0005, 0.75, 0.7),
    ("linear_probe", 0.0, 0.7, 0.7),
]
ERRORS = [
    ("lora", 0.03, 0.1, 0.1),
    ("full_finetuning", 1.0, 0.2, 0.2),
    ("linear_probe", 0.0, 0.6, 0.6),
]


def test_scores_over_two_tasks():
    entries = [*on_task("accuracy", ACCURACY), *on_task("errors", ERRORS, higher=False)]
    rows = {row.method: row for row in overall(entries)}
    assert list(rows) == ["full_finetuning", "lora", "linear_probe", "bitfit"]
    lora = rows["lora"]
    # Third of the table, second of the systems; first of the errors.
    assert (lora.tasks, lora.mean_rank, lora.referred) == (2, (2 + 1) / 2, 2)
    assert rows["full_finetuning"].mean_rank == (1 + 2) / 2
    # 0.80 between 0.7 and 0.9, and 0.1 beyond 0.2 from 0.6.
    assert lora.superb_score == pytest.approx((500 + 1250) / 2)
    assert lora.at_budget == {"0.1 %": None, "1 %": None, "5 %": lora.superb_score, "unlimited": lora.superb_score}
    # From 0.1 % to 1 % the smaller one, then the larger; on errors nothing below 3 %.
    accuracy = (750 * 1 + 500 * 2) / 4
    errors = 1250 * -log10(0.03) / 4
    assert lora.area == pytest.approx((accuracy + errors) / 2)
    bitfit = rows["bitfit"]
    assert (bitfit.tasks, bitfit.mean_rank, bitfit.superb_score) == (1, 3, pytest.approx(250))
    assert bitfit.at_budget["0.1 %"] == pytest.approx(250)
    assert rows["linear_probe"].superb_score == rows["linear_probe"].area == 0
    assert (rows["full_finetuning"].superb_score, rows["full_finetuning"].area) == (1000, 0)
    assert rows["full_finetuning"].at_budget["5 %"] is None


def test_a_table_counts_where_full_finetuning_is_better_than_the_probe():
    (lora, *_) = [
        row
        for row in overall([*on_task("accuracy", ACCURACY), *on_task("errors", ERRORS, higher=False, gain=False)])
        if row.method == "lora"
    ]
    assert (lora.tasks, lora.referred, lora.superb_score) == (2, 1, pytest.approx(500))
    alone = [row for row in overall(on_task("errors", ERRORS, higher=False, gain=False)) if row.method == "lora"]
    assert (alone[0].superb_score, alone[0].area, alone[0].at_budget["unlimited"]) == (None, None, None)


def test_backbones_of_one_name_say_what_differs():
    def backbone(name, revision, **options):
        return BackboneInfo(name=name, family="whisper", revision=revision * 20, pretrained=True, options=options)

    whisper = [backbone("whisper", "ab", window=seconds, layers=4) for seconds in (2, 4)]
    others = [backbone("whisper", "cd", window=4, layers=4), backbone("wavlm", "ab"), backbone("wavlm", "ab")]
    assert told_apart(whisper + others[1:]) == ["whisper (window=2)", "whisper (window=4)", "wavlm", "wavlm"]
    # Earlier records have no options.
    earlier = backbone("whisper", "ab")
    assert told_apart([*whisper, others[0], earlier]) == [
        "whisper (window=2, layers=4, revision=abababab)",
        "whisper (window=4, layers=4, revision=abababab)",
        "whisper (window=4, layers=4, revision=cdcdcdcd)",
        "whisper (revision=abababab)",
    ]


def test_a_board_of_several_tasks_shows_them(tmp_path, monkeypatch):
    register(monkeypatch)
    board = tmp_path / "board"
    for method, right in (("linear_probe", 0.3), ("full_finetuning", 0.9)):
        leaderboard.add(write_record(tmp_path / method, method=method, right=right), board)
    assert "over all tasks" not in leaderboard.show(board)
    before = leaderboard.read_entries(board)
    second = [one.model_copy(update={"task": "another"}) for one in before]
    monkeypatch.setattr(leaderboard, "read_entries", lambda *_: [*second, *before])
    text = leaderboard.show(board)
    assert "over all tasks" in text
    (full,) = (line.split() for line in text.splitlines() if line.startswith("full_finetuning"))
    assert full[2:6] == ["2", "1.00", "1000", "-"]
    assert '"mean_rank":1' in page([*second, *before])


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_the_table_over_all_tasks_tells_backbones_of_one_name_apart(form):
    backbones = [boards.BACKBONES[0].model_copy(update={"options": {"window": seconds}}) for seconds in (2, 4)]
    text = render(boards.board(backbones=backbones), Filters(), form)
    of_systems = text.partition("over all tasks" if form != "latex" else "Over all tasks")[2]
    for seconds in (2, 4):
        assert of_systems.count(f"wav2vec2-base (window={seconds})") == len(boards.SHARES)
