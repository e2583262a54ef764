"""Measures of synthesised speech, against implementations that share nothing with them."""

import math

import numpy as np
import pytest
import pyworld
from scipy.signal import freqz

from sure import audio
from sure.task.text_to_speech.measures import CEPSTRA, DECIBELS, WARPING, Analysis, analyse, compare, mel_cepstra
from tests.factories import RECORDINGS

LJSPEECH = RECORDINGS / "ljspeech" / "wavs"


def tone(f0, seconds=0.5, harmonics=10):
    time = np.arange(int(16_000 * seconds)) / 16_000
    return sum(np.sin(2 * np.pi * f0 * k * time) / k for k in range(1, harmonics + 1)) / 4


def noise(seconds=0.3, seed=0):
    return np.random.default_rng(seed).normal(scale=0.1, size=int(16_000 * seconds))


def frequency_transform(cepstrum, order, warping):
    """Oppenheim's recursion, as SPTK's freqt has it: one pass over all cepstra, last to first."""
    warped = np.zeros(order + 1)
    for value in cepstrum[::-1]:
        before = warped.copy()
        warped[0] = value + warping * before[0]
        if order:
            warped[1] = (1 - warping**2) * before[0] + warping * before[1]
        for m in range(2, order + 1):
            warped[m] = before[m - 1] + warping * (before[m] - warped[m - 1])
    return warped


def aligned(ours, theirs):
    """Mean distance over the cheapest path, by dynamic programming that keeps the path's length."""
    cost = np.array([[math.dist(one, other) for other in theirs] for one in ours])
    best = {(0, 0): (cost[0, 0], [(0, 0)])}
    for i in range(len(ours)):
        for j in range(len(theirs)):
            if (i, j) != (0, 0):
                total, path = min(best[step] for step in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if step in best)
                best[i, j] = (total + cost[i, j], [*path, (i, j)])
    path = best[len(ours) - 1, len(theirs) - 1][1]
    return path, np.mean([cost[pair] for pair in path])


def test_mel_cepstra_are_those_of_oppenheims_recursion():
    envelope = pyworld.cheaptrick(tone(150), *_f0(tone(150)), 16_000)[5]
    cepstrum = np.fft.irfft(0.5 * np.log(envelope))[:513]
    cepstrum[1:-1] *= 2
    expected = frequency_transform(cepstrum, CEPSTRA, WARPING)[1:]
    assert mel_cepstra(envelope[None])[0] == pytest.approx(expected, abs=1e-10)


def _f0(samples):
    f0, times = pyworld.dio(samples, 16_000)
    return pyworld.stonemask(samples, f0, times, 16_000), times


def test_a_warped_all_pole_spectrum_has_the_cepstrum_it_was_made_of():
    # log 1 / (1 - a z^-1) is the sum of a^m / m z^-m; here on the warped axis.
    pole = 0.6
    plain = np.linspace(0, np.pi, 513)
    warped = plain + 2 * np.arctan2(WARPING * np.sin(plain), 1 - WARPING * np.cos(plain))
    _, response = freqz([1.0], [1.0, -pole], worN=warped)
    expected = [pole**m / m for m in range(1, CEPSTRA + 1)]
    assert mel_cepstra(np.abs(response)[None] ** 2)[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (1, 7), (9, 4), (12, 12)])
def test_distortion_is_that_of_the_cheapest_path(ours, theirs):
    generator = np.random.default_rng(ours)
    cepstra = [generator.normal(size=(frames, CEPSTRA)) for frames in (ours, theirs)]
    path, distance = aligned(*cepstra)
    f0 = [generator.choice([0.0, 100.0, 150.0, 233.0], size=frames) for frames in (ours, theirs)]
    measures = compare(*(Analysis(*pair) for pair in zip(cepstra, f0, strict=True)))
    pairs = [(f0[0][i], f0[1][j]) for i, j in path]
    cents = [1200 * math.log2(one / other) for one, other in pairs if one and other]
    assert measures["mel_cepstral_distortion"] == pytest.approx(10 / math.log(10) * math.sqrt(2) * distance, abs=1e-6)
    assert measures["frames"] == len(path)
    assert measures["voicing_error"] == pytest.approx(
        np.mean([bool(one) != bool(other) for one, other in pairs]), abs=1e-6
    )
    assert measures["voiced_frames"] == len(cents)
    assert measures["squared_f0_error"] == pytest.approx(np.mean(np.square(cents)) if cents else 0.0, abs=1e-3)


@pytest.mark.parametrize(
    "waveform",
    [tone(120), noise(), np.zeros(8000), np.zeros(1), np.array([0.5]), tone(200)[:40], np.full(4000, 0.5)],
    ids=["voiced", "unvoiced", "silence", "one zero", "one sample", "40 samples", "constant"],
)
def test_an_utterance_does_not_differ_from_itself(waveform):
    measures = compare(analyse(waveform), analyse(waveform.copy()))
    assert measures["mel_cepstral_distortion"] == measures["voicing_error"] == measures["squared_f0_error"] == 0
    assert measures["frames"] >= 1


def test_loudness_does_not_count_and_timbre_does():
    # Where there is nothing at all in a band, WORLD puts noise of its own.
    hissing = tone(120) + noise(0.5) / 20
    assert compare(analyse(hissing), analyse(hissing / 8))["mel_cepstral_distortion"] < 0.05
    dull = compare(analyse(tone(120)), analyse(tone(120, harmonics=2)))
    assert dull["mel_cepstral_distortion"] > 3


@pytest.mark.parametrize(("f0", "cents"), [(120 * 2 ** (1 / 12), 100), (240, 1200), (120, 0)])
def test_a_higher_tone_is_so_many_cents_off(f0, cents):
    measures = compare(analyse(tone(f0)), analyse(tone(120)))
    assert math.sqrt(measures["squared_f0_error"]) == pytest.approx(cents, abs=6)
    assert measures["voiced_frames"] > 80


def test_speech_against_silence_is_off_where_it_is_voiced():
    measures = compare(analyse(tone(120)), analyse(np.zeros(8000)))
    assert measures["voiced_frames"] == 0
    assert measures["squared_f0_error"] == 0.0
    assert measures["voicing_error"] > 0.8
    assert measures["mel_cepstral_distortion"] > 10


def test_a_diverged_model_is_told_from_a_bad_one():
    with pytest.raises(FloatingPointError, match="no numbers"):
        analyse(np.array([0.1, np.nan, 0.2]))


def test_a_faster_reading_of_real_speech_is_nearer_than_another_sentence():
    if not LJSPEECH.is_dir():
        pytest.skip("no LJSpeech beside the repository")
    import librosa

    speech, other = (audio.load(LJSPEECH / f"LJ001-000{number}.wav") for number in (2, 4))
    faster = librosa.effects.time_stretch(speech, rate=1.15)
    near, far = (compare(analyse(waveform), analyse(speech)) for waveform in (faster, other))
    assert near["mel_cepstral_distortion"] < 0.6 * far["mel_cepstral_distortion"]
    assert near["squared_f0_error"] < far["squared_f0_error"]
    assert near["voicing_error"] < far["voicing_error"]


def test_decibels_of_a_distance():
    assert pytest.approx(6.141851463713754) == DECIBELS
