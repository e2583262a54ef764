"""Runs that differ in seed or fold only are one entry."""

from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np
import pytest
from scipy.stats import t

from sure import leaderboard, registry
from sure.leaderboard.configurations import read_entries
from sure.task.scoring import interval, score_with_intervals, wilson
from tests.leaderboard.test_leaderboard import ThreeEmotions, edit, prediction_rows, write_predictions, write_record


@dataclass
class ThreeFolds(ThreeEmotions):
    """The same, parted into folds."""

    fold: int = 1

    @property
    def cross_validation(self):
        return "fold", 3


@pytest.fixture(autouse=True)
def known_tasks(monkeypatch):
    get, known = registry.get, {"three_emotions": ThreeEmotions, "three_folds": ThreeFolds}
    monkeypatch.setattr(registry, "get", lambda kind, name: known.get(name) or get(kind, name))


def seeds(folder, board, rights, **run):
    """Of each seed the share that is right, and what its predictions score."""
    of_seeds = []
    for seed, right in enumerate(rights):
        method = run.get("method", "lora")
        leaderboard.add(write_record(folder / f"{method} {seed}", seed=seed, right=right, **run), board)
        of_seeds.append(score_with_intervals(ThreeEmotions(), prediction_rows("test", right)).scores)
    return of_seeds


def test_seeds_are_one_entry_with_mean_deviation_and_an_interval_of_sample_and_seed(tmp_path):
    of_seeds = seeds(tmp_path, tmp_path / "board", [0.7, 0.8, 0.75])
    (entry,) = read_entries(tmp_path / "board")
    assert (entry.seeds, entry.rank, len(entry.runs)) == ([0, 1, 2], 1, 3)
    for name, score in entry.test.items():
        values = [of_one[name].value for of_one in of_seeds]
        assert (score.value, score.deviation) == (pytest.approx(mean(values)), pytest.approx(stdev(values)))
    # Of the seeds that score least, the rows that are right are right with all of them, so that the mean varies less
    # than three times as many rows would and more than the rows themselves.
    accuracy = entry.test["accuracy"]
    values = np.array([of_one["accuracy"].value for of_one in of_seeds])
    between, middle = values.var(ddof=1) / 3, values.mean()
    hits = np.mean([[row["prediction"] == row["reference"] for row in prediction_rows("test", right)]
                    for right in (0.7, 0.8, 0.75)], axis=0)  # fmt: skip
    within = hits.var() / 60
    freedom = (within + between) ** 2 / (between**2 / 2)
    low, high = wilson(middle, middle * (1 - middle) / (within + between), t.ppf(0.975, freedom))
    assert (accuracy.low, accuracy.high) == (pytest.approx(low, abs=0.005), pytest.approx(high, abs=0.005))
    # Recall has no interval of its own: the percentiles of the draws are as much wider.
    recall, alone = entry.test["unweighted_average_recall"], of_seeds[2]["unweighted_average_recall"]
    values = [of_one["unweighted_average_recall"].value for of_one in of_seeds]
    error = ((alone.high - alone.low) / 2 / 1.96) ** 2 + stdev(values) ** 2 / 3
    assert recall.high - recall.low == pytest.approx(2 * t.ppf(0.975, freedom) * error**0.5, rel=0.08)
    text = leaderboard.show(tmp_path / "board")
    assert f"{recall.value:.3f} ± {recall.deviation:.3f} (3 seeds) [{recall.low:.3f}, {recall.high:.3f}]" in text
    assert "an interval covers test sample and seed. ±: standard deviation over seeds." in text


def test_only_what_decides_scores_parts_runs(tmp_path):
    board = tmp_path / "board"
    for seed, (rate, folder) in enumerate([(0.002, "a"), (0.002, "b"), (0.1, "c")]):
        record = write_record(tmp_path / folder, seed=seed)
        edit(
            record,
            lambda r, rate=rate, folder=folder: r["run"]["arguments"].update(learning_rate=rate, output_dir=folder),
        )
        leaderboard.add(record, board)
    # The same seed again, elsewhere, is no other seed.
    record = write_record(tmp_path / "again", right=0.75)
    edit(record, lambda r: r["cost"].update(device="another"))
    leaderboard.add(record, board)
    entries = read_entries(board)
    assert sorted((entry.seeds, entry.settings) for entry in entries) == [
        ([0], "learning_rate=0.002"),
        ([0, 1], "learning_rate=0.002"),
        ([2], "learning_rate=0.1"),
    ]
    assert leaderboard.leaderboard_json(read_entries(board)) == leaderboard.leaderboard_json(entries)


