"""What a leaderboard accepts, how it ranks, and what it writes."""

import json
import shutil
from dataclasses import dataclass, field
from functools import cache

import jsonschema
import numpy as np
import pytest

from sure import leaderboard, registry
from sure.errors import SureError
from sure.leaderboard.comparison import Sample
from sure.leaderboard.entries import Entry, EntryRun, EntryScore, footnote, groups, rank, rank_label
from sure.leaderboard.views import Filters
from sure.record import BackboneInfo, Cost, MethodInfo, Result, write_predictions
from sure.runner.arguments import parse_options
from sure.task.classification import ClassificationTask
from sure.task.scoring import interval, score_with_intervals
from tests.factories import REPOSITORY
from tests.leaderboard import boards

LABELS = ["angry", "happy", "neutral"]


@dataclass
class ThreeEmotions(ClassificationTask):
    """A real task with no corpus: a board reads predictions only."""

    metrics = ("unweighted_average_recall", "accuracy")
    labels: list[str] = field(default_factory=lambda: list(LABELS))
    vocoder: str = ""
    speakers: list[str] = field(default_factory=list)

    def utterances(self, data_dir):
        raise NotImplementedError


def register(patch):
    """Let the registry find the task above, as if it had a file of its own."""
    get = registry.get
    patch.setattr(registry, "get", lambda kind, name: ThreeEmotions if name == "three_emotions" else get(kind, name))


@pytest.fixture(autouse=True)
def known_task(monkeypatch):
    register(monkeypatch)


def write_record(
    folder,
    *,
    method="lora",
    backbone="lab/tiny",
    right=0.8,
    parameters=1000,
    seed=0,
    failed=False,
    fingerprint="ab" * 32,
    options=(),
):
    """A record as a run leaves it, with predictions of which the share `right` is right; gives its path."""
    of_splits, predictions = {}, {}
    for split in () if failed else ("validation", "test"):
        of_splits[split] = scored(split, right)
        predictions[split] = write_predictions(folder / f"{split}.jsonl", prediction_rows(split, right))
    cost = {
        "trainable_parameters": parameters,
        "head_parameters": 100,
        "total_parameters": 100_000,
        "trainable_share": parameters / 100_000,
        "trainable_share_without_head": (parameters - 100) / 99_900,
        "adapter_bytes": 4 * parameters,
        "macs_per_second": 6_900_000_000,
        "training_seconds": 12.5,
        "evaluation_seconds": 1.5,
        "samples_per_second": 100.0,
        "steps": 10,
        "epochs": 2.0,
        "memory": {"kind": "resident set", "mean": 10, "maximum": 3 << 20, "percentile_99": 12},
        "device": "cpu",
        "processes": 1,
    }
    size = {"utterances": 60, "seconds": 90.0, "speakers": None}
    result = Result(
        status="failed" if failed else "complete",
        error="SureError: the loss is not a number" if failed else None,
        run={
            "task": "three_emotions",
            "task_options": parse_options(list(options), "--task_options"),
            "data": {
                "fingerprint": fingerprint,
                "synthetic": True,
                "splits": dict.fromkeys(("train", "validation", "test"), size),
            },
            "backbone": {"name": backbone, "family": "wav2vec2", "revision": "0" * 40, "pretrained": False},
            "method": {"name": method, "config": {"r": 8}},
            "seed": seed,
            "arguments": {"learning_rate": 0.002, "task_options": list(options)},
        },
        metric="unweighted_average_recall",
        cost=None if failed else cost,
        scores={split: of.scores for split, of in of_splits.items()},
        interval=None if failed else interval(of_splits),
        predictions=predictions,
        provenance={
            "versions": {},
            "python": "3.11",
            "platform": "Linux",
            "commit": None,
            "started": "2026-01-01T00:00:00Z",
            "finished": "2026-01-01T00:01:00Z",
        },
    )
    result.write(folder / "result.json")
    return folder / "result.json"


@cache
def scored(split, right):
    return score_with_intervals(ThreeEmotions(), prediction_rows(split, right))


def prediction_rows(split, right, utterances=60):
    references = [LABELS[index % 3] for index in range(utterances)]
    hits = np.random.default_rng(3).permutation(utterances) < right * utterances
    return [
        {
            "id": f"{split}{index}",
            "reference": reference,
            "prediction": reference if hit else LABELS[(index + 1) % 3],
        }
        for index, (reference, hit) in enumerate(zip(references, hits, strict=True))
    ]


