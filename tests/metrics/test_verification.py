"""Metrics of verification trials: by hand, against scikit-learn, and against a search over all thresholds."""

import itertools
import time
from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.metrics import det_curve, roc_curve

from sure import registry
from sure.errors import SureError
from sure.metric import detection

COSTS = {"minimum_detection_cost_p01": Fraction(1, 100), "minimum_detection_cost_p05": Fraction(1, 20)}
NAMES = ("equal_error_rate", *COSTS)


def metric(name):
    return registry.get("metric", name)()


def value(name, scores, references):
    chosen = metric(name)
    return chosen.score(*chosen.prepare(np.array(scores), np.array(references)))


def rates(scores, references):
    """(P_fa, P_miss) by falling threshold, by counting anew at each one, as fractions."""
    trials = list(zip(scores, references, strict=True))
    targets = sum(references)
    points = []
    for threshold in (np.inf, *sorted(set(scores), reverse=True)):
        missed = sum(reference == 1 and score < threshold for score, reference in trials)
        accepted = sum(reference == 0 and score >= threshold for score, reference in trials)
        points.append((Fraction(accepted, len(trials) - targets), Fraction(missed, targets)))
    return points


def crossing(points):
    """Where the line through the points meets P_miss = P_fa, looked for between every two of them."""
    for (fa, miss), (next_fa, next_miss) in itertools.pairwise(points):
        if miss >= fa and next_miss <= next_fa:
            share = (miss - fa) / ((miss - fa) + (next_fa - next_miss))
            return fa + share * (next_fa - fa)
    raise AssertionError("no crossing")


def random_trials(seed, trials=60, decimals=1):
    """Few decimals give many ties."""
    generator = np.random.default_rng(seed)
    references = generator.permutation([1, 0, *generator.integers(2, size=trials - 2)])
    return (generator.normal(size=trials) + generator.uniform(0, 3) * references).round(decimals), references


DEGENERATE = {
    "perfect separation": ([3, 2, 1, 0], [1, 1, 0, 0]),
    "all the wrong way round": ([0, 1, 2, 3], [1, 1, 0, 0]),
    "all scores equal": ([5, 5, 5, 5, 5], [1, 0, 0, 1, 0]),
    "one of each kind": ([0.3, 0.2], [1, 0]),
    "one of each kind, tied": ([0.2, 0.2], [1, 0]),
    "one target among many": ([0.5, 0.1, 0.9, 0.7, 0.5], [1, 0, 0, 0, 0]),
    "scores next to each other": ([np.nextafter(1, 2), 1.0, 1.0, np.nextafter(1, 0)], [1, 0, 1, 0]),
}
CASES = DEGENERATE | {f"random {seed}": random_trials(seed) for seed in range(20)}


@pytest.mark.parametrize(
    ("scores", "references", "rate"),
    [
        ([4, 3, 2, 1], [1, 1, 0, 0], 0),
        ([4, 3, 2, 1], [1, 0, 1, 0], Fraction(1, 2)),
        ([4, 3, 2, 1], [0, 0, 1, 1], 1),
        ([1, 1, 1, 1], [1, 1, 0, 0], Fraction(1, 2)),
        # (P_fa, P_miss) goes (0, 1), (0, 2/3), (0, 1/3), then over the tie to (1/2, 0): crossed at 2/5 of it.
        ([4, 3, 2, 2, 1], [1, 1, 1, 0, 0], Fraction(1, 5)),
        # (0, 1), (0, 1/2), over the tie to (2/3, 0), (1, 0): crossed at 3/7 of the tie.
        ([4, 2, 2, 2, 1], [1, 1, 0, 0, 0], Fraction(2, 7)),
    ],
)
def test_the_equal_error_rate_is_what_one_finds_by_hand(scores, references, rate):
    assert value("equal_error_rate", scores, references) == pytest.approx(float(rate), abs=1e-15)


@pytest.mark.parametrize(
    ("scores", "references", "p01", "p05"),
    [
        ([4, 3, 2, 1], [1, 1, 0, 0], 0, 0),
        # Half of the targets above all non-targets: miss the other half.
        ([4, 3, 2, 1], [1, 0, 1, 0], 0.5, 0.5),
        # Nothing is better than to accept nothing.
        ([4, 3, 2, 1], [0, 0, 1, 1], 1, 1),
        # One false alarm in 20 costs 99/20 of a miss of all at 0.01 and 19/20 at 0.05.
        ([2, *[1] * 10, *[0] * 19], [0, *[1] * 10, *[0] * 19], 1, 0.95),
    ],
)
def test_the_detection_cost_is_what_one_finds_by_hand(scores, references, p01, p05):
    assert value("minimum_detection_cost_p01", scores, references) == pytest.approx(p01)
    assert value("minimum_detection_cost_p05", scores, references) == pytest.approx(p05)


