"""From log-mel spectrograms to waveforms: Griffin-Lim, or a HiFi-GAN from a folder or the hub."""

from collections.abc import Callable

import numpy as np
import soxr
import torch
from torch import Tensor

from sure.audio import SAMPLE_RATE
from sure.audio.log_mel import LogMel
from sure.backbone.loading import from_pretrained
from sure.backbone.text_to_speech import TextToSpeech
from sure.errors import SureError

GRIFFIN_LIM = "griffin_lim"

# A spectrogram of shape (frames, bins) to a waveform of shape (samples,), float32, 16 kHz.
Vocoder = Callable[[Tensor], np.ndarray]


def load(name: str, backbone: TextToSpeech) -> Vocoder:
    """`griffin_lim`, which needs no weights, or a HiFi-GAN that reads the backbone's spectrograms.

    Raises `SureError` where there is no such vocoder, or it reads other spectrograms.
    """
    log_mel = backbone.log_mel()
    if name == GRIFFIN_LIM:
        return lambda spectrogram: log_mel.to_waveform(spectrogram.float().cpu().numpy())
    try:
        model = from_pretrained(backbone.vocoder_class, name)
    except (OSError, ValueError) as error:
        raise SureError(
            f"--task_options vocoder={name}: {str(error).splitlines()[0]} Expected {GRIFFIN_LIM}, or a folder or hub "
            f"id of a {backbone.vocoder_class.__name__} with config.json and model.safetensors."
        ) from None
    _refuse_others(name, model, log_mel)
    model.eval().requires_grad_(False)

    def speak(spectrogram: Tensor) -> np.ndarray:
        # The trainer evaluates in its own precision.
        with torch.autocast(spectrogram.device.type, enabled=False):
            spectrogram = spectrogram.float()
            # Some standardise by themselves.
            if model.config.normalize_before:
                spectrogram = log_mel.unstandardised(spectrogram)
            samples = model.to(spectrogram.device)(spectrogram).cpu().numpy()
        return samples if log_mel.rate == SAMPLE_RATE else soxr.resample(samples, log_mel.rate, SAMPLE_RATE)

    return speak


def _refuse_others(name: str, model: torch.nn.Module, log_mel: LogMel) -> None:
    config = model.config
    # Some configurations do not say their rate.
    theirs = (getattr(config, "sampling_rate", log_mel.rate), config.model_in_dim, int(np.prod(config.upsample_rates)))
    if theirs != (log_mel.rate, log_mel.bins, log_mel.hop):
        raise SureError(
            f"--task_options vocoder={name} reads {theirs[1]} mel bins every {theirs[2]} samples at {theirs[0]} Hz; "
            f"the backbone gives {log_mel.bins} every {log_mel.hop} at {log_mel.rate} Hz."
        )
