"""Speaker verification: options, trials, scores and their normalisation."""

import json
import math

import numpy as np
import pytest

from sure.corpus import cache
from sure.errors import SureError
from sure.task.speaker_verification import scores
from sure.task.speaker_verification.trials import read_trials, trials_by_rule
from tests.factories.speakers import FourSpeakers, cosine, loaded, rows_of


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "tdnn"}, "head=tdnn: choose one of ecapa, xvector, mean"),
        ({"layers": "first"}, "layers=first: choose one of last, weighted_sum"),
        ({"head": "mhfa", "layers": "weighted_sum"}, "layers=weighted_sum: head=mhfa mixes all layers itself"),
        ({"score_normalization": "s"}, "score_normalization=s: choose one of none, adaptive"),
        ({"crop_seconds": 0.01}, "crop_seconds=0.01: give a number of at least 0.025"),
        ({"crop_seconds": "long"}, "crop_seconds=long"),
        ({"crop_seconds": 1e305}, "crop_seconds=1e.305: give a number of at least 0.025 and at most 60"),
        ({"segments": [1, 0]}, "segments=0: give a number of at least 0.025"),
        ({"segments": [True]}, "segments=True"),
        ({"margin": -0.1}, "margin=-0.1: give a number of at least 0 and at most 1.57"),
        ({"scale": math.nan}, "scale=nan"),
        ({"augmentation_probability": 1.5}, "augmentation_probability=1.5: .* at most 1"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(options, message):
    with pytest.raises(SureError, match=f"--task_options {message}"):
        FourSpeakers(**options)


def test_a_list_of_trials_is_read_with_its_lines(tmp_path):
    path = tmp_path / "trials.txt"
    path.write_bytes(b"\xef\xbb\xbf1 a/1.wav a/2.wav\r\n\r\n0 a/1.wav b/1.wav\r\n1 a/1.wav a/2.wav")
    assert read_trials(path) == [
        (1, ("a/1.wav", "a/2.wav", 1)),
        (3, ("a/1.wav", "b/1.wav", 0)),
        (4, ("a/1.wav", "a/2.wav", 1)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 a b\n2 a b\n", "line 2: label '2'; expected 1 .same speaker. or 0"),
        ("a b 1\n", "line 1: label 'a'"),
        ("1 a\n", "line 1: 2 columns; expected a label and two utterances"),
        ("1 a b c\n", "line 1: 4 columns"),
        ("1 a b\n\n0 a b\n", "line 3: this trial has label 0 here and 1 before"),
        ("\n", "holds no trials"),
        ("1 \xe9 b\n", "not a text file in UTF-8"),
    ],
)
def test_a_line_that_is_no_trial_is_named(text, message, tmp_path):
    path = tmp_path / "trials.txt"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SureError, match=rf"trials\.txt.*{message}"):
        read_trials(path)


def test_trials_by_rule_are_balanced_distinct_and_do_not_depend_on_the_order_of_rows():
    rows = rows_of(12, 30)
    trials = trials_by_rule(rows)
    assert trials == trials_by_rule(rows[::-1])
    assert len(trials) == len(set(trials)) == 12 * 2 * 190
    assert sum(label for *_, label in trials) == len(trials) // 2
    for enrolment, test, label in trials:
        assert (enrolment.split("/")[0] == test.split("/")[0]) == bool(label)
        assert enrolment != test
    # Of thirty utterances twenty, from the first to near the last.
    used = {identity for trial in trials for identity in trial[:2] if identity.startswith("s3/")}
    assert len(used) == 20
    assert {"s3/00", "s3/28"} <= used
    # Everybody is everybody's impostor.
    assert len({(a.split("/")[0], b.split("/")[0]) for a, b, label in trials if not label}) == 12 * 11


def test_trials_by_rule_among_few_utterances_are_still_distinct():
    trials = trials_by_rule([*rows_of(1, 4), *rows_of(1, 1, first=1)])
    assert len(trials) == len(set(trials))
    assert sum(label for *_, label in trials) == 6
    assert trials_by_rule(rows_of(1, 4)) == []


def test_only_utterances_that_trials_name_are_evaluated_and_every_evaluation_has_its_trials(tmp_path):
    rows = rows_of(3, 2, "train") + rows_of(2, 25, "validation", 4) + rows_of(3, 2, "test", 7)
    task = FourSpeakers(rows=rows, segments=[1, 2.5])
    assert task.trials == {}
    splits = task.load(tmp_path)
    assert {name: len(split) for name, split in splits.items()} == {"train": 6, "validation": 40, "test": 6}
    assert task.evaluations() == {
        "validation": ("validation", None),
        "test": ("test", None),
        "test_1s": ("test", 1.0),
        "test_2.5s": ("test", 2.5),
    }
    assert {name: len(trials) for name, trials in task.trials.items()} == {
        "validation": 760,
        "test": 6,
        "test_1s": 6,
        "test_2.5s": 6,
    }
    assert task.training_speakers == 3
    assert task.targets([{"speaker": "s2"}, {"speaker": "s8"}])["labels"].tolist() == [2, -100]


def test_a_speaker_to_be_verified_must_be_unknown(tmp_path):
    rows = rows_of(4, 2, "train") + rows_of(3, 2, "validation", 4) + rows_of(3, 2, "test", 6)
    rows = [row | {"id": f"{row['split']}/{row['id']}"} for row in rows]
    known = FourSpeakers(rows=[*rows, {"id": "x", "path": "-", "speaker": "s1", "split": "test"}])
    with pytest.raises(SureError, match=r"test: 1 speakers to be verified are training speakers too, such as s1"):
        known.load(tmp_path)


