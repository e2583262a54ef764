"""Scores and intervals against closed forms and scikit-learn."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import balanced_accuracy_score

from sure.task.scoring import FEWEST_SPEAKERS, RESAMPLES, score_with_intervals
from tests.leaderboard.test_leaderboard import ThreeEmotions, prediction_rows


def by_speaker(speakers, utterances=20):
    """Every speaker's utterances are all right or all wrong, in turn."""
    return [
        {"id": f"{s}-{u}", "speaker": f"s{s}", "reference": "angry", "prediction": ("angry", "happy")[s % 2]}
        for s in range(speakers)
        for u in range(utterances)
    ]


def test_all_right_leaves_no_doubt():
    scores, _ = score_with_intervals(ThreeEmotions(), prediction_rows("test", 1.0))
    assert {(score.value, score.low, score.high) for score in scores.values()} == {(1.0, 1.0, 1.0)}


@pytest.mark.parametrize("right", [0.5, 0.9])
def test_the_interval_of_accuracy_is_that_of_the_binomial(right):
    """Drawing 100 utterances of which a share p is right is Binomial(100, p)."""
    rows = prediction_rows("test", right, utterances=100)
    scores, unit = score_with_intervals(ThreeEmotions(), rows, resamples=4 * RESAMPLES)
    low, high = binom.ppf([0.025, 0.975], 100, right) / 100
    assert unit == "utterance"
    assert scores["accuracy"].value == pytest.approx(right)
    assert scores["accuracy"].low == pytest.approx(low, abs=0.011)
    assert scores["accuracy"].high == pytest.approx(high, abs=0.011)


def test_ten_speakers_are_drawn_whole():
    """Ten equal speakers, five of them right: Binomial(10, 1/2), wider than for 200 separate utterances."""
    scores, unit = score_with_intervals(ThreeEmotions(), by_speaker(FEWEST_SPEAKERS))
    low, high = binom.ppf([0.025, 0.975], 10, 0.5) / 10
    assert unit == "speaker"
    assert (scores["accuracy"].low, scores["accuracy"].high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize(
    "rows", [by_speaker(FEWEST_SPEAKERS - 1), [*by_speaker(20), {**by_speaker(1)[0], "speaker": None}]]
)
def test_few_or_unnamed_speakers_are_not(rows):
    scores, unit = score_with_intervals(ThreeEmotions(), rows)
    assert unit == "utterance"
    assert scores["accuracy"].high - scores["accuracy"].low < 0.2


def test_unweighted_average_recall_is_balanced_accuracy():
    generator = np.random.default_rng(1)
    labels = np.array(ThreeEmotions().labels)
    references, predictions = labels[generator.integers(3, size=(2, 300))]
    rows = [
        {"id": str(i), "reference": str(r), "prediction": str(p)}
        for i, (r, p) in enumerate(zip(references, predictions, strict=True))
    ]
    scores, _ = score_with_intervals(ThreeEmotions(), rows, resamples=10)
    assert scores["unweighted_average_recall"].value == pytest.approx(balanced_accuracy_score(references, predictions))


def test_the_same_rows_give_the_same_interval():
    rows = prediction_rows("test", 0.7)
    assert score_with_intervals(ThreeEmotions(), rows, 50) == score_with_intervals(ThreeEmotions(), rows, 50)