def entry(name, value, low, high, *, parameters=10, higher=True, failed=False):
    """A hand-made entry."""
    score = EntryScore(value=value, low=low, high=high, unit="share", higher_is_better=higher)
    cost = Cost.model_construct(trainable_parameters=parameters)
    return Entry.model_construct(
        rank=None,
        tied=False,
        difference=None,
        to_probe=None,
        task="three_emotions",
        fingerprint="ab" * 32,
        backbone=BackboneInfo(name="tiny", family="wav2vec2", revision="0" * 40, pretrained=True),
        method=MethodInfo(name=name, config={}),
        runs=[EntryRun(submission=name, seed=0, fold=None, score=None if failed else value)],
        folds=None,
        options="",
        metric="error",
        test={} if failed else {"error": score},
        validation={} if failed else {"error": value},
        cost=None if failed else cost,
        status="failed" if failed else "complete",
        submission=name,
    )


def edit(record, change):
    content = json.loads(record.read_text())
    change(content)
    record.write_text(json.dumps(content))


def sample(draws, rows="rows"):
    return Sample(rows, draws, scale=1, freedom=np.inf)


def ranked(noise, **scores):
    """Entries with these scores, whose draws are the scores and so much of a noise of their own."""
    generator = np.random.default_rng(0)
    entries = [entry(name, value, 0, 1) for name, value in scores.items()]
    shared = 0.1 * generator.normal(size=1000)
    draws = {
        name: sample(value + shared + noise.get(name, 0) * generator.normal(size=1000))
        for name, value in scores.items()
    }
    return rank([entry("failed", 0, 0, 0, failed=True), *entries], draws)


def labelled(noise, **scores):
    return {e.submission: rank_label(e) for e in ranked(noise, **scores)}


def test_differences_of_the_same_draws_rank_and_failed_runs_come_last():
    """The noise that entries share, ten times their difference, takes nothing from it."""
    ranks = labelled({}, second=0.89, best=0.90, equal=0.90)
    assert ranks == {"best": "1=", "equal": "1=", "second": "3", "failed": "failed"}
    assert labelled({"best": 0.1}, second=0.89, best=0.90)["second"] == "1="


def test_whatever_is_not_significantly_worse_than_the_best_has_rank_1():
    """With the difference and its interval beside it, which is wide where the scores say little."""
    best, middle, wide, _ = entries = ranked({"wide": 0.15}, wide=0.80, best=0.90, middle=0.85)
    assert [rank_label(e) for e in entries] == ["1=", "2", "1=", "failed"]
    assert best.difference is None
    assert (middle.difference.value, middle.difference.low) == (pytest.approx(-0.05), pytest.approx(-0.05))
    assert wide.difference.low == pytest.approx(-0.1 - 1.96 * 0.15, abs=0.02)
    assert wide.difference.high == pytest.approx(-0.1 + 1.96 * 0.15, abs=0.02)


def test_many_comparisons_are_corrected_for():
    """A difference of 2.5 standard errors tells two entries apart, and not the first from the last of eleven."""
    alone = ranked({"worse": 0.04}, best=0.9, worse=0.8)
    assert alone[1].difference.p == pytest.approx(0.0124, abs=0.004)
    assert [e.rank for e in alone[:2]] == [1, 2]
    among = ranked({"worse": 0.04}, best=0.9, worse=0.8, **{f"equal{number}": 0.9 for number in range(9)})
    assert {e.rank for e in among[:-1]} == {1}
    # Of 55 pairs, 45 are of equal entries, and this is one of ten that are as far apart.
    assert among[-2].difference.p == pytest.approx(55 * alone[1].difference.p, rel=0.3)


def test_an_entry_is_marked_that_is_not_better_than_the_frozen_probe():
    entries = ranked({"ia3": 0.1, "lora": 0.001}, weighted_sum_probe=0.80, ia3=0.85, lora=0.84, full_finetuning=0.7)
    marked = {e.method.name: e.no_better_than_probe for e in entries[:-1]}
    assert marked == {"ia3": True, "lora": False, "weighted_sum_probe": False, "full_finetuning": True}
    assert {e.method.name: e.to_probe and round(e.to_probe.value, 3) for e in entries[:-1]} == {
        "ia3": 0.05,
        "lora": 0.04,
        "weighted_sum_probe": None,
        "full_finetuning": -0.1,
    }


