"""Sentences of several languages in the layout of FLEURS' raw release."""

import random
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from sure.files import write_atomically
from sure.synth.espeak import forget
from sure.synth.fleurs import utterance
from sure.synth.speakers import random_speaker, unfinished

# By FLEURS' name of a language eSpeak NG's, and two lists of words that make a sentence.
_LANGUAGES = {
    "de_de": (
        "de",
        "Heute Morgen|Am Abend|Im Winter|Jeden Tag",
        "singt meine Schwester|kommt kein Zug|schläft der Hund",
    ),
    "en_us": (
        "en-us",
        "This morning|In the evening|In winter|Every day",
        "my sister sings|no train comes|the dog sleeps",
    ),
    "es_419": (
        "es-419",
        "Esta mañana|Por la tarde|En invierno|Cada día",
        "canta mi hermana|no viene el tren|duerme el perro",
    ),
    "fr_fr": ("fr", "Ce matin|Le soir|En hiver|Chaque jour", "ma sœur chante|le train ne vient pas|le chien dort"),
}


def make(output_dir: Path, seed: int = 0, train: int = 24, dev: int = 8, test: int = 8) -> None:
    """A corpus in the layout of FLEURS' raw release: four languages, so many sentences of each in each split."""
    counts = {"train": train, "dev": dev, "test": test}
    made = {"corpus": "fleurs_languages", "synthesiser": "eSpeak NG", "seed": seed, "utterances": counts}
    with unfinished(Path(output_dir), made) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        with tqdm(total=len(_LANGUAGES) * sum(counts.values()), unit="utterance", disable=None) as progress:
            for language, (voice, *words) in _LANGUAGES.items():
                for split, count in counts.items():
                    lines = []
                    for number in range(count):
                        own = random_speaker(number, generator)
                        own = replace(own, name=own.name.replace("en-us", voice))
                        sentence = " ".join(generator.choice(choices.split("|")) for choices in words) + "."
                        gender = "FEMALE" if number % 2 == 0 else "MALE"
                        place = folder / language / "audio" / split
                        lines.append(utterance(place, number + 1, sentence, own, gender, generator))
                        progress.update()
                    write_atomically(folder / language / f"{split}.tsv", "".join(lines))
