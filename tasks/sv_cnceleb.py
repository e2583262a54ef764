"""Speaker verification on CN-Celeb (Fan et al. 2020, arXiv 1911.01799) and its list of trials.

Recordings in the wild of 1,000 Chinese celebrities, more than 130,000 utterances of 11 genres, 16 kHz, free for
research (https://www.openslr.org/82/, `cn-celeb_v2.tar.gz`, whose folder is `CN-Celeb_flac`).

Layout: `data/<speaker>/*.flac`; `dev/dev.lst`, a training speaker per line; `eval/enroll/<speaker>-enroll.flac`, in
which several utterances of a speaker stand one after another; `eval/test/<speaker>-<genre>-*.flac`; and of
`eval/lists/` `enroll.lst`, `<model> enroll/<file>` per line, and `trials.lst`, `<model> test/<file> 1` per line. Lists
may say .wav of what is .flac. Enrolment is the joined recording; wespeaker takes the mean of embeddings of the
utterances in `enroll.map` instead, so that its figures are not to be compared to the last digit.

Test: the list. Training: the speakers of `dev.lst`, which are not tested. Validation: the last twentieth of them, at
least ten, with trials by rule (`sure.task.speaker_verification.trials`); they do not train.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sure.corpus.folders import audio_files, listed, subfolders
from sure.errors import SureError
from sure.files import read_text
from sure.task.speaker_verification import SpeakerVerificationTask
from sure.task.speaker_verification.trials import Trial, held_out

_LISTS = ("dev/dev.lst", "eval/lists/enroll.lst", "eval/lists/trials.lst")


@dataclass
class CNCeleb(SpeakerVerificationTask):
    """Ids are paths as the lists have them, without an ending: `enroll/<file>`, `test/<file>`, `<speaker>/<file>`."""

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        for name in _LISTS:
            if not (data_dir / name).is_file():
                raise SureError(
                    f"{data_dir}: no {name} here (found: {listed(subfolders(data_dir))}); expected the folder "
                    "CN-Celeb_flac of https://www.openslr.org/82/."
                )
        tested = {
            f"{part}/{path.stem}": path
            for part in ("enroll", "test")
            for path in audio_files(_folder(data_dir / "eval" / part))
        }
        models = {}
        for where, (model, path) in _lines(data_dir / _LISTS[1], "<model> enroll/<file>"):
            models[model] = _named(path, tested, where)
        self._listed: list[Trial] = []
        for where, (model, path, label) in _lines(data_dir / _LISTS[2], "<model> test/<file> 1"):
            if model not in models:
                raise SureError(f"{where}: {model} is not in {data_dir / _LISTS[1]}.")
            if label not in ("0", "1"):
                raise SureError(f"{where}: label {label!r}; expected 1 (same speaker) or 0.")
            self._listed.append((models[model], _named(path, tested, where), int(label)))
        speakers = subfolders(_folder(data_dir / "data"))
        training = []
        for where, (speaker,) in _lines(data_dir / _LISTS[0], "<speaker>"):
            if speaker not in speakers:
                raise SureError(f"{where}: no such folder: {data_dir / 'data' / speaker}.")
            training += [
                {"id": f"{speaker}/{path.stem}", "path": str(path), "speaker": speaker}
                for path in audio_files(speakers[speaker])
            ]
        yield from held_out(training, data_dir)
        for identity, path in tested.items():
            speaker = path.stem.partition("-")[0]
            yield {"id": identity, "path": str(path), "speaker": speaker, "split": "test"}

    def test_trials(self, rows: Sequence[dict[str, Any]]) -> list[Trial]:
        return self._listed


def _folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise SureError(f"{folder}: no such folder; CN-Celeb_flac has it.")
    return folder


def _lines(path: Path, form: str) -> Iterator[tuple[str, list[str]]]:
    """Of each line where it is and its columns. Raises `SureError` for a line of another form."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        columns = line.split()
        if columns and len(columns) != len(form.split()):
            raise SureError(f"{path}, line {number}: {len(columns)} columns; expected `{form}`.")
        if columns:
            yield f"{path}, line {number}", columns


def _named(path: str, tested: dict[str, Path], where: str) -> str:
    identity = path.removesuffix(".wav").removesuffix(".flac")
    if identity not in tested:
        raise SureError(f"{where}: no such file in eval: {path}.")
    return identity