@pytest.mark.parametrize("case", CASES)
def test_they_agree_with_a_search_over_all_thresholds(case):
    scores, references = CASES[case]
    points = rates(scores, references)
    assert value("equal_error_rate", scores, references) == pytest.approx(float(crossing(points)), abs=1e-12)
    for name, prior in COSTS.items():
        cost = min(miss * prior + fa * (1 - prior) for fa, miss in points) / prior
        assert value(name, scores, references) == pytest.approx(float(cost), abs=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_they_agree_with_scikit_learn(case):
    scores, references = CASES[case]
    false_alarm, hit, _ = roc_curve(references, scores)
    rate = brentq(lambda x: 1 - x - np.interp(x, false_alarm, hit), 0, 1, xtol=1e-14)
    false_alarm, miss, _ = det_curve(references, scores)
    assert value("equal_error_rate", scores, references) == pytest.approx(rate, abs=1e-9)
    for name, prior in COSTS.items():
        # The curve lacks the point of accepting nothing.
        cost = min(1, np.min(miss * float(prior) + false_alarm * (1 - float(prior))) / float(prior))
        assert value(name, scores, references) == pytest.approx(cost, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_order_of_scores_and_neither_that_of_trials_matters(name):
    scores, references = random_trials(3)
    expected = value(name, scores, references)
    shuffled = np.random.default_rng(0).permutation(len(scores))
    assert value(name, scores[shuffled], references[shuffled]) == expected
    assert value(name, np.exp(scores / 7) - 5, references) == expected


@pytest.mark.parametrize("name", NAMES)
def test_trials_drawn_from_prepared_ones_score_as_if_prepared_themselves(name):
    scores, references = random_trials(5)
    chosen = metric(name)
    prepared = chosen.prepare(scores, references)
    for seed in range(20):
        drawn = np.random.default_rng(seed).integers(len(scores), size=len(scores))
        assert chosen.score(*(array[drawn] for array in prepared)) == value(name, scores[drawn], references[drawn])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [0, 1])
def test_trials_of_one_kind_are_refused_but_a_sample_of_one_kind_counts_as_chance(name, kind):
    chosen = metric(name)
    with pytest.raises(SureError, match=f"all 3 are {('non-targets', 'targets')[kind]}"):
        chosen.prepare(np.array([0.1, 0.2, 0.3]), np.array([kind] * 3))
    with pytest.raises(SureError, match="all 1 are"):
        chosen.prepare(np.array([0.1]), np.array([kind]))
    ranks, targets = chosen.prepare(np.array([0.1, 0.2, 0.3]), np.array([0, 1, kind]))
    sample = targets == kind
    assert chosen.score(ranks[sample], targets[sample]) == (0.5 if name == "equal_error_rate" else 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_trial_is_refused(name):
    for wrong in (np.nan, np.inf):
        with pytest.raises(SureError, match="no number"):
            value(name, [0.1, wrong, 0.3], [0, 1, 1])
    with pytest.raises(SureError, match="neither 1"):
        value(name, [0.1, 0.2, 0.3], [0, 1, 2])


@pytest.mark.parametrize("name", NAMES)
def test_the_interface_of_evaluate_works(name):
    scores = metric(name).compute(predictions=[0.9, 0.1, 0.8], references=[1, 0, 1])
    assert scores == {name: 0.0}
    assert not metric(name).higher_is_better


def test_a_million_trials_are_scored_in_seconds():
    scores, references = random_trials(0, trials=1_000_000, decimals=9)
    started = time.perf_counter()
    for name in NAMES:
        value(name, scores, references)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_draws_of_speakers_score_what_their_counts_of_every_trial_do(decimals):
    """Blocks leave nothing out: whether all scores are tied or none are, with draws that have no target among them."""
    generator = np.random.default_rng(decimals)
    scores, references = random_trials(decimals, trials=2000, decimals=decimals)
    references[generator.random(2000) < 0.9] = 0
    sides, times = generator.integers(40, size=(2000, 2)), generator.integers(4, size=(30, 40))
    sides[references == 1, 1] = sides[references == 1, 0]
    times[0, sides[references == 1, 0]] = 0
    one, other = sides.T
    counts = np.where(one == other, times[:, one], times[:, one] * times[:, other])
    for name in NAMES:
        chosen = metric(name)
        prepared = chosen.prepare(scores, references)
        drawn = chosen.score_speaker_draws(*prepared, sides, times)
        assert drawn.tolist() == chosen.score_draws(*prepared, counts).tolist()
        assert drawn[0] == chosen.uninformed


@pytest.mark.parametrize("seed", range(3))
def test_each_metric_says_where_on_the_curve_it_is(seed):
    scores, references = random_trials(seed)
    miss, false_alarm = detection.rates(*metric(NAMES[0]).prepare(scores, references))
    points = rates(scores, references)
    assert list(zip(false_alarm, miss, strict=True)) == [tuple(map(float, point)) for point in points]
    assert metric("equal_error_rate").operating_point(miss, false_alarm) == pytest.approx([float(crossing(points))] * 2)
    for name, prior in COSTS.items():
        missed, accepted = metric(name).operating_point(miss, false_alarm)
        cost = (float(prior) * missed + (1 - float(prior)) * accepted) / float(prior)
        assert cost == pytest.approx(value(name, scores, references))