def test_the_lower_error_ranks_first_where_lower_is_better():
    entries = [entry("worse", 0.3, 0.25, 0.35, higher=False), entry("better", 0.1, 0.05, 0.15, higher=False)]
    draws = {"worse": sample(np.full(9, 0.3)), "better": sample(np.full(9, 0.1))}
    assert [(e.submission, e.rank) for e in rank(entries, draws)] == [("better", 1), ("worse", 2)]
    # What was scored on other rows is not compared.
    draws["worse"] = draws["worse"]._replace(rows="other rows")
    assert [(e.rank, e.tied, e.difference) for e in rank(entries, draws)] == [(1, True, None), (1, True, None)]


def test_entries_are_compared_row_by_row(tmp_path):
    """Intervals overlap, but one is right wherever the other is and in six rows more."""
    for method, right in (("lora", 0.7), ("bitfit", 0.8)):
        leaderboard.add(write_record(tmp_path / method, method=method, right=right), tmp_path / "board")
    better, worse = leaderboard.read_entries(tmp_path / "board")
    assert (better.method.name, better.rank, worse.rank) == ("bitfit", 1, 2)
    assert worse.score.high > better.score.value > worse.score.value > better.score.low


def test_a_table_says_where_simulated_intervals_hold_too_seldom():
    (group,) = groups(boards.board(("sv_voxceleb1",)))
    assert "too narrow" not in footnote(group)
    costs = {"minimum_detection_cost_p01": group[0].score}
    with_costs = [entry.model_copy(update={"test": entry.test | costs}) for entry in group]
    assert "Intervals of minimum costs are too narrow and too low" in footnote(with_costs)


def test_a_table_says_for_whom_its_intervals_are(tmp_path):
    def below(speakers, right):
        rows = {split: prediction_rows(split, right) for split in ("validation", "test")}
        for number, row in enumerate(rows["test"]):
            row["speaker"] = f"s{number % speakers}"
        record = write_record(tmp_path / f"{speakers} {right}", right=right)
        scored = {split: score_with_intervals(ThreeEmotions(), members) for split, members in rows.items()}
        file = write_predictions(record.parent / "test.jsonl", rows["test"])

        def change(content):
            content["predictions"]["test"] = file.model_dump()
            content["interval"] = interval(scored).model_dump()
            for split, of in scored.items():
                content["scores"][split] = {name: score.model_dump() for name, score in of.scores.items()}

        edit(record, change)
        board = tmp_path / f"board {speakers} {right}"
        leaderboard.add(record, board)
        leaderboard.build(board)
        *_, row, last = leaderboard.show(board).splitlines()
        assert last in (board / "index.html").read_text(encoding="utf-8")
        assert ("[no interval]" in row) == ('"low":[null]' in (board / "index.html").read_text()) == (right == 1)
        return last

    made = "95 % intervals (percentile bootstrap) and ranks: 1,000 draws of"
    covers = "an interval covers the test sample, not the seed."
    assert below(12, 0.8) == f"{made} speakers; {covers}"
    assert below(4, 0.8) == f"{made} utterances, for these 4 speakers only; {covers}"
    assert below(1, 0.8) == f"{made} utterances, for this speaker only; {covers}"
    unscored = "95 % intervals and ranks: 1,000 draws of speakers; no interval where every draw gives the same score; "
    assert below(12, 1) == unscored + covers


def test_a_built_board_is_shown_as_built_until_a_submission_comes(tmp_path, monkeypatch):
    board = tmp_path / "board"
    leaderboard.add(write_record(tmp_path / "one"), board)
    before = leaderboard.show(board)
    leaderboard.build(board)
    with monkeypatch.context() as patch:
        patch.delattr(leaderboard, "read_entries")
        assert leaderboard.show(board) == before
    leaderboard.add(write_record(tmp_path / "two", method="bitfit", right=0.1), board)
    assert "bitfit" in leaderboard.show(board)


def test_different_corpora_and_metrics_are_not_ranked_together(tmp_path):
    for number, fingerprint in enumerate(("aa" * 32, "bb" * 32)):
        record = write_record(tmp_path / str(number), fingerprint=fingerprint, right=0.3 + 0.5 * number)
        leaderboard.add(record, tmp_path / "board")
    entries = leaderboard.read_entries(tmp_path / "board")
    assert [(e.rank, e.tied) for e in entries] == [(1, False), (1, False)]
    text = leaderboard.show(tmp_path / "board")
    assert "corpus aaaaaaaa, synthetic speech" in text
    assert "corpus bbbbbbbb" in text
    assert "untrained backbone" in text


