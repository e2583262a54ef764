"""Sentences of several speakers in VCTK's layout."""

import random
from pathlib import Path

import soxr
from tqdm import tqdm

from sure import audio
from sure.audio import SAMPLE_RATE
from sure.files import write_atomically
from sure.synth.espeak import forget, speak
from sure.synth.speakers import random_sentence, random_speaker, unfinished, varied


def make(output_dir: Path, seed: int = 0, speakers: int = 10, utterances: int = 20) -> None:
    """A corpus in the layout of VCTK 0.92, FLAC at 48 kHz, of one microphone: so many speakers, utterances of each."""
    made = {"corpus": "vctk", "synthesiser": "eSpeak NG", "seed": seed, "speakers": speakers, "utterances": utterances}
    with unfinished(Path(output_dir), made) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        with tqdm(total=speakers * utterances, unit="utterance", disable=None) as progress:
            for index in range(speakers):
                speaker, own = f"p{225 + index}", random_speaker(index, generator)
                for number in range(1, utterances + 1):
                    name, said = f"{speaker}_{number:03d}", random_sentence(generator)
                    waveform = soxr.resample(speak(said, varied(own, generator)), SAMPLE_RATE, 48_000)
                    audio.write(folder / "wav48_silence_trimmed" / speaker / f"{name}_mic1.flac", waveform, 48_000)
                    write_atomically(folder / "txt" / speaker / f"{name}.txt", f"{said}\n")
                    progress.update()
