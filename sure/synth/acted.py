"""Acted emotions in the layouts of CREMA-D, RAVDESS and MSP-IMPROV: prosody is emotion."""

import random
from pathlib import Path

from tqdm import tqdm

from sure import audio
from sure.files import write_atomically
from sure.synth.espeak import forget, speak
from sure.synth.speakers import random_sentence, random_speaker, unfinished, varied

# Change of rate (words per minute), pitch, range and volume.
_SHIFTS = {
    "anger": (35, 12, 20, 60),
    "calm": (-20, -5, -25, -15),
    "disgust": (-30, -8, 10, 20),
    "fear": (50, 25, 5, -20),
    "happiness": (20, 22, 35, 20),
    "neutral": (0, 0, -15, 0),
    "sadness": (-40, -14, -35, -35),
    "surprise": (5, 32, 55, 30),
}
_CREMAD = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
# In the order of RAVDESS' numbers.
_RAVDESS = ("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
_MSP_IMPROV = {"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"}
_SESSIONS = 6


def cremad(output_dir: Path, seed: int = 0, actors: int = 15, sentences: int = 3) -> None:
    """A corpus in CREMA-D's layout: so many actors and sentences, each in all of its 6 emotions."""
    names = ("DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")[:sentences]
    utterances = [
        (f"AudioWAV/{1001 + actor}_{name}_{code}_XX.wav", actor, sentence, emotion)
        for actor in range(actors)
        for sentence, name in enumerate(names)
        for code, emotion in _CREMAD.items()
    ]
    _act(output_dir, {"corpus": "cremad", "seed": seed, "actors": actors, "sentences": sentences}, utterances)


def ravdess(output_dir: Path, seed: int = 0, actors: int = 15, repetitions: int = 2) -> None:
    """A corpus in RAVDESS' layout: so many actors, two sentences, each so often in all of its 8 emotions."""
    utterances = [
        (
            f"Actor_{actor:02d}/03-01-{number:02d}-01-{sentence + 1:02d}-{repetition:02d}-{actor:02d}.wav",
            actor,
            sentence,
            emotion,
        )
        for actor in range(1, actors + 1)
        for sentence in range(2)
        for repetition in range(1, repetitions + 1)
        for number, emotion in enumerate(_RAVDESS, start=1)
    ]
    _act(output_dir, {"corpus": "ravdess", "seed": seed, "actors": actors, "repetitions": repetitions}, utterances)


def msp_improv(output_dir: Path, seed: int = 0, scenes: int = 3) -> None:
    """A corpus in MSP-IMPROV's layout: 12 actors in 6 sessions, so many sentences in its 4 emotions by each."""
    utterances, lines = [], []
    for session in range(1, _SESSIONS + 1):
        for actor, sex in enumerate("FM"):
            for sentence in range(scenes):
                for code, emotion in _MSP_IMPROV.items():
                    scene = f"S{sentence + 1:02d}{code}"
                    name = f"IMPROV-{scene}-{sex}{session:02d}-R-{sex}{sex}01"
                    path = f"session{session}/{scene}/R/MSP-{name}.wav"
                    utterances.append((path, 2 * session + actor, sentence, emotion))
                    told = {"A": "Angry", "H": "Happy", "N": "Neutral", "S": "Sad"}[code]
                    lines += [
                        f"UTD-{name}.avi; {code}; A:3.0; V:3.0; D:3.0 ; N:4.0;\n",
                        f"eSpeak; {told}; {told}; A:3.0; V:3.0; D:3.0; N:4.0;\n",
                        "\n",
                    ]
    made = {"corpus": "msp_improv", "seed": seed, "scenes": scenes}
    _act(output_dir, made, utterances, {"Evalution.txt": "".join(lines)})


def _act(
    output_dir: Path, made: dict, utterances: list[tuple[str, int, int, str]], texts: dict[str, str] | None = None
) -> None:
    """Write files by their path, actor, sentence and emotion, and `texts` by their path."""
    with unfinished(Path(output_dir), made | {"synthesiser": "eSpeak NG"}) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(made["seed"])  # noqa: S311 not for secrets
        actors = {actor: random_speaker(actor, generator) for actor in sorted({actor for _, actor, *_ in utterances})}
        sentences = [random_sentence(generator) for _ in {sentence for _, _, sentence, _ in utterances}]
        for path, actor, sentence, emotion in tqdm(utterances, unit="utterance", disable=None):
            audio.write(folder / path, speak(sentences[sentence], varied(actors[actor], generator, _SHIFTS[emotion])))
        for path, text in (texts or {}).items():
            write_atomically(folder / path, text)
