"""What training speakers' utterances go through: crops, noise, rooms."""

import math

import numpy as np
import pytest
import soundfile

from sure.audio.augmentation import Surroundings, add_noise, crop, reverberate
from sure.errors import SureError
from tests.factories.encoders import waveforms
from tests.factories.speakers import FourSpeakers, loaded


def test_a_crop_is_a_random_part_and_a_short_utterance_is_repeated():
    waveform = np.arange(10, dtype=np.float32)
    generator = np.random.default_rng(0)
    starts = {int(crop(waveform, 4, generator)[0]) for _ in range(200)}
    assert starts == set(range(7))
    assert all(np.ptp(np.diff(crop(waveform, 4, generator))) == 0 for _ in range(20))
    assert crop(waveform, 10, generator).tolist() == waveform.tolist()
    assert crop(waveform, 23, generator).tolist() == [*range(10), *range(10), 0, 1, 2]


def test_augmentation_is_a_crop_of_the_length_asked_for_and_the_same_for_the_same_seed(tmp_path):
    task = FourSpeakers(crop_seconds=0.5)
    (long,) = waveforms(2.0)
    generator, again = np.random.default_rng(3), np.random.default_rng(3)
    first = [task.augment(long, {}, generator) for _ in range(3)]
    for part in first:
        assert part.shape == (8000,)
        assert np.array_equal(task.augment(long, {}, again), part)
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("decibels", [0.0, 7.0, 20.0])
def test_noise_is_added_at_the_ratio_asked_for(decibels):
    speech, noise = waveforms(1.0, 1.5)
    noise = 0.01 * noise[: len(speech)]
    added = add_noise(speech, noise, decibels) - speech
    assert 10 * math.log10(np.mean(speech**2) / np.mean(added**2)) == pytest.approx(decibels, abs=0.01)
    assert np.corrcoef(added, noise)[0, 1] == pytest.approx(1, abs=1e-4)
    assert np.isfinite(add_noise(speech, np.zeros_like(speech), decibels)).all()


def test_a_room_convolves_with_a_response_of_energy_one():
    (speech,) = waveforms(0.1)
    response = np.array([0.0, 3.0, 0.0, -4.0], dtype=np.float32)
    heard = reverberate(speech, response)
    assert heard.dtype == np.float32
    np.testing.assert_allclose(heard, np.convolve(speech, response / 5)[: len(speech)], atol=1e-5)


def musan(folder, kinds=("noise", "music", "speech"), rate=16_000):
    """One recording a kind, each a tone of its own; speech is shorter than a crop."""
    for number, kind in enumerate(kinds):
        seconds = 0.2 if kind == "speech" else 2.0
        tone = 0.5 * np.sin(2 * np.pi * 1000 * (number + 1) * np.arange(int(seconds * rate)) / rate)
        (folder / kind / "free").mkdir(parents=True)
        soundfile.write(folder / kind / "free" / f"{kind}-0.wav", tone, rate)
    return folder


def test_noise_and_rooms_come_from_their_folders_with_their_ratios_and_share(tmp_path):
    (tmp_path / "rirs" / "simulated_rirs" / "smallroom").mkdir(parents=True)
    echo = np.zeros(1600)
    echo[[0, 800]] = 0.5
    soundfile.write(tmp_path / "rirs" / "simulated_rirs" / "smallroom" / "a.wav", echo, 16_000)
    surroundings = Surroundings(musan(tmp_path / "musan", rate=8000), tmp_path / "rirs", 0.6)
    assert [kind for kind, _ in surroundings.noises] == ["noise", "music", "speech"]
    (speech,) = waveforms(0.5)
    heard = {"none": 0, "room": 0, "noise": [], "music": [], "speech": []}
    generator = np.random.default_rng(0)
    for _ in range(600):
        changed = surroundings.change(speech, generator)
        assert changed.shape == speech.shape
        added = changed - speech
        spectrum = np.abs(np.fft.rfft(added))
        peak = int(spectrum.argmax() * 16_000 / len(speech))
        if changed is speech:
            heard["none"] += 1
        elif spectrum.max() < 0.5 * spectrum.sum() and peak not in (1000, 2000, 3000):
            heard["room"] += 1
        else:
            kind = {1000: "noise", 2000: "music", 3000: "speech"}[round(peak, -2)]
            heard[kind].append(10 * math.log10(np.mean(speech**2) / np.mean(added**2)))
    assert heard["none"] / 600 == pytest.approx(0.4, abs=0.06)
    assert heard["room"] / 600 == pytest.approx(0.3, abs=0.06)
    for kind, (low, high) in {"noise": (0, 15), "music": (5, 15), "speech": (10, 30)}.items():
        assert len(heard[kind]) / 600 == pytest.approx(0.1, abs=0.04)
        assert low - 0.1 <= min(heard[kind]) < low + 2
        assert high - 2 < max(heard[kind]) <= high + 0.1


def test_folders_without_what_they_should_hold_are_told_before_training(tmp_path):
    (tmp_path / "musan" / "noise").mkdir(parents=True)
    with pytest.raises(SureError, match=r"noise_dir=.*musan: no wav files in noise, music, speech"):
        loaded(tmp_path, noise_dir=str(tmp_path / "musan"))
    with pytest.raises(SureError, match=r"reverberation_dir=.*nowhere: no wav files in simulated_rirs"):
        loaded(tmp_path, reverberation_dir=str(tmp_path / "nowhere"))