def test_a_table_says_how_many_shots_its_entries_learnt_from(tmp_path):
    leaderboard.add(write_record(tmp_path / "all"), tmp_path / "board")
    few = write_record(tmp_path / "few", fingerprint="bb" * 32, options=["shots=8", "draw=1"])
    leaderboard.add(few, tmp_path / "board")
    text = leaderboard.show(tmp_path / "board")
    assert "three_emotions, unweighted average recall on test, corpus abababab" in text
    assert "three_emotions, shots=8, draw=1, unweighted average recall on test, corpus bbbbbbbb" in text


def test_what_is_counted_in_another_way_has_a_table_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(ThreeEmotions, "scored_by", ("vocoder",))
    for number, options in enumerate(([], ["vocoder=loud"], ["speakers=[a]"])):
        leaderboard.add(write_record(tmp_path / str(number), method=f"m{number}", options=options), tmp_path / "board")
    tables = [
        table.splitlines()[0] for table in leaderboard.show(tmp_path / "board").split("\n\n") if "on test" in table
    ]
    assert tables == [
        "three_emotions, unweighted average recall on test, corpus abababab, synthetic speech",
        "three_emotions, vocoder=loud, unweighted average recall on test, corpus abababab, synthetic speech",
    ]


def test_task_options_are_shown_where_they_differ(tmp_path):
    leaderboard.add(write_record(tmp_path / "one"), tmp_path / "board")
    leaderboard.add(write_record(tmp_path / "two", method="ia3"), tmp_path / "board")
    assert "options" not in leaderboard.show(tmp_path / "board")
    record = write_record(tmp_path / "three", method="bitfit", options=["vocoder=hifigan", "speakers=[a,b]"])
    leaderboard.add(record, tmp_path / "board")
    assert "vocoder=hifigan speakers=[a,b]" in leaderboard.show(tmp_path / "board")
    leaderboard.build(tmp_path / "board")
    assert '"vocoder=hifigan speakers=[a,b]"' in (tmp_path / "board" / "index.html").read_text()


def test_a_record_is_added_once(tmp_path, caplog):
    record = write_record(tmp_path / "run")
    first = leaderboard.add(record, tmp_path / "board")
    assert sorted(path.name for path in first.iterdir()) == [
        "result.json",
        "submission.json",
        "test.jsonl",
        "validation.jsonl",
    ]
    before = first.stat().st_mtime_ns
    assert leaderboard.add(record.parent, tmp_path / "board") == first
    assert "is on the board already" in caplog.text
    assert first.stat().st_mtime_ns == before
    assert list((tmp_path / "board" / "submissions").iterdir()) == [first]


def test_another_result_of_the_same_run_is_refused(tmp_path):
    leaderboard.add(write_record(tmp_path / "one"), tmp_path / "board")
    with pytest.raises(SureError, match="holds this run already; remove that folder"):
        leaderboard.add(write_record(tmp_path / "two", right=0.9), tmp_path / "board")


def test_a_failed_run_is_shown_without_rank(tmp_path):
    leaderboard.add(write_record(tmp_path / "run", failed=True), tmp_path / "board")
    (failed,) = leaderboard.read_entries(tmp_path / "board")
    assert (failed.rank, failed.score, failed.error) == (None, None, "SureError: the loss is not a number")
    assert "failed" in leaderboard.show(tmp_path / "board")


def test_a_failed_run_gives_way_to_the_same_run_completed(tmp_path):
    leaderboard.add(write_record(tmp_path / "failed", failed=True), tmp_path / "board")
    completed = leaderboard.add(write_record(tmp_path / "completed"), tmp_path / "board")
    assert [path.name for path in (tmp_path / "board" / "submissions").iterdir()] == [completed.name]


def better_predictions(folder):
    """Predictions that the record's hash matches and whose scores it does not have."""
    file = write_predictions(folder / "test.jsonl", prediction_rows("test", 1.0))
    edit(folder / "result.json", lambda r: r["predictions"].update(test=file.model_dump()))


def edited(change):
    return lambda folder: edit(folder / "result.json", change)


