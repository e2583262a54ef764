"""How a synthesised utterance differs from a recording of the same sentence: spectrum, pitch, voicing.

Both are analysed by WORLD (Morise et al. 2016) at 16 kHz every 5 ms: F0 by DIO and StoneMask between 71 and 800 Hz, the
spectral envelope by CheapTrick. The envelope becomes mel-cepstra 1 to 24, on the frequency axis that an all-pass of
0.42 warps (Tokuda et al. 1994; SPTK's value for 16 kHz). Without the 0th, loudness does not count.

Dynamic time warping aligns the two over these cepstra, whole utterances with the silence around them: Euclidean
distance, steps (1, 1), (1, 0) and (0, 1) of equal weight. What follows is measured on the pairs of frames of its path.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sure.audio import SAMPLE_RATE
from sure.audio.pitch import f0, world

CEPSTRA = 24
WARPING = 0.42


# Decibels of a distance between mel-cepstra (Kubichek 1993, equation 2).
DECIBELS = 10.0 * np.sqrt(2.0) / np.log(10.0)
CENTS_PER_OCTAVE = 1200.0

# Points of the warped axis at which envelopes are read; more change no cepstrum.
_POINTS = 1024


class Analysis(NamedTuple):
    """`cepstra` of shape (frames, 24) and `f0` of shape (frames,), in Hz, 0 where a frame is not voiced."""

    cepstra: NDArray[np.float64]
    f0: NDArray[np.float64]


def analyse(waveform: NDArray) -> Analysis:
    """A waveform of shape (samples,), 16 kHz, of at least one sample.

    Raises `FloatingPointError` where a sample is NaN or infinite, and `SureError` where WORLD is not installed.
    """
    samples = np.ascontiguousarray(waveform, dtype=np.float64)
    if not np.isfinite(samples).all():
        raise FloatingPointError("the speech holds samples that are no numbers")
    pitch, times = f0(samples)
    envelope = world().cheaptrick(samples, pitch, times, SAMPLE_RATE)
    return Analysis(mel_cepstra(envelope), pitch)


def mel_cepstra(envelope: NDArray) -> NDArray[np.float64]:
    """Mel-cepstra 1 to 24 of power spectra of shape (frames, bins), bins from 0 to half the sample rate.

    c_m of log|H| = sum over m of c_m cos(m w), w being the warped frequency.
    """
    return 0.5 * np.log(envelope) @ _from_log_amplitude(envelope.shape[1])


def compare(synthesised: Analysis, recorded: Analysis) -> dict[str, float | int]:
    """The measures of one utterance.

    `mel_cepstral_distortion` in dB, the mean over the pairs of frames; `frames`, how many pairs; `voicing_error`, the
    share of which one is voiced and the other is not; `voiced_frames`, how many are voiced in both; `squared_f0_error`,
    the mean over these of the squared difference in cents, 0 where there are none.
    """
    import librosa

    _, path = librosa.sequence.dtw(synthesised.cepstra.T, recorded.cepstra.T, metric="euclidean")
    ours, theirs = path.T
    distances = np.linalg.norm(synthesised.cepstra[ours] - recorded.cepstra[theirs], axis=1)
    pitch, wanted = synthesised.f0[ours], recorded.f0[theirs]
    both = (pitch > 0) & (wanted > 0)
    cents = CENTS_PER_OCTAVE * np.log2(pitch[both] / wanted[both])
    return {
        "mel_cepstral_distortion": round(float(DECIBELS * distances.mean()), 6),
        "frames": len(path),
        "voicing_error": round(float(np.mean((pitch > 0) != (wanted > 0))), 6),
        "voiced_frames": int(both.sum()),
        "squared_f0_error": round(float(np.mean(cents**2)), 6) if both.any() else 0.0,
    }


@cache
def _from_log_amplitude(bins: int) -> NDArray[np.float64]:
    """The matrix (bins, 24) from log amplitudes to mel-cepstra: the cosine series of one, read at warped points."""
    warped = np.pi * (np.arange(_POINTS) + 0.5) / _POINTS
    plain = warped - 2 * np.arctan2(WARPING * np.sin(warped), 1 + WARPING * np.cos(warped))
    # As irfft has it, inner cepstra count twice.
    cepstrum = np.fft.irfft(np.eye(bins), axis=1)[:, :bins]
    cepstrum[:, 1:-1] *= 2
    read = cepstrum @ np.cos(np.outer(np.arange(bins), plain))
    return read @ np.cos(np.outer(warped, np.arange(1, CEPSTRA + 1))) * (2 / _POINTS)
