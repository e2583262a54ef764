"""Bona fide and spoofed speech in the layouts of ASVspoof 2019 LA, 2021 LA and DF, and 5."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sure import audio
from sure.files import write_atomically
from sure.synth.espeak import forget, speak
from sure.synth.speakers import random_sentence, random_speaker, unfinished, varied

# What a "vocoder" keeps the loudness of: a frame, half of which the next one shares.
_FRAME = 512


def make(
    output_dir: Path,
    seed: int = 0,
    train: int = 6,
    dev: int = 4,
    evaluation: int = 10,
    bonafide: int = 2,
    spoofed: int = 6,
) -> None:
    """A corpus in the layouts of four editions: so many speakers of each split of an edition, utterances by each.

    What is spoofed is eSpeak NG too, its phases drawn anew: an artefact that no attack of the real corpora has. 2019 LA
    and 2021 LA come with scores of a speaker verification that nobody ran.
    """
    sizes = {"train": train, "dev": dev, "evaluation": evaluation, "bonafide": bonafide, "spoofed": spoofed}
    with unfinished(
        Path(output_dir), {"corpus": "asvspoof", "synthesiser": "eSpeak NG", "seed": seed, **sizes}
    ) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        phases = np.random.default_rng(seed)
        per_speaker = [False] * bonafide + [True] * spoofed
        total = (2 * (train + dev) + 4 * evaluation) * len(per_speaker)
        with tqdm(total=total, unit="utterance", disable=None) as progress:

            def utterances(speakers: int, folder: Path, prefix: str) -> Iterator[tuple[str, str, bool]]:
                """Speaker and name of what is written to a folder, and whether it is spoofed."""
                for index in range(speakers):
                    own = random_speaker(index, generator)
                    for spoof in per_speaker:
                        name = f"{prefix}_{generator.randrange(10**7):07d}"
                        spoken = speak(random_sentence(generator), varied(own, generator))
                        audio.write(folder / f"{name}.flac", _vocoded(spoken, phases) if spoof else spoken)
                        progress.update()
                        yield f"{index + 1:04d}", name, spoof

            la = folder / "LA"
            for part, kind, speakers in (("train", "trn", train), ("dev", "trl", dev), ("eval", "trl", evaluation)):
                attack, letter = ("A07" if part == "eval" else "A01"), part[0].upper()
                made = utterances(speakers, la / f"ASVspoof2019_LA_{part}" / "flac", f"LA_{letter}")
                write_atomically(
                    la / "ASVspoof2019_LA_cm_protocols" / f"ASVspoof2019.LA.cm.{part}.{kind}.txt",
                    "".join(
                        f"LA_{letter}{speaker} {name} - {f'{attack} spoof' if spoof else '- bonafide'}\n"
                        for speaker, name, spoof in made
                    ),
                )
            scores = la / "ASVspoof2019_LA_asv_scores" / "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"
            write_atomically(
                scores,
                "".join(
                    f"{'A07' if key == 'spoof' else 'bonafide'} {key} {score:.6f}\n" for key, score in _scores(phases)
                ),
            )
            for track, further in (("LA", ""), ("DF", " traditional_vocoder - - - -")):
                lines = []
                recordings = folder / f"ASVspoof2021_{track}_eval" / "flac"
                for number, (speaker, name, spoof) in enumerate(utterances(evaluation, recordings, f"{track}_E")):
                    # Of a speaker the last is not tested.
                    subset = "eval" if (number + 1) % len(per_speaker) else "progress"
                    attack, key = ("A07", "spoof") if spoof else ("bonafide", "bonafide")
                    where = "alaw ita_tx" if track == "LA" else "low_mp3 asvspoof"
                    vocoder = further if spoof else further.replace("traditional_vocoder", "bonafide")
                    lines.append(f"LA_E{speaker} {name} {where} {attack} {key} notrim {subset}{vocoder}\n")
                write_atomically(folder / "keys" / track / "CM" / "trial_metadata.txt", "".join(lines))
            trials = folder / "keys" / "LA" / "ASV"
            verified = [(f"LA_0001 LA_E_{number:07d}", *of) for number, of in enumerate(_scores(phases))]
            write_atomically(
                trials / "trial_metadata.txt",
                "".join(
                    f"{trial} alaw ita_tx {'A07' if key == 'spoof' else 'bonafide'} {key} notrim eval\n"
                    for trial, key, _ in verified
                ),
            )
            write_atomically(
                trials / "ASVtorch_kaldi" / "score.txt",
                "".join(f"{trial} {score:.6f}\n" for trial, _, score in verified),
            )
            for name, letter, speakers in (
                ("train", "T", train),
                ("dev.track_1", "D", dev),
                ("eval.track_1", "E", evaluation),
            ):
                recordings = folder / ("flac_E_eval" if letter == "E" else f"flac_{letter}")
                write_atomically(
                    folder / "ASVspoof5_protocols" / f"ASVspoof5.{name}.tsv",
                    "".join(
                        f"{letter}_{speaker} {own} {'FM'[int(speaker) % 2 == 0]} - - - "
                        f"{'AC1 A01 spoof' if spoof else '- bonafide bonafide'} -\n"
                        for speaker, own, spoof in utterances(speakers, recordings, letter)
                    ),
                )


def _vocoded(spoken: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Speech whose frames have other phases."""
    hop, window = _FRAME // 2, np.sin(np.pi * (np.arange(_FRAME) + 0.5) / _FRAME)
    padded = np.pad(spoken, (hop, _FRAME))
    starts = range(0, len(padded) - _FRAME + 1, hop)
    vocoded = np.zeros(len(padded))
    for start in starts:
        spectrum = np.fft.rfft(window * padded[start : start + _FRAME])
        turned = np.abs(spectrum) * np.exp(2j * np.pi * generator.random(len(spectrum)))
        vocoded[start : start + _FRAME] += window * np.fft.irfft(turned, _FRAME)
    return np.clip(vocoded[hop : hop + len(spoken)], -1, 1).astype(np.float32)


def _scores(generator: np.random.Generator) -> list[tuple[str, float]]:
    """What a good verification could give, which spoofed speech deceives about every other time."""
    means = {"target": 4, "nontarget": -4, "spoof": 0}
    return [(key, float(generator.normal(mean, 2))) for key, mean in means.items() for _ in range(200)]