def accuracy(**values):
    return edited(lambda r: r["scores"]["test"]["accuracy"].update(values))


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (lambda f: (f / "test.jsonl").write_text("{}\n"), r"test\.jsonl: its SHA-256 is not the one in the record"),
        (lambda f: (f / "test.jsonl").unlink(), r"test\.jsonl: no such predictions file"),
        (
            better_predictions,
            r"test unweighted_average_recall, value: the record says 0\.[78]\d*, its predictions .* 1\.0",
        ),
        (accuracy(value=0.80001), r"result\.json: test accuracy, value: the record says 0\.80001"),
        (accuracy(value=float("nan")), "finite|NaN or infinity"),
        (accuracy(low=0.79), "test accuracy, low: the record says 0.79"),
        (edited(lambda r: r["scores"]["test"].pop("accuracy")), r"test has the metrics .* expected .*'accuracy'"),
        (edited(lambda r: r["scores"].pop("validation")), r"scores: of \['test'\]; expected \['validation'\]"),
        (edited(lambda r: r.update(metric="accuracy")), "accuracy does not rank"),
        (edited(lambda r: r.update(status="failed")), "a failed run has no scores"),
        (edited(lambda r: r.update(cost=None)), "a complete run states its cost"),
        (edited(lambda r: r["interval"].update(resamples=10)), "resamples=10,.*resamples=1000"),
        (edited(lambda r: r["run"].update(task="three_emotion")), r"result\.json: Unknown task 'three_emotion'"),
        (edited(lambda r: r["run"].update(task_options={"none": 1})), "Unknown option of three_emotions: 'none'"),
        (edited(lambda r: r.update(note="extra")), r"result\.json is not a result record .*note"),
        (edited(lambda r: r["predictions"]["test"].update(path="../x/test.jsonl")), "must lie beside its record"),
        (
            edited(lambda r: r["run"]["data"]["splits"]["test"].update(utterances=61)),
            "60 predictions for 61 utterances",
        ),
    ],
)
def test_a_record_that_does_not_hold_is_refused(tmp_path, tamper, message):
    record = write_record(tmp_path / "run")
    tamper(record.parent)
    with pytest.raises(SureError, match=message):
        leaderboard.add(record, tmp_path / "board")
    assert not list((tmp_path / "board").glob("submissions/*"))


@pytest.mark.parametrize("name", ["../../../escaped", "facebook/wav2vec2-base", "..", "/etc/x", ".hidden", "語"])
def test_no_name_leads_out_of_the_board(tmp_path, name):
    board = tmp_path / "board"
    folder = leaderboard.add(write_record(tmp_path / "run", backbone=name, method=name, failed=True), board)
    assert folder.parent == board / "submissions"
    assert folder.resolve().parent == (board / "submissions").resolve()
    assert set(tmp_path.iterdir()) == {board, tmp_path / "run"}


def test_validate_lists_every_problem_with_its_file(tmp_path):
    board = tmp_path / "board"
    folders = [
        leaderboard.add(write_record(tmp_path / method, method=method), board)
        for method in ("lora", "bitfit", "prefix")
    ]
    with pytest.raises(SureError, match=r"leaderboard\.json is not what the submissions make"):
        leaderboard.validate(board)
    leaderboard.build(board)
    assert leaderboard.validate(board) == 3

    (folders[0] / "model.pkl").write_bytes(b"x")
    edit(folders[1] / "result.json", lambda record: record["cost"].update(training_seconds=1.0))
    shutil.copytree(folders[2], folders[2].with_name("copy"))
    with pytest.raises(SureError) as problems:
        leaderboard.validate(board)
    lines = str(problems.value).splitlines()
    assert len(lines) == 3
    assert any(str(folders[0]) in line and "model.pkl" in line for line in lines)
    assert any(str(folders[1]) in line and "was changed" in line for line in lines)
    assert any("copy: its name should be" in line for line in lines)


def test_validate_finds_references_that_other_submissions_do_not_have(tmp_path):
    board = tmp_path / "board"
    leaderboard.add(write_record(tmp_path / "one"), board)
    record = write_record(tmp_path / "two", method="cheat", right=1.0)
    rows = prediction_rows("test", 1.0)
    rows = [row | {"id": f"other{row['id']}"} for row in rows]
    file = write_predictions(record.parent / "test.jsonl", rows)
    edit(record, lambda r: r["predictions"].update(test=file.model_dump()))
    leaderboard.add(record, board)
    leaderboard.build(board)
    with pytest.raises(SureError, match="other utterances, references or speakers than"):
        leaderboard.validate(board)


