"""Pitch by WORLD (Morise et al. 2016): F0 by DIO and StoneMask, between 71 and 800 Hz."""

import numpy as np
from numpy.typing import NDArray

from sure.audio import SAMPLE_RATE
from sure.errors import SureError

FRAME_MILLISECONDS = 5.0


def f0(waveform: NDArray, milliseconds: float = FRAME_MILLISECONDS) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """F0 in Hz, 0 where a frame is not voiced, and the frames' times in seconds, both of shape (frames,)."""
    analyser, samples = world(), np.ascontiguousarray(waveform, dtype=np.float64)
    rough, times = analyser.dio(samples, SAMPLE_RATE, frame_period=milliseconds)
    return analyser.stonemask(samples, rough, times, SAMPLE_RATE), times


def world():
    try:
        import pyworld
    except ImportError:
        raise SureError('Measuring synthesised speech needs WORLD: pip install "sure-bench[tts]".') from None
    return pyworld
