"""Requests in the layout of Audio SNIPS, as s3prl packs it."""

import random
from pathlib import Path

from tqdm import tqdm

from sure import audio
from sure.files import write_atomically
from sure.synth.espeak import forget, speak
from sure.synth.speakers import random_speaker, unfinished, varied


def make(output_dir: Path, seed: int = 0, train: int = 30, valid: int = 8, test: int = 8) -> None:
    """A corpus in Audio SNIPS' layout: so many requests in each split, each said by all voices that SUPERB takes there.

    Where the release has all 16 voices in every split, other voices are not made.
    """
    counts = {"train": train, "valid": valid, "test": test}
    made = {"corpus": "snips", "synthesiser": "eSpeak NG", "seed": seed, "requests": counts}
    with unfinished(Path(output_dir), made) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        voices = {
            split: [(name, random_speaker(place, generator)) for place, name in enumerate(names.split())]
            for split, names in _VOICES.items()
        }
        lines = []
        utterances = sum(counts[split] * len(members) for split, members in voices.items())
        with tqdm(total=utterances, unit="utterance", disable=None) as progress:
            for split, members in voices.items():
                for number in range(counts[split]):
                    words, tags, intent = _request(generator)
                    for speaker, own in members:
                        name = f"{speaker}-snips-{split}-{number}"
                        audio.write(folder / split / f"{name}.wav", speak(" ".join(words), varied(own, generator)))
                        lines.append(f"{name} BOS {' '.join(words).upper()} EOS\tO {' '.join(tags)} {intent}\n")
                        progress.update()
        write_atomically(folder / "all.iob.snips.txt", "".join(lines))
        write_atomically(folder / "slots.txt", "\n".join(["O", *sorted(_VALUES)]))


def _request(generator: random.Random) -> tuple[list[str], list[str], str]:
    """Words, the tag of each, and the intent."""
    intent, request = generator.choice(_REQUESTS)
    words, tags = [], []
    for word in request.split():
        slot = word.strip("<>")
        said = generator.choice(_VALUES[slot]).split() if word != slot else [word]
        words += said
        tags += [slot if word != slot else "O"] * len(said)
    return words, tags, intent


# As the release's voices are named, in the splits that SUPERB takes them for; women and men in turns.
_VOICES = {
    "train": "Ivy Joey Joanna Justin Kendra Matthew Kimberly Salli",
    "valid": "Aditi Geraint Amy Nicole",
    "test": "Emma Brian Raveena Russell",
}
_REQUESTS = (
    ("AddToPlaylist", "add <artist> to my <playlist> playlist"),
    ("AddToPlaylist", "put this <music_item> on <playlist>"),
    ("PlayMusic", "play a <music_item> by <artist>"),
    ("PlayMusic", "play <genre> music"),
    ("GetWeather", "will it be <condition_description> in <city>"),
    ("GetWeather", "what is the weather <timeRange> in <city>"),
    ("BookRestaurant", "book a table for <party_size_number> in <city> <timeRange>"),
    ("RateBook", "give this book <rating_value> stars"),
)
_VALUES = {
    "artist": ("Diana Ross", "Miles Davis", "Nina Simone"),
    "city": ("Boston", "New York", "Denver", "Santa Fe"),
    "condition_description": ("sunny", "foggy", "stormy"),
    "genre": ("jazz", "folk", "heavy metal"),
    "music_item": ("song", "album", "track"),
    "party_size_number": ("two", "five", "nine"),
    "playlist": ("workout", "summer evening", "road trip"),
    "rating_value": ("one", "three", "four"),
    "timeRange": ("tomorrow", "at noon", "next Friday"),
}
