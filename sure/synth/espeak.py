"""eSpeak NG, a small formant synthesiser with many voices and languages (https://github.com/espeak-ng/espeak-ng)."""

import ctypes
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soxr
from numpy.typing import NDArray

from sure.audio import SAMPLE_RATE
from sure.errors import SureError

# Constants of speak_lib.h.
_SYNCHRONOUS_RETRIEVAL = 2
_PHONEME_EVENTS = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_CHARACTERS_UTF8 = 1
_LAST, _WORD, _PHONEME = 0, 1, 7
# Names of phonemes that are pauses begin with it.
_PAUSE = b"_"


@dataclass(frozen=True)
class Voice:
    """An eSpeak NG voice: `name` such as "en-us+m3", `rate` in words per minute, `pitch` and `range` from 0 to 99."""

    name: str
    rate: int = 175
    pitch: int = 50
    range: int = 50
    volume: int = 100


@dataclass
class Word:
    """Characters `start` to `end` of a text, and when its sounds begin, and the last of them ends, in seconds."""

    start: int
    end: int
    times: list[float]


def speak(text: str, voice: Voice) -> NDArray[np.float32]:
    """`text` in a voice, shape (samples,), 16 kHz. Raises `SureError` for a voice that eSpeak NG does not have."""
    return speak_words(text, voice)[0]


def speak_words(text: str, voice: Voice) -> tuple[NDArray[np.float32], list[Word]]:
    """As `speak`, and when it says which word, in the order of the text. A number is one word."""
    library, rate, chunks, events = _espeak()
    chunks.clear()
    events.clear()
    if library.espeak_SetVoiceByName(voice.name.encode()):
        raise SureError(f"eSpeak NG has no voice {voice.name!r}.")
    settings = {_RATE: voice.rate, _VOLUME: voice.volume, _PITCH: voice.pitch, _RANGE: voice.range}
    for parameter, value in settings.items():
        library.espeak_SetParameter(parameter, value, 0)
    encoded = text.encode()
    library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _CHARACTERS_UTF8, None, None)
    spoken = np.concatenate(chunks).astype(np.float32) / 32768
    return soxr.resample(spoken, rate, SAMPLE_RATE).astype(np.float32), _words(events, len(spoken), rate)


def _words(events: list["_Event"], samples: int, rate: int) -> list[Word]:
    words: list[Word] = []
    speaks = False
    for event in events:
        seconds = event.sample / rate
        pauses = event.type == _PHONEME and event.name.startswith(_PAUSE)
        if speaks and (event.type == _WORD or pauses):
            words[-1].times.append(seconds)
            speaks = False
        if event.type == _WORD:
            start = event.text_position - 1
            if words and start < words[-1].end:
                # A number, or a letter that is spelt out.
                words[-1].end = max(words[-1].end, start + event.length)
                del words[-1].times[-1:]
            else:
                words.append(Word(start, start + event.length, []))
        elif event.type == _PHONEME and not pauses and words:
            words[-1].times.append(seconds)
            speaks = True
    if speaks:
        words[-1].times.append(samples / rate)
    return [word for word in words if len(word.times) > 1]


def phonemes(word: str, voice: str) -> list[str]:
    """The phonemes of a word by eSpeak NG's own names, without stress. Raises `SureError` as `speak` does."""
    library = _espeak()[0]
    if library.espeak_SetVoiceByName(voice.encode()):
        raise SureError(f"eSpeak NG has no voice {voice!r}.")
    text = ctypes.c_char_p(word.encode())
    named = library.espeak_TextToPhonemes(ctypes.byref(text), _CHARACTERS_UTF8, ord("_") << 8).decode()
    return list(filter(None, (name.strip("',") for name in named.split("_"))))


def forget() -> None:
    """Start eSpeak NG anew: from here on the same calls give the same speech."""
    _espeak.cache_clear()


def data_folder() -> Path:
    """eSpeak NG's languages (`lang/`) and variants of voices (`voices/!v/`)."""
    _espeak()
    import espeakng_loader

    return Path(espeakng_loader.get_data_path())


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


@cache
def _espeak() -> tuple[ctypes.CDLL, int, list[NDArray[np.int16]], list[_Event]]:
    """The library, its sample rate, and where its callback leaves what it spoke and what it says of that.

    What it speaks depends on what it spoke before, which its own end and new start do not undo; a file of another name
    is a library of its own, with no past.
    """
    try:
        import espeakng_loader
    except ImportError:
        raise SureError('Synthetic speech needs eSpeak NG: pip install "sure-bench[synth]".') from None
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        library = ctypes.CDLL(shutil.copy(espeakng_loader.get_library_path(), folder))
    data = espeakng_loader.get_data_path().encode()
    rate = library.espeak_Initialize(_SYNCHRONOUS_RETRIEVAL, 0, data, _PHONEME_EVENTS)
    if rate <= 0:
        raise SureError(f"eSpeak NG does not find its data in {espeakng_loader.get_data_path()}.")
    # Breath is noise, seeded with the time unless told otherwise.
    library.espeak_ng_SetRandSeed(ctypes.c_long(0))
    # Of some voices it comes from the C library instead.
    library.srand(0)
    chunks: list[NDArray[np.int16]] = []
    events: list[_Event] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
    def keep(samples: ctypes.Array, count: int, reported: ctypes.Array) -> int:
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        for event in reported:
            if event.type == _LAST:
                break
            events.append(_Event.from_buffer_copy(event))
        return 0

    library.espeak_SetSynthCallback(keep)
    # The library holds no reference to the callback.
    library.kept_callback = keep
    library.espeak_Synth.argtypes = [
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
        *(ctypes.c_void_p, ctypes.c_void_p),
    ]
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    return library, rate, chunks, events