def rewritten(record, change):
    """The record with its rows changed, on test, and with the scores that these have."""
    rows = {split: prediction_rows(split, 0.8) for split in ("validation", "test")}
    rows["test"] = [change(row) for row in rows["test"]]
    of_splits = {split: score_with_intervals(ThreeEmotions(), members) for split, members in rows.items()}
    file = write_predictions(record.parent / "test.jsonl", rows["test"]).model_dump()

    def tell(content):
        content["predictions"]["test"] = file
        content["interval"] = interval(of_splits).model_dump()
        content["scores"] = {
            split: {name: score.model_dump() for name, score in of.scores.items()} for split, of in of_splits.items()
        }

    edit(record, tell)
    return record


@pytest.mark.parametrize("field", ["speaker", "test_speaker"])
def test_validate_finds_speakers_that_other_submissions_do_not_have(tmp_path, field):
    board = tmp_path / "board"
    for method in ("lora", "bitfit"):
        record = write_record(tmp_path / method, method=method)
        leaderboard.add(rewritten(record, lambda row: row | {"speaker": row["id"][-1]}), board)
    leaderboard.build(board)
    assert leaderboard.validate(board) == 2
    # Every row a speaker of its own, which makes the intervals of all narrow.
    record = write_record(tmp_path / "ia3", method="ia3")
    leaderboard.add(rewritten(record, lambda row: row | {"speaker": row["id"][-1], field: row["id"]}), board)
    leaderboard.build(board)
    with pytest.raises(SureError, match="other utterances, references or speakers than one another in test") as error:
        leaderboard.validate(board)
    assert str(error.value).count("one another") == 1


def test_a_rebuild_is_byte_identical(tmp_path):
    board = tmp_path / "board"
    for method, right in (("lora", 0.9), ("bitfit", 0.5)):
        leaderboard.add(write_record(tmp_path / method, method=method, right=right), board)
    leaderboard.add(write_record(tmp_path / "failed", method="ia3", failed=True), board)
    files = leaderboard.build(board)
    beside = {"leaderboard.json", "schema.json", "index.html", "three_emotions.svg"}
    assert {file.name for file in files if file.parent == board} == beside
    assert sum(file.parent == board / "entries" for file in files) == 3
    before = {file: file.read_bytes() for file in files}
    leaderboard.build(board)
    assert {file: file.read_bytes() for file in files} == before
    content = json.loads((board / "leaderboard.json").read_text())
    assert [row["rank"] for row in content["entries"]] == [1, 2, None]
    assert content["entries"][0]["trainable_parameters_without_head"] == 900


def test_an_empty_board_says_how_to_add(tmp_path):
    assert "sure leaderboard add" in leaderboard.show(tmp_path)
    leaderboard.build(tmp_path)
    assert leaderboard.validate(tmp_path) == 0


def test_an_unknown_task_lists_those_on_the_board(tmp_path):
    leaderboard.add(write_record(tmp_path / "run", failed=True), tmp_path)
    with pytest.raises(SureError, match=r"Did you mean 'three_emotions'\? Choose one of: three_emotions\."):
        leaderboard.show(tmp_path, Filters(task=["three_emotion"]))
    assert "lora" in leaderboard.show(tmp_path, Filters(task=["three_emotions"]))


def test_text_from_a_record_does_not_steer_the_terminal(tmp_path, caplog):
    """Nor does one that came by another way than `add`, which refuses it, take the board from the others."""
    record = write_record(tmp_path / "run", backbone="\x1b[2Jx", failed=True)
    shutil.copytree(record.parent, tmp_path / "submissions" / "it")
    leaderboard.add(write_record(tmp_path / "other", failed=True), tmp_path)
    shown = leaderboard.show(tmp_path)
    assert "\x1b" not in shown
    assert "lora" in shown
    assert "Left out:" in caplog.text
    assert "run.backbone.name: it has the character U+001B" in caplog.text


def test_the_published_schema_is_the_generated_one_and_accepts_a_record(tmp_path):
    published = (REPOSITORY / "leaderboard" / "schema.json").read_text(encoding="utf-8")
    assert published == leaderboard.schema()
    jsonschema.validate(json.loads(write_record(tmp_path).read_text()), json.loads(published))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema_version": 1}, json.loads(published))
