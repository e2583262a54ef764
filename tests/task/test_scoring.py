"""Scores and intervals against closed forms and scikit-learn."""

import time

import numpy as np
import pytest
from scipy.stats import binom, binomtest, t
from sklearn.metrics import balanced_accuracy_score

from sure import registry
from sure.task.scoring import Prepared, Sampling, over_seeds, paired_draws, score_with_intervals, wilson
from tests.benchmarks import interval_coverage
from tests.leaderboard.test_leaderboard import ThreeEmotions, prediction_rows


def by_speaker(speakers, utterances=20):
    """Every speaker's utterances are all right or all wrong, in turn."""
    return [
        {"id": f"{s}-{u}", "speaker": f"s{s}", "reference": "angry", "prediction": ("angry", "happy")[s % 2]}
        for s in range(speakers)
        for u in range(utterances)
    ]


@pytest.mark.parametrize("right", [1.0, 0.9, 0.5, 0.0])
def test_the_interval_of_accuracy_is_wilsons(right):
    scored = score_with_intervals(ThreeEmotions(), prediction_rows("test", right, utterances=100))
    expected = binomtest(round(100 * right), 100).proportion_ci(method="wilson")
    accuracy = scored.scores["accuracy"]
    assert (scored.drawn, scored.speakers, accuracy.method) == ("utterance", None, "Wilson")
    assert accuracy.value == pytest.approx(right)
    assert (accuracy.low, accuracy.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_draws_that_are_all_the_same_are_no_interval():
    recall = score_with_intervals(ThreeEmotions(), prediction_rows("test", 1.0)).scores["unweighted_average_recall"]
    assert (recall.value, recall.low, recall.high, recall.method) == (1, 1, 1, "undetermined")
    assert not recall.determined
    # Ten alike speakers, whose sums differ in the last digits.
    rows = [row | {"prediction": "happy" if row["id"].endswith(("3", "7")) else "angry"} for row in by_speaker(10)]
    alike = score_with_intervals(ThreeEmotions(), rows).scores["unweighted_average_recall"]
    assert (alike.low, alike.high, alike.method) == (alike.value, alike.value, "undetermined")


@pytest.mark.parametrize(
    ("name", "values", "least", "greatest"),
    [
        ("speaker_similarity", [-0.04, -0.06], None, None),
        ("speaker_similarity", [-0.99, -0.9], -1.0, None),
        ("speaker_similarity", [0.99, 0.9], None, 1.0),
        ("naturalness", [1.1, 1.3], 1.0, None),
        ("naturalness", [4.9, 4.6], None, 5.0),
        # Models may say less than they should.
        ("naturalness", [0.9, 0.8], 0.85, None),
        ("mel_cepstral_distortion", [0.1, 0.3], 0.0, None),
        ("macro_f1", [0.99, 0.9], None, 1.0),
        ("word_error_rate", [0.99, 0.9], None, None),
    ],
)
def test_intervals_of_seeds_end_where_scores_do(name, values, least, greatest):
    draws = np.full(1000, np.mean(values))
    score = over_seeds(registry.get("metric", name)(), values, draws, Sampling("utterance", 60, None, 0))
    half = t.ppf(0.975, 1) * np.ptp(values) / 2
    assert score.low == pytest.approx(score.value - half if least is None else least)
    assert score.high == pytest.approx(score.value + half if greatest is None else greatest)


def test_drawn_rows_are_binomial():
    """Drawing 100 utterances of which a share p is right is Binomial(100, p); of one label recall is that share."""
    rows = [row | {"reference": "angry"} for row in prediction_rows("test", 0, utterances=100)]
    rows = [row | {"prediction": "angry" if number < 80 else "happy"} for number, row in enumerate(rows)]
    recall = score_with_intervals(ThreeEmotions(), rows, resamples=4000).scores["unweighted_average_recall"]
    low, high = binom.ppf([0.025, 0.975], 100, 0.8) / 100
    assert recall.method == "percentile bootstrap"
    assert (recall.low, recall.high) == (pytest.approx(low, abs=0.011), pytest.approx(high, abs=0.011))


def test_ten_speakers_are_drawn_whole():
    """Ten equal speakers, five of them right: Binomial(10, 1/2), wider than for 200 separate utterances."""
    scored = score_with_intervals(ThreeEmotions(), by_speaker(10))
    low, high = binom.ppf([0.025, 0.975], 10, 0.5) / 10
    recall, accuracy = scored.scores["unweighted_average_recall"], scored.scores["accuracy"]
    assert (scored.drawn, scored.speakers) == ("speaker", None)
    assert (recall.low, recall.high) == (pytest.approx(low), pytest.approx(high))
    # As many rows tell as much as there are speakers, and Student's t for nine degrees of freedom.
    low, high = wilson(0.5, 10, 2.262157)
    assert (accuracy.low, accuracy.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_ten_speakers_all_right_are_no_more_than_ten_rows():
    rows = [row | {"prediction": row["reference"]} for row in by_speaker(10)]
    accuracy = score_with_intervals(ThreeEmotions(), rows).scores["accuracy"]
    assert (accuracy.low, accuracy.high) == (pytest.approx(wilson(1, 10, 2.262157)[0]), 1)


@pytest.mark.parametrize(
    ("rows", "speakers"),
    [(by_speaker(9), 9), ([*by_speaker(20), {**by_speaker(1)[0], "id": "x", "speaker": None}], None)],
)
def test_few_or_unnamed_speakers_are_not(rows, speakers):
    scored = score_with_intervals(ThreeEmotions(), rows)
    assert (scored.drawn, scored.speakers) == ("utterance", speakers)
    assert scored.scores["accuracy"].high - scored.scores["accuracy"].low < 0.2


def test_unweighted_average_recall_is_balanced_accuracy():
    generator = np.random.default_rng(1)
    labels = np.array(ThreeEmotions().labels)
    references, predictions = labels[generator.integers(3, size=(2, 300))]
    rows = [
        {"id": str(i), "reference": str(r), "prediction": str(p)}
        for i, (r, p) in enumerate(zip(references, predictions, strict=True))
    ]
    scores = score_with_intervals(ThreeEmotions(), rows, resamples=10).scores
    assert scores["unweighted_average_recall"].value == pytest.approx(balanced_accuracy_score(references, predictions))


def test_the_same_rows_give_the_same_interval_in_any_order():
    rows = prediction_rows("test", 0.7)
    assert score_with_intervals(ThreeEmotions(), rows, 50) == score_with_intervals(ThreeEmotions(), rows[::-1], 50)


def drawn_together(task, *predictions):
    """The main metric's draws of each."""
    _, draws = paired_draws([Prepared.of(task, rows, [task.metric]) for rows in predictions])
    return [of_one[task.metric] for of_one in draws]


def test_paired_draws_are_of_the_same_rows():
    """Of the same rows in another order, and where a fifth of them is wrong instead."""
    task, rows = ThreeEmotions(), by_speaker(12)
    worse = [row | {"prediction": "happy"} if row["id"].endswith("0") else row for row in rows]
    one, same, lower = drawn_together(task, rows, rows[::-1], worse)
    assert np.array_equal(one, same)
    assert np.all(lower <= one)
    assert one.std() > 0.1
    assert np.all(one[one > 0.4] > lower[one > 0.4])


METRICS = ["accuracy", "weighted_f1", "macro_f1", "unweighted_average_recall"]


@pytest.mark.parametrize("name", METRICS)
def test_a_draw_scores_what_its_rows_score(name):
    """Many draws at once are what a metric with no arithmetic for that does: score repeated rows."""
    metric = registry.get("metric", name)()
    generator = np.random.default_rng(0)
    labels, wrong = generator.integers(4, size=(2, 30))
    prepared = metric.prepare(np.where(generator.random(30) < 0.6, labels, wrong), labels)
    counts = generator.poisson(0.5, size=(20, 30))
    repeated = [metric.score(*(np.repeat(array, times) for array in prepared)) for times in counts]
    assert metric.score_draws(*prepared, counts) == pytest.approx(repeated)


def trials(speakers, utterances=2, seed=0):
    """Every two utterances, with the speakers' names and scores that tell speakers apart more or less."""
    return interval_coverage.trials(np.random.default_rng(seed), speakers, utterances)


def test_a_trial_counts_as_often_as_both_of_its_speakers_were_drawn():
    task, rows = registry.get("task", "sv_voxceleb1")(), trials(6, 5)
    scored = score_with_intervals(task, rows)
    assert (scored.drawn, scored.speakers) == ("speaker", None)
    (draws,) = drawn_together(task, rows)
    assert 0 < np.median(draws) < 0.5
    generator = np.random.default_rng(0)
    metric, rows = task.metric_named("equal_error_rate"), sorted(rows, key=lambda row: row["id"])
    places = list(dict.fromkeys(name for row in rows for name in (row["speaker"], row["test_speaker"])))
    for drawn, expected in zip(generator.integers(6, size=(1000, 6))[:50], draws[:50], strict=True):
        # Copies of a speaker are speakers by themselves, who are never compared with one another.
        listed = [places[place] for place in drawn]
        repeated = [
            row
            for row in rows
            for _ in range(
                listed.count(row["speaker"]) * (1 if row["reference"] else listed.count(row["test_speaker"]))
            )
        ]
        kinds = {row["reference"] for row in repeated}
        score = task.score(repeated)["equal_error_rate"] if kinds == {0, 1} else metric.uninformed
        assert expected == pytest.approx(score)


def test_trials_of_earlier_runs_name_one_speaker_and_are_drawn_with_those_that_name_both():
    task, rows = registry.get("task", "sv_voxceleb1")(), trials(6, 5)
    earlier = [{key: value for key, value in row.items() if key != "test_speaker"} for row in rows]
    assert score_with_intervals(task, earlier, 10).drawn == "enrolment speaker"
    assert np.array_equal(*drawn_together(task, earlier, rows))
    assert score_with_intervals(task, trials(4), 10)[1:] == ("trial", 4)


def test_a_list_as_long_as_voxceleb1s_has_its_intervals_in_seconds():
    rows = trials(99, 20)[:37_611]
    started = time.perf_counter()
    assert score_with_intervals(registry.get("task", "sv_voxceleb1")(), rows).drawn == "speaker"
    assert time.perf_counter() - started < 30


def within_chance(cell, repetitions):
    """Whether coverage is 0.95 but for four standard errors of the simulation, or more."""
    return cell.after[0] >= 0.95 - 4 * (0.95 * 0.05 / repetitions) ** 0.5


def test_intervals_hold_what_they_are_to_hold():
    """Where those of before held it in 62 % of tests, and in 88 %."""
    (few_errors,) = interval_coverage.independent_utterances(200, accuracies=[0.99])
    (speakers,) = interval_coverage.speakers_that_differ(200, numbers=[10], deviations=[0.08])
    for cell in (few_errors, speakers):
        assert within_chance(cell, 200)
        assert cell.after[0] > cell.before[0]
    few, these = interval_coverage.speakers_that_differ(200, numbers=[4], deviations=[0.16])
    assert (few.drawn, these.drawn) == ("utterances, for these only",) * 2
    assert within_chance(these, 200)
    assert not within_chance(few, 200)


def test_equal_error_rates_of_few_speakers_hold_for_new_ones():
    """Nearly: percentiles of five speakers' draws should hold it in 90 % of tests; of trials' draws in 65 %."""
    (cell,) = interval_coverage.verification(100, numbers=[5])
    assert cell.drawn == "speakers"
    assert cell.before[0] < 0.9 - 4 * (0.9 * 0.1 / 100) ** 0.5 < cell.after[0]
