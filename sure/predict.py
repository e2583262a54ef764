"""A trained adapter on new recordings, which need no labels, or on new texts, which it speaks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sure import audio, registry
from sure.corpus.folders import is_hidden
from sure.errors import SureError
from sure.task.trained import TrainedModel


def predict(adapter: Path, recordings: Sequence[Path], batch_size: int = 16) -> Iterator[dict[str, Any]]:
    """One row per recording, in the order given: `path`, then what the task predicts, or where it cannot, `error`.

    Where the task predicts a speaker's `embedding`, `cosine_with_first` compares it with that of the first recording,
    unless there is an error in that one. `adapter` is the output folder of `sure train`; a folder among the recordings
    stands for the audio files in it. Raises `SureError` for a folder that is no such output, and a backbone that has
    changed since.
    """
    paths = [str(path) for recording in recordings for path in _audio_files(Path(recording))]
    trained = TrainedModel.load(Path(adapter))
    if trained.task.speaks:
        raise SureError(
            f"--adapter {adapter}: trained on {trained.task.name}, it speaks; give it --text or --text_file."
        )
    first = None
    with tqdm(total=len(paths), unit="recording", disable=None) as progress:
        for start in range(0, len(paths), batch_size):
            batch = paths[start : start + batch_size]
            loaded = {path: audio.load_or_error((path, None, None, trained.max_seconds)) for path in batch}
            readable = [{"id": path} for path in batch if loaded[path][1] is None]
            heard = trained.hear(readable, lambda row, loaded=loaded: loaded[row["id"]][0], batch_size)
            for path in batch:
                if error := loaded[path][1]:
                    yield {"path": path, "error": error}
                    continue
                row = next(heard)
                if path == paths[0]:
                    first = row
                row = trained.task.compared(row, first) if first else row
                yield {"path": path} | {name: value for name, value in row.items() if name != "id"}
            progress.update(len(batch))


def speak(
    adapter: Path, texts: Sequence[str], speaker: str | None = None, batch_size: int = 16
) -> Iterator[np.ndarray]:
    """One waveform of shape (samples,), 16 kHz, per text, in their order; the same text always sounds the same.

    `adapter` is the output folder of `sure train --task tts_...`, `speaker` one of those it was trained on, who must be
    named where they are several. Raises `SureError` for another folder or speaker, and for an empty text.
    """
    trained = TrainedModel.load(Path(adapter))
    if not trained.task.speaks:
        raise SureError(f"--adapter {adapter}: trained on {trained.task.name}, it hears; give it recordings, no texts.")
    voices = trained.task.voices
    if speaker is None and len(voices) > 1:
        raise SureError(f"--speaker is missing: {adapter} learnt the voices of {', '.join(voices)}.")
    speaker = speaker or voices[0]
    if speaker not in voices:
        raise registry.unknown("speaker", speaker, voices)
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise SureError(f"Text {number} is empty.")
    yield from trained.say([{"text": text, "speaker": speaker} for text in texts], batch_size, "text")


def _audio_files(recording: Path) -> list[Path]:
    if not recording.is_dir():
        return [recording]
    found = sorted(
        path
        for path in recording.rglob("*")
        if path.suffix.lower() in audio.SUFFIXES
        # The folder itself may lie in a hidden one.
        and not any(is_hidden(Path(name)) for name in path.relative_to(recording).parts)
    )
    if not found:
        raise SureError(f"{recording}: no audio files ({', '.join(sorted(audio.SUFFIXES))}) in this folder.")
    return found
