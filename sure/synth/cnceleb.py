"""Speakers in CN-Celeb's layout, with its lists."""

import random
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sure import audio
from sure.files import write_atomically
from sure.synth.espeak import forget, speak
from sure.synth.speakers import random_sentence, random_speaker, unfinished, varied

# Of which the real corpus has eleven.
_GENRES = ("interview", "singing", "vlog")


def make(
    output_dir: Path, seed: int = 0, speakers: int = 40, test_speakers: int = 8, utterances: int = 3, enrolment: int = 2
) -> None:
    """A corpus in CN-Celeb's layout: so many speakers in `dev.lst` and in `eval`, so many utterances of each.

    Those of `eval` have as many to be tested, and one enrolment recording that joins `enrolment` others. `trials.lst`
    has every test utterance with every model. What is said is English.
    """
    sizes = {"speakers": speakers, "test_speakers": test_speakers, "utterances": utterances, "enrolment": enrolment}
    with unfinished(
        Path(output_dir), {"corpus": "cnceleb", "synthesiser": "eSpeak NG", "seed": seed, **sizes}
    ) as folder:
        if folder is None:
            return
        forget()
        generator = random.Random(seed)  # noqa: S311 not for secrets
        trained, models, tests = [], [], []
        for index in tqdm(range(speakers + test_speakers), unit="speaker", disable=None):
            name, own = f"id{index:05d}", random_speaker(index, generator)

            def said(own=own):
                return speak(random_sentence(generator), varied(own, generator))

            for utterance in range(utterances):
                stem = f"{generator.choice(_GENRES)}-01-{utterance + 1:03d}"
                if index < speakers:
                    audio.write(folder / "data" / name / f"{stem}.wav", said())
                else:
                    audio.write(folder / "eval" / "test" / f"{name}-{stem}.wav", said())
                    tests.append(f"{name}-{stem}")
            if index < speakers:
                trained.append(name)
            else:
                joined = np.concatenate([said() for _ in range(enrolment)])
                audio.write(folder / "eval" / "enroll" / f"{name}-enroll.wav", joined)
                models.append(f"{name}-enroll")
        lists = {
            "dev/dev.lst": trained,
            "eval/lists/enroll.lst": [f"{model} enroll/{model}.wav" for model in models],
            "eval/lists/test.lst": [f"test/{test}.wav" for test in tests],
            "eval/lists/trials.lst": [
                f"{model} test/{test}.wav {int(model[:7] == test[:7])}" for model in models for test in tests
            ],
        }
        for name, lines in lists.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / name, "".join(f"{line}\n" for line in lines))
