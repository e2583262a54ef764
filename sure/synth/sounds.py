"""Sounds that are no speech, for corpora of sound events: pulses of tone and noise, each class in its own way."""

import numpy as np
from numpy.typing import NDArray

RATE = 44_100
_PULSES = (0.0, 1.5, 4.0, 11.0)


def sound(number: int, seconds: float, generator: np.random.Generator) -> NDArray[np.float32]:
    """A sound of the class with this number, shape (samples,), 44.1 kHz.

    A class has its pitch, its share of noise, and how often a second it pulses; every sound varies around them.
    """
    times = np.arange(round(seconds * RATE)) / RATE
    pitch = 120 * 1.35 ** (number % 13) * generator.uniform(0.95, 1.05)
    noisiness = (number % 3) / 2
    pulses = _PULSES[number % len(_PULSES)] * generator.uniform(0.9, 1.1)
    phase = generator.uniform(0, 2 * np.pi)
    tone = sum(np.sin(2 * np.pi * harmonic * pitch * times + phase) / harmonic for harmonic in (1, 2, 3))
    noise = generator.normal(size=len(times))
    # A pulse of noise sounds as high as the class' tone.
    noise *= np.sin(2 * np.pi * pitch * times)
    shape = np.clip(np.cos(2 * np.pi * pulses * times + phase), 0.05, 1)
    loudness = generator.uniform(0.05, 0.15)
    return (loudness * shape * ((1 - noisiness) * tone + noisiness * noise)).astype(np.float32)
