"""Small corpora in the real corpora's layouts, spoken by eSpeak NG: voices are speakers, prosody is emotion.

Nothing here is human speech, and every corpus says so in its `SYNTHETIC.json`. The same seed gives the same bytes; what
is complete is not made again, and a folder that holds anything else is refused with a `SureError`.
"""

from collections.abc import Callable

from sure.synth import esd, fleurs, fluent_speech_commands, libritts, speech_commands, vctk, voxceleb
from sure.synth.espeak import Voice, Word, data_folder, forget, speak, speak_words

__all__ = ["CORPORA", "Voice", "Word", "data_folder", "forget", "speak", "speak_words"]

CORPORA: dict[str, Callable] = {
    "esd": esd.make,
    "fleurs": fleurs.make,
    "fluent_speech_commands": fluent_speech_commands.make,
    "libritts": libritts.make,
    "speech_commands": speech_commands.make,
    "vctk": vctk.make,
    "voxceleb": voxceleb.make,
}
