"""Metrics of spoofed speech: by hand, and against the definition of the tandem they are about."""

from fractions import Fraction

import numpy as np
import pytest

from sure import registry
from sure.errors import SureError
from sure.metric.tandem import VerificationErrors
from tests.metrics.test_verification import DEGENERATE, random_trials, rates

OF_2019, OF_2021 = "minimum_tandem_cost_2019", "minimum_tandem_cost_2021"
OF_5 = "minimum_detection_cost_asvspoof5"
CASES = DEGENERATE | {f"random {seed}": random_trials(seed) for seed in range(5)}
VERIFICATIONS = [VerificationErrors(), VerificationErrors(0.05, 0.1, 0.5), VerificationErrors(0.9, 0.05, 0.95)]


def value(name, scores, references, *arguments):
    chosen = registry.get("metric", name)(*arguments)
    return chosen.score(*chosen.prepare(np.array(scores), np.array(references)))


def test_the_tandem_cost_is_what_one_finds_by_hand():
    verification = VerificationErrors(miss=0.05, false_alarm=0.1, spoof_false_alarm=0.5)
    # C0 = 0.9405 * 0.05 + 0.0095 * 10 * 0.1, C1 = 0.9405 - C0, C2 = 0.05 * 10 * 0.5.
    assert verification.constants() == pytest.approx((0.056525, 0.883975, 0.25))
    trials = [4, 3, 2, 1], [1, 0, 1, 0]
    # The best threshold accepts all bona fide and half of the spoofed speech.
    assert value(OF_2019, *trials, verification) == pytest.approx(0.5)
    assert value(OF_2021, *trials, verification) == pytest.approx((0.056525 + 0.125) / (0.056525 + 0.25))
    # One false alarm in three costs 0.5 / 3 of 0.5 which accepting all costs.
    assert value(OF_5, [4, 3, 2, 1, 0], [1, 0, 1, 0, 0]) == pytest.approx(1 / 3)
    assert value(OF_5, [1, 2], [1, 0]) == 1


def tandem_costs(points, verification):
    """At every threshold what detector and verification cost together, by who comes and what is done with them."""
    miss, false_alarm, spoof_false_alarm = (
        Fraction(rate).limit_denominator()
        for rate in (verification.miss, verification.false_alarm, verification.spoof_false_alarm)
    )
    target, other, spoof = Fraction(9405, 10_000), Fraction(95, 10_000), Fraction(5, 100)
    for accepted, missed in points:
        rejected = target * (missed + (1 - missed) * miss)
        yield rejected + 10 * other * (1 - missed) * false_alarm + 10 * spoof * accepted * spoof_false_alarm


@pytest.mark.parametrize("case", CASES)
def test_they_agree_with_a_tandem_searched_over_all_thresholds(case):
    scores, references = CASES[case]
    points = rates(scores, references)
    for verification in VERIFICATIONS:
        costs = list(tandem_costs(points, verification))
        # Accepting nothing and accepting all are among the points.
        useless = min(costs[0], costs[-1])
        best = min(costs) / useless
        assert value(OF_2021, scores, references, verification) == pytest.approx(float(best), abs=1e-12)
        perfect = next(tandem_costs([(0, 0)], verification))
        legacy = (min(costs) - perfect) / (useless - perfect)
        assert value(OF_2019, scores, references, verification) == pytest.approx(float(legacy), abs=1e-12)
    cost = min(Fraction(95, 100) * miss + 10 * Fraction(5, 100) * accepted for accepted, miss in points)
    assert value(OF_5, scores, references) == pytest.approx(float(cost / Fraction(1, 2)), abs=1e-12)


def test_the_verification_s_threshold_is_the_organisers_s():
    errors = VerificationErrors.of_scores
    # Rejecting so far 0, 1 | 1.5: misses and false alarms are a quarter apart at 1 already, where ties are accepted.
    assert errors([1, 2, 3, 4], [0, 1.5], [0.5, 1, 5]) == VerificationErrors(0, 0.5, pytest.approx(2 / 3))
    assert errors([2, 3], [0, 1], [0, 2]) == VerificationErrors(0, 0.5, 0.5)
    # Of two thresholds that are equally near, the first.
    assert errors([0, 2, 5, 6], [1, 3, 4], [0]) == VerificationErrors(0.25, pytest.approx(2 / 3), 0)
    # All the wrong way round, and scores that tell nothing.
    assert errors([0], [1], [2]) == VerificationErrors(0, 1, 1)
    assert errors([1, 1], [1, 1], [1, 0]) == VerificationErrors(0, 1, 0.5)
    with pytest.raises(SureError, match="targets, non-targets and spoofed speech are all needed"):
        errors([1], [], [0])


@pytest.mark.parametrize("errors", [(0, 0, 0), (1, 0, 1)])
def test_a_verification_before_which_no_detector_helps_is_refused(errors):
    for name in (OF_2019, OF_2021):
        with pytest.raises(SureError, match="leaves a detector nothing to do"):
            registry.get("metric", name)(VerificationErrors(*errors))


@pytest.mark.parametrize("name", [OF_2019, OF_2021, OF_5])
def test_draws_of_speakers_are_those_of_their_utterances_and_of_one_kind_tell_nothing(name):
    metric = registry.get("metric", name)()
    scores, references = random_trials(2, trials=400)
    prepared = metric.prepare(scores, references)
    speakers = np.random.default_rng(0).integers(12, size=400)
    times = np.random.default_rng(1).integers(3, size=(6, 12))
    expected = metric.score_draws(*prepared, times[:, speakers])
    drawn = metric.score_speaker_draws(*prepared, np.stack([speakers, speakers], axis=-1), times)
    assert drawn == pytest.approx(expected, abs=1e-12)
    assert (metric.score_draws(*prepared, (references == 1)[np.newaxis].astype(int)) == 1).all()
