"""Metrics of synthesised speech against plain arithmetic over all frames."""

import math

import numpy as np
import pytest

from sure import registry

ROWS = [
    {
        "mel_cepstral_distortion": 5.0,
        "frames": 100,
        "voicing_error": 0.1,
        "voiced_frames": 10,
        "squared_f0_error": 400.0,
    },
    {
        "mel_cepstral_distortion": 8.0,
        "frames": 300,
        "voicing_error": 0.3,
        "voiced_frames": 30,
        "squared_f0_error": 900.0,
    },
    {"mel_cepstral_distortion": 2.0, "frames": 50, "voicing_error": 0.0, "voiced_frames": 0, "squared_f0_error": 0.0},
]


def score(name, rows):
    return registry.get("metric", name)().compute(predictions=rows, references=["a text"] * len(rows))[name]


def test_distortion_is_the_plain_mean_over_utterances():
    assert score("mel_cepstral_distortion", ROWS) == pytest.approx(5.0)


def test_f0_error_is_that_of_all_voiced_frames_together():
    squared = np.array([400.0] * 10 + [900.0] * 30)
    assert score("f0_error", ROWS) == pytest.approx(math.sqrt(squared.mean()))


def test_voicing_error_is_that_of_all_frames_together():
    assert score("voicing_error", ROWS) == pytest.approx((10 + 90 + 0) / 450)


def test_where_no_frame_is_voiced_in_both_the_error_is_an_octave():
    assert score("f0_error", ROWS[2:]) == pytest.approx(1200.0)


@pytest.mark.parametrize("name", ["mel_cepstral_distortion", "f0_error", "voicing_error"])
def test_a_prepared_part_scores_as_that_part_alone(name):
    metric = registry.get("metric", name)()
    predictions, references = metric.prepare(np.array(ROWS, dtype=object), np.array(["", "", ""], dtype=object))
    for chosen in ([0], [0, 0, 1], [1, 2], [2]):
        assert metric.score(predictions[chosen], references[chosen]) == pytest.approx(
            score(name, [ROWS[index] for index in chosen])
        )
    assert not metric.higher_is_better
