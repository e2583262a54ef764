"""Forced alignment: when a recording says each character of its text.

eSpeak NG speaks the text too, and knows when it says what. Dynamic time warping of how both sound carries its times
over to the recording (Malfrère and Dutoit 1997), which needs neither a model nor a lexicon. Within a word characters
share the sounds evenly: spelling does not say which of them is which.
"""

from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from sure import synth
from sure.audio import SAMPLE_RATE
from sure.errors import SureError

# Who speaks for comparison. On utterances of other voices of eSpeak NG, of which the times are known, words begin
# within 40 ms of the truth (tests/task/text_to_speech/test_alignment.py).
VOICE = synth.Voice("en-us+f2", rate=165)

# 10 ms, in windows of 25.
_HOP, _WINDOW = 160, 400


def align(text: str, waveform: NDArray) -> NDArray[np.float64]:
    """`character_times` of a recording of shape (samples,), 16 kHz, that says `text`, in English.

    Raises `SureError` where eSpeak NG is not installed, or finds nothing in the text to say.
    """
    import librosa

    # What it says does not depend on what it said before.
    synth.forget()
    spoken, words = synth.speak_words(text, VOICE)
    if not words:
        raise SureError(f"eSpeak NG finds nothing to say in the text {text!r}.")
    _, path = librosa.sequence.dtw(_sound(spoken), _sound(waveform), metric="euclidean")
    ours, theirs = path[::-1].T
    # Where we are first at each of our frames.
    frames, first = np.unique(ours, return_index=True)
    times = character_times(text, words, len(spoken) / SAMPLE_RATE)
    seconds = len(waveform) / SAMPLE_RATE
    return np.minimum(np.interp(times * SAMPLE_RATE / _HOP, frames, theirs[first]) * _HOP / SAMPLE_RATE, seconds)


def character_times(text: str, words: list[synth.Word], seconds: float) -> NDArray[np.float64]:
    """When each character begins and the last one ends, shape (len(text) + 1,), in speech of so many seconds.

    A pause belongs to the first character after the word before, a space or a comma, and silence at the beginning to
    the first character.
    """
    places = {0.0: 0.0}
    for word, later in zip_longest(words, words[1:]):
        end = min(word.end, later.start if later else len(text))
        places |= zip(np.linspace(word.start, end, len(word.times)), word.times, strict=True)
        if end < (later.start if later else len(text)):
            places[end + 1.0] = later.times[0] if later else seconds
    places[0.0] = 0.0
    return np.interp(np.arange(len(text) + 1), list(places), list(places.values()))


def _sound(waveform: NDArray) -> NDArray[np.float32]:
    """MFCCs of mean 0 and variance 1 with their differences, (features, frames)."""
    import librosa

    static = librosa.feature.mfcc(
        y=np.asarray(waveform, dtype=np.float32), sr=SAMPLE_RATE, n_mfcc=13, n_fft=_WINDOW, hop_length=_HOP, n_mels=40
    )
    static = (static - static.mean(axis=1, keepdims=True)) / (static.std(axis=1, keepdims=True) + 1e-5)
    return np.concatenate([static, 2 * np.gradient(static, axis=1)])