def test_entries_of_a_method_say_what_tells_them_apart(tmp_path):
    board = tmp_path / "board"
    modules = r"backbone\.layers\.\d+\.(?:self|encoder)_attn\.q_proj"
    runs = {
        "small": {"r": 2, "use_dora": False, "target_modules": "q_proj", "peft_version": "1"},
        "large": {"r": 8, "use_dora": False, "target_modules": modules, "peft_version": "2"},
        "parts": {"parts": {"lora": {"r": 8}, "bitfit": {}}, "use_dora": False, "placement": ["ffn", "attention"]},
    }
    for method, right in (("lora", 0.9), ("lora+bitfit", 0.5)):
        for number, (folder, config) in enumerate(runs.items()):
            record = write_record(tmp_path / method / folder, method=method, right=right - 0.1 * number)
            edit(record, lambda r, config=config: r["run"]["method"].update(config=config))
            leaderboard.add(record, board)
    # Alone of its method on its backbone, and of what differs in modules only.
    leaderboard.add(write_record(tmp_path / "alone", backbone="lab/base", right=0.3), board)
    for folder, pattern in (("q", "q_proj"), ("qk", modules)):
        record = write_record(tmp_path / folder, method="ia3", right=0.2)
        edit(record, lambda r, pattern=pattern: r["run"]["method"].update(config={"target_modules": pattern}))
        leaderboard.add(record, board)
    settings = [(entry.method.name, entry.settings) for entry in read_entries(board)]
    told = ["r=2", "r=8", "parts.lora.r=8, placement=ffn,attention"]
    assert [text for name, text in settings if name == "lora"] == [*told, ""]
    assert [text for name, text in settings if name == "lora+bitfit"] == told
    of_modules = {text for name, text in settings if name == "ia3"}
    assert of_modules == {"target_modules=q_proj", f"target_modules={modules[:39]}…"}
    text = leaderboard.show(board)
    assert "settings" in text and "placement=ffn,attention" in text


def test_entries_of_another_revision_of_a_backbone_say_which(tmp_path):
    board = tmp_path / "board"
    for place, right in (("ab", 0.9), ("cd", 0.5)):
        record = write_record(tmp_path / place, right=right)
        edit(record, lambda r, place=place: r["run"]["backbone"].update(revision=place * 20))
        leaderboard.add(record, board)
    assert [entry.settings for entry in read_entries(board)] == ["revision=abababab", "revision=cdcdcdcd"]


def test_seeds_of_a_worse_configuration_rank_behind(tmp_path):
    seeds(tmp_path, tmp_path / "board", [0.8, 0.82, 0.81], method="lora")
    seeds(tmp_path, tmp_path / "board", [0.5, 0.52, 0.51], method="bitfit")
    best, worse = read_entries(tmp_path / "board")
    assert (best.method.name, best.rank, worse.rank) == ("lora", 1, 2)
    assert worse.difference.low < worse.difference.value == pytest.approx(worse.score.value - best.score.value)


def fold(folder, board, number, right, *, method="lora", seed=0, corpus="ab"):
    """A run whose test split is this fold."""
    folder = folder / f"{method} {number} {seed} {corpus}"
    record = write_record(folder, method=method, seed=seed, fingerprint=f"{corpus}{number}" + "0" * 61)
    rows = {
        split: [row | {"id": f"{row['id']} of {number}"} for row in prediction_rows(split, right)]
        for split in ("validation", "test")
    }
    scored = {split: score_with_intervals(ThreeFolds(fold=number), members) for split, members in rows.items()}

    def change(content):
        content["run"].update(task="three_folds", task_options={"fold": number, "vocoder": "x"})
        content["run"]["arguments"]["task_options"] = [f"fold={number}", "vocoder=x"]
        content["interval"] = interval(scored).model_dump()
        for split, of in scored.items():
            content["scores"][split] = {name: score.model_dump() for name, score in of.scores.items()}
            content["predictions"][split] = write_predictions(folder / f"{split}.jsonl", rows[split]).model_dump()

    edit(record, change)
    leaderboard.add(record, board)
    return scored["test"].scores["unweighted_average_recall"].value


