"""Trials: which two utterances are compared, from a list or by rule."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations, cycle, zip_longest
from pathlib import Path
from typing import Any

from sure.errors import SureError
from sure.files import read_text
from sure.task import evenly_spread

# Enrolment utterance, test utterance, 1 where one speaker said both (a target trial), else 0.
Trial = tuple[str, str, int]


# Utterances of a speaker that `trials_by_rule` uses at most; 20 make 190 target trials.
_UTTERANCES = 20

_VALIDATION_SHARE, _FEWEST_VALIDATION_SPEAKERS = 20, 10


def refuse_known(tested: set[str], trained: set[str], where: str) -> None:
    """Raises `SureError` where a speaker to be verified trains the model."""
    if shared := sorted(tested & trained):
        raise SureError(
            f"{where}: {len(shared)} speakers to be verified are training speakers too, such as {shared[0]}; they must "
            "be unknown."
        )


def read_trials(path: Path) -> list[tuple[int, Trial]]:
    """A list of trials, each `1 enrolment test` or `0 enrolment test`, with the number of its line.

    Raises `SureError`, naming the line, for one with another number of columns, another label, or a trial that was
    there before with the other label.
    """
    trials, labels = [], {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        columns = line.split()
        if not columns:
            continue
        where = f"{path}, line {number}"
        if len(columns) != 3:
            raise SureError(f"{where}: {len(columns)} columns; expected a label and two utterances, `1 path path`.")
        label, enrolment, test = columns
        if label not in ("0", "1"):
            raise SureError(f"{where}: label {label!r}; expected 1 (same speaker) or 0.")
        if labels.setdefault((enrolment, test), label) != label:
            raise SureError(f"{where}: this trial has label {label} here and {labels[enrolment, test]} before.")
        trials.append((number, (enrolment, test, int(label))))
    if not trials:
        raise SureError(f"{path}: holds no trials.")
    return trials


def trials_by_rule(rows: Iterable[dict[str, Any]]) -> list[Trial]:
    """Trials among the utterances of some speakers, as many targets as non-targets, without chance.

    Speakers and ids are sorted; of each speaker at most 20 utterances are used, evenly spread. Every two of a
    speaker's are a target trial, and each is followed by a non-target trial of the same enrolment utterance with one
    of another speaker: the first utterances of all others in turn, then their second ones, and so on.
    """
    by_speaker = defaultdict(list)
    for row in rows:
        by_speaker[row["speaker"]].append(row["id"])
    own_in_order = [sorted(by_speaker[speaker]) for speaker in sorted(by_speaker)]
    chosen = [[own[place] for place in evenly_spread(len(own), _UTTERANCES)] for own in own_in_order]
    trials: list[Trial] = []
    for index, own in enumerate(chosen):
        others = zip_longest(*chosen[index + 1 :], *chosen[:index])
        in_turn = cycle([identity for identities in others for identity in identities if identity is not None])
        for (enrolment, test), other in zip(combinations(own, 2), in_turn, strict=False):
            trials += [(enrolment, test, 1), (enrolment, other, 0)]
    return list(dict.fromkeys(trials))


def held_out(rows: list[dict[str, Any]], data_dir: Path) -> Iterator[dict[str, Any]]:
    """Rows of training speakers with their split: the last twentieth of the sorted ones, at least ten, validates.

    Raises `SureError` where fewer than two would be left to train.
    """
    speakers = sorted({row["speaker"] for row in rows})
    last = max(_FEWEST_VALIDATION_SPEAKERS, len(speakers) // _VALIDATION_SHARE)
    if len(speakers) < last + 2:
        raise SureError(
            f"{data_dir}: {len(speakers)} training speakers whom the trials do not name; at least {last + 2} are "
            f"needed, of whom {last} are for validation."
        )
    validation = set(speakers[-last:])
    yield from (row | {"split": "validation" if row["speaker"] in validation else "train"} for row in rows)
