"""Commands in Fluent Speech Commands' layout."""

import csv
import io
import random
import uuid
from pathlib import Path

from tqdm import tqdm

from sure import audio
from sure.files import write_atomically
from sure.synth.espeak import forget, speak
from sure.synth.speakers import random_speaker, unfinished, varied


def make(output_dir: Path, seed: int = 0, train: int = 6, valid: int = 2, test: int = 2) -> None:
    """A corpus in Fluent Speech Commands' layout: so many speakers in each split, each of whom says all 31 intents."""
    counts = {"train": train, "valid": valid, "test": test}
    made = {"corpus": "fluent_speech_commands", "synthesiser": "eSpeak NG", "seed": seed, "speakers": counts}
    with unfinished(Path(output_dir), made) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        speakers = 0
        with tqdm(total=sum(counts.values()) * len(_INTENTS), unit="utterance", disable=None) as progress:
            for split, members in counts.items():
                text = io.StringIO()
                table = csv.writer(text, lineterminator="\n")
                table.writerow(["", "path", "speakerId", "transcription", "action", "object", "location"])
                number = 0
                for _ in range(members):
                    name, own = "".join(generator.choices(_LETTERS, k=16)), random_speaker(speakers, generator)
                    speakers += 1
                    for intent, phrases in _INTENTS.items():
                        said = generator.choice(phrases)
                        path = f"wavs/speakers/{name}/{uuid.UUID(int=generator.getrandbits(128))}.wav"
                        audio.write(folder / path, speak(said, varied(own, generator)))
                        table.writerow([number, path, name, said, *intent])
                        number += 1
                        progress.update()
                write_atomically(folder / "data" / f"{split}_data.csv", text.getvalue())


def _intents() -> dict[tuple[str, str, str], list[str]]:
    """By action, object and location what may be said."""
    said = {("change language", "none", "none"): ["Change the language", "Use a different language"]}
    for language in ("Chinese", "English", "German", "Korean"):
        said["change language", language, "none"] = [language, f"Set the language to {language}"]
    for thing in ("juice", "newspaper", "shoes", "socks"):
        said["bring", thing, "none"] = [f"Bring me the {thing}", f"Get me my {thing}, please"]
    switched = [("lights", "none"), ("lamp", "none"), ("music", "none")]
    turned = [("volume", "none"), ("heat", "none")]
    for room in ("bedroom", "kitchen", "washroom"):
        switched.append(("lights", room))
        turned.append(("heat", room))
    for thing, room in switched:
        where = "" if room == "none" else f" in the {room}"
        said["activate", thing, room] = [f"Turn on the {thing}{where}", f"Switch the {thing} on{where}"]
        said["deactivate", thing, room] = [f"Turn off the {thing}{where}", f"Switch the {thing} off{where}"]
    for thing, room in turned:
        where = "" if room == "none" else f" in the {room}"
        said["increase", thing, room] = [f"Turn the {thing} up{where}", f"More {thing}{where}"]
        said["decrease", thing, room] = [f"Turn the {thing} down{where}", f"Less {thing}{where}"]
    return said


_INTENTS = _intents()
# Of a speaker's name; those of the release have upper case too.
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
