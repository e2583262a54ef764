"""Speaker verification on VoxCeleb1 (Nagrani et al. 2017) and its lists of trials.

Interviews from YouTube: 1,251 celebrities, 153,516 utterances, 352 hours, 16 kHz; the authors' lists are at
https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/. Utterances of up to 145 s need `--max_seconds 60` or less.

Layout: `dev/wav/<speaker>/<video>/*` and `test/wav/...`, or both together in `wav/`, and beside them the list,
`1 path path` per line: O is `veri_test.txt`, O-cleaned `veri_test2.txt`, E `list_test_all.txt`, E-cleaned
`list_test_all2.txt`, H `list_test_hard.txt`, H-cleaned `list_test_hard2.txt`. SUPERB uses O, most papers O-cleaned.

Test: the list. O has the 40 speakers of the test part. E and H have those of the dev part too, and need training data
from elsewhere: VoxCeleb2's dev part (Chung et al. 2018), `voxceleb2_dir`, which then is all the training data.
Training: the dev part of VoxCeleb1, or without parts all speakers that the list does not name; or that of VoxCeleb2.
Validation: the last twentieth of the sorted training speakers, at least ten, with trials by rule
(`sure.task.speaker_verification.trials`); they do not train.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sure.corpus.folders import audio_files, listed, subfolders
from sure.errors import SureError
from sure.task.speaker_verification import SpeakerVerificationTask
from sure.task.speaker_verification.trials import Trial, held_out, read_trials, refuse_known

_LISTS = {
    "O": "veri_test.txt",
    "O-cleaned": "veri_test2.txt",
    "E": "list_test_all.txt",
    "E-cleaned": "list_test_all2.txt",
    "H": "list_test_hard.txt",
    "H-cleaned": "list_test_hard2.txt",
}
_CONVERT = "for file in */*/*.m4a; do ffmpeg -i $file -ac 1 -ar 16000 ${file%.m4a}.flac; done"


@dataclass
class VoxCeleb1(SpeakerVerificationTask):
    """Ids are paths as the lists have them: `<speaker>/<video>/<file>`."""

    trial_list: str = field(default="O", metadata={"help": "O, O-cleaned, E, E-cleaned, H or H-cleaned."})
    voxceleb2_dir: str | None = field(
        default=None,
        metadata={"help": "Folder with VoxCeleb2's dev/aac, converted to wav or flac, to train on instead."},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trial_list not in list(_LISTS):
            raise SureError(f"--task_options trial_list={self.trial_list}: choose one of {', '.join(_LISTS)}.")
        if self.trial_list[0] != "O" and self.voxceleb2_dir is None:
            raise SureError(
                f"--task_options trial_list={self.trial_list} tests the speakers of VoxCeleb1's dev part, so that "
                "training needs others: give voxceleb2_dir=FOLDER as well, or choose O or O-cleaned."
            )

    def utterances(self, data_dir: Path) -> Iterator[dict[str, Any]]:
        path = data_dir / _LISTS[self.trial_list]
        if not path.is_file():
            raise SureError(
                f"{path}: no such list of trials; it is at https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/"
                f"{path.name}."
            )
        trials = read_trials(path)
        parts = {part: data_dir / part for part in ("dev/wav", "test/wav", "wav") if (data_dir / part).is_dir()}
        if not parts:
            raise SureError(
                f"{data_dir}: neither dev/wav and test/wav nor wav here (found: {listed(subfolders(data_dir))}); "
                "expected VoxCeleb1's wav/<speaker>/<video>/*.wav in one of them."
            )
        rows = {part: list(_speech(folder)) for part, folder in parts.items()}
        everything = {row["id"]: row for members in rows.values() for row in members}
        for number, (enrolment, test, _) in trials:
            for identity in (enrolment, test):
                if identity not in everything:
                    raise SureError(
                        f"{path}, line {number}: no such file: {identity} in {' or '.join(map(str, parts.values()))}."
                    )
        self._listed: list[Trial] = [trial for _, trial in trials]
        tested = {everything[identity]["speaker"] for trial in self._listed for identity in trial[:2]}
        if self.voxceleb2_dir is not None:
            training = _voxceleb2(Path(self.voxceleb2_dir))
        elif "dev/wav" in rows:
            training = rows["dev/wav"]
        else:
            training = [row for row in everything.values() if row["speaker"] not in tested]
        refuse_known(tested, {row["speaker"] for row in training}, f"{path} and {next(iter(parts.values()))}")
        yield from held_out(training, data_dir)
        yield from (row | {"split": "test"} for row in everything.values() if row["speaker"] in tested)

    def test_trials(self, rows: Sequence[dict[str, Any]]) -> list[Trial]:
        return self._listed


def _speech(folder: Path) -> Iterator[dict[str, Any]]:
    """Rows of `<speaker>/<video>/<file>`."""
    for speaker, videos in subfolders(folder).items():
        for video in subfolders(videos).values():
            for path in audio_files(video):
                yield {"id": path.relative_to(folder).as_posix(), "path": str(path), "speaker": speaker}


def _voxceleb2(folder: Path) -> list[dict[str, Any]]:
    parts = [folder / part for part in ("dev/aac", "dev/wav", "aac", "wav") if (folder / part).is_dir()]
    if not parts:
        raise SureError(
            f"voxceleb2_dir={folder}: no dev/aac or dev/wav here (found: "
            f"{listed(subfolders(folder)) if folder.is_dir() else 'no such folder'})."
        )
    rows = list(_speech(parts[0]))
    if not rows:
        unconverted = next(parts[0].glob("*/*/*.m4a"), None)
        found = f"{unconverted} cannot be read: convert m4a first, such as in {parts[0]} with: {_CONVERT}"
        raise SureError(found if unconverted else f"{parts[0]}: no <speaker>/<video>/*.wav or *.flac.")
    return rows
