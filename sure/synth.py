"""Small corpora in the real corpora's layouts, spoken by eSpeak NG: voices are speakers, prosody is emotion.

Nothing here is human speech, and every corpus says so in its `SYNTHETIC.json`.
"""

import ctypes
import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from sure.audio import SAMPLE_RATE
from sure.errors import SureError
from sure.results import write_atomically
from sure.task import SYNTHETIC_MARKER

# Constants of speak_lib.h.
_SYNCHRONOUS_RETRIEVAL = 2
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_CHARACTERS_UTF8 = 1


@dataclass(frozen=True)
class Voice:
    """An eSpeak NG voice: `name` such as "en-us+m3", `rate` in words per minute, `pitch` and `range` from 0 to 99."""

    name: str
    rate: int = 175
    pitch: int = 50
    range: int = 50
    volume: int = 100


def speak(text: str, voice: Voice) -> NDArray[np.float32]:
    """`text` in a voice, shape (samples,), 16 kHz. Raises `SureError` for a voice that eSpeak NG does not have."""
    library, rate, chunks = _espeak()
    chunks.clear()
    if library.espeak_SetVoiceByName(voice.name.encode()):
        raise SureError(f"eSpeak NG has no voice {voice.name!r}.")
    settings = {_RATE: voice.rate, _VOLUME: voice.volume, _PITCH: voice.pitch, _RANGE: voice.range}
    for parameter, value in settings.items():
        library.espeak_SetParameter(parameter, value, 0)
    encoded = text.encode()
    library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _CHARACTERS_UTF8, None, None)
    spoken = np.concatenate(chunks).astype(np.float32) / 32768
    return soxr.resample(spoken, rate, SAMPLE_RATE).astype(np.float32)


def forget() -> None:
    """Start eSpeak NG anew: from here on the same calls give the same speech."""
    _espeak.cache_clear()


def data_folder() -> Path:
    """eSpeak NG's languages (`lang/`) and variants of voices (`voices/!v/`)."""
    _espeak()
    import espeakng_loader

    return Path(espeakng_loader.get_data_path())


def esd(
    output_dir: Path, seed: int = 0, speakers: int = 10, train: int = 12, evaluation: int = 3, test: int = 3
) -> None:
    """A corpus in ESD's layout: English speakers from 0011 on, five emotions, so many sentences in each split.

    As in ESD, every speaker says the same sentences in every emotion. An emotion shifts rate, pitch, range and volume
    from the speaker's own, and every utterance varies around that. Does nothing where this very corpus is complete;
    raises `SureError` where the folder holds another.
    """
    counts = {"evaluation": evaluation, "test": test, "train": train}
    made = {"corpus": "esd", "synthesiser": "eSpeak NG", "seed": seed, "speakers": speakers, "utterances": counts}
    with _unfinished(Path(output_dir), made) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        sentences = [_sentence(generator) for _ in range(sum(counts.values()))]
        splits = [split for split, count in counts.items() for _ in range(count)]
        with tqdm(total=speakers * len(_EMOTIONS) * len(sentences), unit="utterance", disable=None) as progress:
            for index in range(speakers):
                name, own = f"{11 + index:04d}", _speaker(index, generator)
                transcript = []
                for emotion, shift in _EMOTIONS.items():
                    for sentence, split in zip(sentences, splits, strict=True):
                        path = folder / name / emotion / split / f"{name}_{len(transcript) + 1:06d}.wav"
                        path.parent.mkdir(parents=True, exist_ok=True)
                        waveform = speak(sentence, _emotional(own, shift, generator))
                        soundfile.write(path, waveform, SAMPLE_RATE, subtype="PCM_16")
                        transcript.append(f"{path.stem}\t{sentence}\t{emotion}\n")
                        progress.update()
                write_atomically(folder / name / f"{name}.txt", "".join(transcript))


CORPORA: dict[str, Callable] = {"esd": esd}

