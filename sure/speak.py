"""Speech of a trained text-to-speech adapter for texts that need no recordings."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from sure import registry
from sure.errors import SureError
from sure.predict import load
from sure.text_to_speech import TextToSpeechTask, trimmed


def speak(
    adapter: Path, texts: Sequence[str], speaker: str | None = None, batch_size: int = 16
) -> Iterator[np.ndarray]:
    """One waveform of shape (samples,), 16 kHz, per text, in their order; the same text always sounds the same.

    `adapter` is the output folder of `sure train --task tts_...`, `speaker` one of those it was trained on, who must be
    named where they are several. Raises `SureError` for another folder or speaker, and for an empty text.
    """
    task, backbone, model, _ = load(Path(adapter))
    if not isinstance(task, TextToSpeechTask):
        raise SureError(f"--adapter {adapter}: trained on {task.name}, it hears; give it recordings, no texts.")
    if speaker is None and len(task.voices) > 1:
        raise SureError(f"--speaker is missing: {adapter} learnt the voices of {', '.join(task.voices)}.")
    speaker = speaker or task.voices[0]
    if speaker not in task.voices:
        raise registry.unknown("speaker", speaker, task.voices)
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise SureError(f"Text {number} is empty.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).eval()
    with tqdm(total=len(texts), unit="text", disable=None) as progress:
        for start in range(0, len(texts), batch_size):
            batch = texts[start : start + batch_size]
            inputs = task.batch(backbone, [{"text": text, "speaker": speaker} for text in batch])
            with torch.inference_mode():
                outputs = model(**{name: tensor.to(device) for name, tensor in inputs.items()}).logits
            progress.update(len(batch))
            yield from (trimmed(output) for output in outputs.float().cpu().numpy())
