"""Small corpora in the real corpora's layouts, spoken by eSpeak NG: voices are speakers, prosody is emotion.

Sound events are pulses of tone and noise. Nothing here is human speech, or was ever heard anywhere, and every corpus
says so in its `SYNTHETIC.json`. The same seed gives the same bytes; what is complete is not made again, and a folder
that holds anything else is refused with a `SureError`.
"""

from collections.abc import Callable

from sure.synth import (
    acted,
    asvspoof,
    cnceleb,
    esc50,
    esd,
    fleurs,
    fleurs_languages,
    fluent_speech_commands,
    librispeech,
    libritts,
    snips,
    speech_commands,
    urbansound8k,
    vctk,
    voxceleb,
)
from sure.synth.espeak import Voice, Word, data_folder, forget, speak, speak_words

__all__ = ["CORPORA", "Voice", "Word", "data_folder", "forget", "speak", "speak_words"]

CORPORA: dict[str, Callable] = {
    "asvspoof": asvspoof.make,
    "cnceleb": cnceleb.make,
    "cremad": acted.cremad,
    "esc50": esc50.make,
    "esd": esd.make,
    "fleurs": fleurs.make,
    "fleurs_languages": fleurs_languages.make,
    "fluent_speech_commands": fluent_speech_commands.make,
    "librispeech": librispeech.make,
    "libritts": libritts.make,
    "msp_improv": acted.msp_improv,
    "ravdess": acted.ravdess,
    "snips": snips.make,
    "speech_commands": speech_commands.make,
    "urbansound8k": urbansound8k.make,
    "vctk": vctk.make,
    "voxceleb": voxceleb.make,
}
