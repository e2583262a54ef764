"""Small corpora in the real corpora's layouts, spoken by eSpeak NG: voices are speakers, prosody is emotion.

Nothing here is human speech, and every corpus says so in its `SYNTHETIC.json`. The same seed gives the same bytes; what
is complete is not made again, and a folder that holds anything else is refused with a `SureError`.
"""

from collections.abc import Callable

from sure.synth.esd import esd
from sure.synth.espeak import Voice, Word, data_folder, forget, speak, speak_words
from sure.synth.fleurs import fleurs
from sure.synth.libritts import libritts
from sure.synth.voxceleb import voxceleb

__all__ = [
    "CORPORA",
    "Voice",
    "Word",
    "data_folder",
    "esd",
    "fleurs",
    "forget",
    "libritts",
    "speak",
    "speak_words",
    "voxceleb",
]


CORPORA: dict[str, Callable] = {"esd": esd, "fleurs": fleurs, "libritts": libritts, "voxceleb": voxceleb}
