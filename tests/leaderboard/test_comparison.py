"""Comparisons of several scores against scipy's tests of two, and Holm's correction against its own example."""

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from sure.leaderboard.comparison import Difference, Sample, compare, holm
from sure.task.scoring import Sampling

GENERATOR = np.random.default_rng(0)


def test_folds_are_compared_as_pairs():
    folds = GENERATOR.normal([[0.8], [0.85], [0.9]], 0.05, size=(3, 5))
    compared = compare(folds.mean(axis=1), [Sample.of_folds("five", of_one) for of_one in folds])
    for one, other in np.ndindex(3, 3):
        if one != other:
            expected = ttest_rel(folds[one], folds[other])
            low, high = expected.confidence_interval()
            difference = compared.of(one, other)
            assert (difference.value, difference.low, difference.high) == pytest.approx(
                (folds[one].mean() - folds[other].mean(), low, high)
            )
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = holm(np.array([ttest_rel(folds[one], folds[other]).pvalue for one, other in pairs]))
    assert [compared.of(*pair).p for pair in pairs] == pytest.approx(expected)


def test_of_many_pairs_those_whose_p_value_is_not_computed_are_one_as_if_it_were():
    folds = GENERATOR.normal(np.arange(24) // 8 * 0.4, 0.1, size=(5, 24))
    compared = compare(folds.mean(axis=0), [Sample.of_folds("five", of_one) for of_one in folds.T])
    pairs = np.triu_indices(24, 1)
    expected = holm(ttest_rel(folds[:, pairs[0]], folds[:, pairs[1]]).pvalue)
    assert compared.p[pairs] == pytest.approx(expected)
    assert 0 < (expected < 0.05).sum() < (expected < 1).sum() < 276


def test_seeds_alone_are_compared_as_welch_does():
    """Where the test sample adds nothing: every draw has the same differences."""
    three, five = GENERATOR.normal(0.8, 0.01, size=3), GENERATOR.normal(0.77, 0.03, size=5)
    shared = GENERATOR.normal(size=100)
    sampling = Sampling("utterance", 100, None, 0)
    samples = [Sample.of_draws("rows", sampling, of_one.mean() + shared, of_one) for of_one in (three, five)]
    compared = compare([three.mean(), five.mean()], samples)
    expected = ttest_ind(three, five, equal_var=False)
    assert compared.of(0, 1).p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval()
    assert (compared.of(0, 1).low, compared.of(0, 1).high) == pytest.approx((low, high))


def test_draws_of_speakers_are_compared_by_students_t():
    """Their variance, of means of ten draws, is nine tenths of that of means of ten speakers."""
    speakers = GENERATOR.normal(0.8, 0.1, size=(2, 10))
    drawn = GENERATOR.integers(10, size=(20_000, 10))
    sampling = Sampling("speaker", 100, np.repeat(np.arange(10), 10)[:, np.newaxis].repeat(2, axis=1), 10)
    samples = [Sample.of_draws("rows", sampling, of_one[drawn].mean(axis=1), [of_one.mean()]) for of_one in speakers]
    compared = compare(speakers.mean(axis=1), samples)
    assert compared.of(0, 1).p == pytest.approx(ttest_rel(*speakers).pvalue, abs=0.005)


def test_an_end_that_is_not_zero_does_not_read_as_zero():
    def said(value, low, high):
        return str(Difference(value=value, low=low, high=high, p=0.5))

    assert said(-0.051, -0.08, -0.022) == "-0.051 [-0.080, -0.022]"
    assert said(0.00061, 0.00019, 0.00104) == "+0.00061 [+0.00019, +0.00104]"
    assert said(0.0001, -0.0002, 0.0004) == "+0.000 [-0.000, +0.000]"
    assert said(0.01, 0.004, 0.016) == "+0.010 [+0.004, +0.016]"


def test_holms_correction():
    """Each times the number of hypotheses that are left, and none below one before it."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]
    assert holm(np.array([])).tolist() == []