def test_folds_are_one_entry_with_students_interval(tmp_path):
    board = tmp_path / "board"
    lora = [fold(tmp_path, board, number, right) for number, right in ((1, 0.7), (2, 0.8), (3, 0.9))]
    bitfit = [fold(tmp_path, board, n, right, method="bitfit") for n, right in ((1, 0.5), (2, 0.6), (3, 0.7))]
    # One that has some of them, and the first fold of another corpus.
    fold(tmp_path, board, 2, 0.9, method="ia3")
    fold(tmp_path, board, 3, 0.9, method="ia3")
    fold(tmp_path, board, 1, 0.9, method="ia3", corpus="cd")
    entries = {(entry.method.name, *entry.folds): entry for entry in read_entries(board)}
    whole, worse = entries["lora", 1, 2, 3], entries["bitfit", 1, 2, 3]
    low, high = t.interval(0.95, 2, np.mean(lora), stdev(lora) / 3**0.5)
    assert (whole.score.value, whole.score.low) == (pytest.approx(mean(lora)), pytest.approx(low))
    assert whole.score.high == pytest.approx(min(1, high))
    assert (whole.options, whole.rank, worse.rank) == ("vocoder=x", 1, 2)
    assert worse.difference.value == pytest.approx(mean(bitfit) - mean(lora))
    assert set(entries) == {("lora", 1, 2, 3), ("bitfit", 1, 2, 3), ("ia3", 1, 2, 3)}
    other = entries["ia3", 1, 2, 3]
    assert other.fingerprint != whole.fingerprint
    assert other.rank == 1
    text = leaderboard.show(board)
    assert text.count("three_folds, all 3 folds, unweighted average recall on test") == 2


def test_an_entry_with_some_folds_is_not_ranked_with_whole_ones(tmp_path):
    board = tmp_path / "board"
    for number, right in ((1, 0.7), (2, 0.8), (3, 0.9)):
        for seed in (0, 1):
            fold(tmp_path, board, number, right - 0.05 * seed, seed=seed)
    for number in (1, 2):
        fold(tmp_path, board, number, 0.6, method="bitfit")
    fold(tmp_path, board, 1, 0.6, method="ia3")
    entries = read_entries(board)
    assert {(e.method.name, tuple(e.folds), e.rank) for e in entries} == {
        ("lora", (1, 2, 3), 1),
        ("bitfit", (1, 2), 1),
        ("ia3", (1,), 1),
    }
    (whole,) = (entry for entry in entries if len(entry.folds) == 3)
    assert whole.score.deviation == pytest.approx(0.05 / 2**0.5, abs=0.01)
    text = leaderboard.show(board)
    assert "three_folds, folds 1, 2 of 3," in text
    assert "these are not all folds: not ranked with entries that have them all" in text
    assert "three_folds, fold 1 of 3," in text


def test_a_fold_that_was_tested_in_two_corpora_does_not_join(tmp_path):
    board = tmp_path / "board"
    for corpus in ("ab", "cd"):
        for number in (1, 2):
            fold(tmp_path, board, number, 0.8, corpus=corpus)
    assert [entry.folds for entry in read_entries(board)] == [[1], [2], [1], [2]]


def test_a_seed_that_was_scored_on_other_rows_is_left_out(tmp_path, caplog):
    board = tmp_path / "board"
    leaderboard.add(write_record(tmp_path / "one"), board)
    record = write_record(tmp_path / "two", seed=1)
    rows = [row | {"id": f"other{row['id']}"} for row in prediction_rows("test", 0.8)]
    file = write_predictions(record.parent / "test.jsonl", rows)
    edit(record, lambda r: r["predictions"].update(test=file.model_dump()))
    scored = {"validation": prediction_rows("validation", 0.8), "test": rows}
    scored = {split: score_with_intervals(ThreeEmotions(), members) for split, members in scored.items()}
    test = {name: score.model_dump() for name, score in scored["test"].scores.items()}
    edit(record, lambda r: r["scores"].update(test=test))
    leaderboard.add(record, board)
    (entry,) = read_entries(board)
    assert len(entry.runs) == 1
    assert "other utterances than" in caplog.text
