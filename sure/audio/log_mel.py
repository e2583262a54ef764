"""Log-mel spectrograms as text-to-speech models predict them, and waveforms made from such by Griffin-Lim."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import soxr
from numpy.typing import NDArray
from torch import Tensor
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from sure.audio import SAMPLE_RATE

# What amplitudes of speech between -1 and 1 have, as log10; a model that has not learnt yet may say anything.
_LOUDEST = 3.0


@dataclass(frozen=True)
class LogMel:
    """log10 of mel-weighted amplitudes (Slaney's scale and norm), at least `floor`, less `mean`, over `deviation`.

    `rate` in Hz is the model's; `fft`, `window` (Hann) and `hop` are in samples at that rate, `lowest` and `highest`
    the edges of the `bins` in Hz.
    """

    rate: int
    fft: int
    window: int
    hop: int
    bins: int
    lowest: float
    highest: float
    floor: float = 1e-10
    # By which a model's own are standardised, of each bin or of all.
    mean: NDArray[np.float32] | float = 0.0
    deviation: NDArray[np.float32] | float = 1.0

    def __call__(self, waveform: NDArray) -> NDArray[np.float32]:
        """A waveform of shape (samples,), 16 kHz, as (frames, bins); frames are centred, 1 + samples // hop of them."""
        if self.rate != SAMPLE_RATE:
            waveform = soxr.resample(waveform, SAMPLE_RATE, self.rate)
        log_mel = spectrogram(
            waveform,
            window=window_function(self.window, "hann_window"),
            frame_length=self.window,
            hop_length=self.hop,
            fft_length=self.fft,
            mel_filters=self._filters,
            mel_floor=self.floor,
            log_mel="log10",
        )
        return ((log_mel.T - self.mean) / self.deviation).astype(np.float32)

    def unstandardised(self, log_mel: Tensor) -> Tensor:
        """(frames, bins) as log10 of mel-weighted amplitudes, of the same shape."""
        return log_mel * log_mel.new_tensor(self.deviation) + log_mel.new_tensor(self.mean)

    def amplitudes(self, log_mel: NDArray) -> NDArray[np.float64]:
        """(frames, bins) as mel-weighted amplitudes, of the same shape."""
        return 10.0 ** np.clip(log_mel * self.deviation + self.mean, np.log10(self.floor), _LOUDEST)

    def to_waveform(self, log_mel: NDArray) -> NDArray[np.float32]:
        """A waveform of shape (samples,), 16 kHz, for (frames, bins): always the same for the same spectrogram.

        Phases come from 32 rounds of fast Griffin-Lim (Perraudin et al. 2013), amplitudes from the pseudo-inverse of
        the mel filters.
        """
        import librosa

        mel = self.amplitudes(log_mel.astype(np.float64))
        amplitudes = np.maximum(self._inverse @ mel.T, self.floor).astype(np.float32)
        samples = librosa.griffinlim(
            amplitudes, n_iter=32, hop_length=self.hop, win_length=self.window, n_fft=self.fft, random_state=0
        )
        if self.rate != SAMPLE_RATE:
            samples = soxr.resample(samples, self.rate, SAMPLE_RATE)
        return samples.astype(np.float32)

    @cached_property
    def _filters(self) -> NDArray[np.float64]:
        return mel_filter_bank(
            num_frequency_bins=self.fft // 2 + 1,
            num_mel_filters=self.bins,
            min_frequency=self.lowest,
            max_frequency=self.highest,
            sampling_rate=self.rate,
            norm="slaney",
            mel_scale="slaney",
        )

    @cached_property
    def _inverse(self) -> NDArray[np.float64]:
        return np.linalg.pinv(self._filters.T)