def test_a_split_without_trials_of_both_kinds_is_refused(tmp_path):
    rows = rows_of(4, 2, "train") + rows_of(3, 2, "validation", 4) + rows_of(3, 1, "test", 7)
    with pytest.raises(SureError, match="the 0 test trials are not of both kinds"):
        FourSpeakers(rows=rows).load(tmp_path)


def test_a_trial_scores_the_cosine_of_its_embeddings_whatever_their_order(tmp_path):
    task = loaded(tmp_path)
    rows = rows_of(3, 2, "test", 7)[::-1]
    embeddings = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    by_id = dict(zip([row["id"] for row in rows], embeddings.tolist(), strict=True))
    predictions = task.predict(embeddings, rows)
    assert [row["id"].split() for row in predictions] == [[a, b] for a, b, _ in task.trials["test"]]
    for row, (enrolment, test, label) in zip(predictions, task.trials["test"], strict=True):
        assert row["prediction"] == pytest.approx(cosine(by_id[enrolment], by_id[test]), abs=1e-8)
        assert row["reference"] == label
        assert (row["speaker"], row["test_speaker"]) == (enrolment.split("/")[0], test.split("/")[0])
    assert json.loads(json.dumps(predictions)) == predictions


def test_a_trial_that_a_list_repeats_counts_as_often(tmp_path):
    task = loaded(tmp_path)
    task._trials["test"] = [("s7/00", "s7/01", 1), ("s7/00", "s8/00", 0)] * 2 + [("s7/00", "s7/01", 1)]
    predictions = task.predict(np.eye(6), rows_of(3, 2, "test", 7))
    assert [row["id"] for row in predictions] == [
        "s7/00 s7/01",
        "s7/00 s8/00",
        "s7/00 s7/01 #2",
        "s7/00 s8/00 #2",
        "s7/00 s7/01 #3",
    ]


def test_adaptive_normalisation_is_what_its_definition_says(tmp_path, monkeypatch):
    """Each trial by itself, in plain Python (Matejka et al. 2017, section 2.3, AS-norm1)."""
    nearest = 3
    monkeypatch.setattr(scores, "_NEAREST", nearest)
    # Fewer at a time than there are utterances and trials.
    monkeypatch.setattr(scores, "_AT_A_TIME", 4)
    generator = np.random.default_rng(1)
    training, tested = rows_of(5, 3, "train"), rows_of(3, 2, "test", 7)
    training_embeddings, embeddings = generator.normal(size=(15, 8)), generator.normal(size=(6, 8))
    cohort = [training_embeddings[start : start + 3].mean(axis=0) for start in range(0, 15, 3)]
    by_id = dict(zip([row["id"] for row in tested], embeddings, strict=True))

    def standard(score, identity):
        near = sorted((cosine(by_id[identity], speaker) for speaker in cohort), reverse=True)[:nearest]
        mean = sum(near) / nearest
        return (score - mean) / math.sqrt(sum((value - mean) ** 2 for value in near) / nearest)

    task = loaded(tmp_path, score_normalization="adaptive")
    shuffled = generator.permutation(15)
    task.calibrate(lambda: (training_embeddings[shuffled], [training[index] for index in shuffled]))
    for row, (enrolment, test, _) in zip(task.predict(embeddings, tested), task.trials["test"], strict=True):
        score = cosine(by_id[enrolment], by_id[test])
        expected = (standard(score, enrolment) + standard(score, test)) / 2
        assert row["prediction"] == pytest.approx(expected, abs=2e-6)


def test_a_cohort_of_one_speaker_still_gives_numbers(tmp_path):
    task = loaded(tmp_path, score_normalization="adaptive")
    task.calibrate(lambda: (np.ones((2, 6)), rows_of(1, 2, "train")))
    assert all(math.isfinite(row["prediction"]) for row in task.predict(np.eye(6), rows_of(3, 2, "test", 7)))


def test_without_normalisation_nothing_is_embedded_again(tmp_path):
    loaded(tmp_path).calibrate(lambda: pytest.fail("a pass over the training split for nothing"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prediction": "0.5", "reference": 1}, "'x y': the score '0.5' is not a number"),
        ({"prediction": math.nan, "reference": 1}, "'x y': the score nan is not a number"),
        ({"prediction": 10**400, "reference": 1}, "is not a number"),
        ({"prediction": True, "reference": 1}, "the score True is not a number"),
        ({"prediction": 0.5, "reference": 2}, "the reference 2 is neither 1 nor 0"),
        ({"prediction": 0.5}, "the reference None is neither 1 nor 0"),
    ],
)
def test_a_prediction_row_that_is_none_is_named(row, message):
    with pytest.raises(SureError, match=message):
        FourSpeakers().comparable([{"id": "x y", **row}])


def test_the_same_trials_scored_in_more_evaluations_are_the_same_corpus(tmp_path):
    plain, segmented = loaded(tmp_path), loaded(tmp_path, segments=[1, 2])
    splits = {}
    fingerprint = cache.fingerprint(splits, plain.trials)
    assert cache.fingerprint(splits, segmented.trials) == fingerprint
    other = {"test": plain.trials["test"][:-1], "validation": plain.trials["validation"]}
    assert cache.fingerprint(splits, other) != fingerprint
    twice = {"test": [*plain.trials["test"], plain.trials["test"][0]], "validation": plain.trials["validation"]}
    assert cache.fingerprint(splits, twice) != fingerprint