# Change of rate (words per minute), pitch, range and volume.
_EMOTIONS = {
    "Angry": (35, 12, 20, 60),
    "Happy": (20, 22, 35, 20),
    "Neutral": (0, 0, -15, 0),
    "Sad": (-40, -14, -35, -35),
    "Surprise": (5, 32, 55, 30),
}
_SUBJECTS = ("My sister", "The old man", "Your friend", "A small dog", "The teacher", "Nobody", "Every child")
_VERBS = ("found", "wanted", "forgot", "carried", "painted", "opened", "lost")
_OBJECTS = ("the blue letter", "a warm coat", "seven apples", "the garden door", "an empty box", "the morning paper")


def _sentence(generator: random.Random) -> str:
    return f"{generator.choice(_SUBJECTS)} {generator.choice(_VERBS)} {generator.choice(_OBJECTS)}."


def _speaker(index: int, generator: random.Random) -> Voice:
    """Women and men in turns; variants of the voice, and a rate and pitch of their own."""
    variant = f"{'fm'[index % 2]}{1 + index // 2 % 4}"
    pitch = generator.randint(48, 62) if index % 2 == 0 else generator.randint(28, 44)
    return Voice(f"en-us+{variant}", rate=generator.randint(165, 190), pitch=pitch, range=45, volume=60)


def _emotional(own: Voice, shift: tuple[int, int, int, int], generator: random.Random) -> Voice:
    rate, pitch, spread, volume = shift

    def around(value: int, jitter: int, lowest: int, highest: int) -> int:
        return min(max(value + generator.randint(-jitter, jitter), lowest), highest)

    return Voice(
        own.name,
        rate=around(own.rate + rate, 12, 90, 300),
        pitch=around(own.pitch + pitch, 5, 0, 99),
        range=around(own.range + spread, 8, 0, 99),
        volume=around(own.volume + volume, 10, 20, 200),
    )


@contextmanager
def _unfinished(output_dir: Path, made: dict) -> Iterator[Path | None]:
    """A folder to make a corpus in, which becomes `output_dir` when all is made; None where it is there already."""
    output_dir = output_dir.resolve()
    marker = output_dir / SYNTHETIC_MARKER
    if marker.exists():
        before = json.loads(marker.read_text(encoding="utf-8"))
        if before != made:
            raise SureError(f"{output_dir} holds another synthetic corpus ({before}). Choose another folder.")
        yield None
        return
    if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
        raise SureError(f"{output_dir} is there already and holds no synthetic corpus. Choose a new folder.")
    partial = output_dir.with_name(f"{output_dir.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    write_atomically(partial / SYNTHETIC_MARKER, json.dumps(made, indent=2) + "\n")
    partial.replace(output_dir)


@cache
def _espeak() -> tuple[ctypes.CDLL, int, list[NDArray[np.int16]]]:
    """The library, its sample rate, and where its callback leaves what it spoke.

    What it speaks depends on what it spoke before, which its own end and new start do not undo; a file of another name
    is a library of its own, with no past.
    """
    try:
        import espeakng_loader
    except ImportError:
        raise SureError('Synthetic speech needs eSpeak NG: pip install "sure-bench[synth]".') from None
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        library = ctypes.CDLL(shutil.copy(espeakng_loader.get_library_path(), folder))
    rate = library.espeak_Initialize(_SYNCHRONOUS_RETRIEVAL, 0, espeakng_loader.get_data_path().encode(), 0)
    if rate <= 0:
        raise SureError(f"eSpeak NG does not find its data in {espeakng_loader.get_data_path()}.")
    # Breath is noise, seeded with the time unless told otherwise.
    library.espeak_ng_SetRandSeed(ctypes.c_long(0))
    # Of some voices it comes from the C library instead.
    library.srand(0)
    chunks: list[NDArray[np.int16]] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def keep(samples: ctypes.Array, count: int, _: int) -> int:
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        return 0

    library.espeak_SetSynthCallback(keep)
    # The library holds no reference to the callback.
    library.kept_callback = keep
    library.espeak_Synth.argtypes = [
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
        *(ctypes.c_void_p, ctypes.c_void_p),
    ]
    return library, rate, chunks
