"""How often a 95 % interval holds the value it is to hold, in simulated tests, as a Markdown table.

    python tests/benchmarks/interval_coverage.py

Accuracies of independent utterances, and of speakers whose own accuracies differ; equal error rates of speakers who are
told apart more or less easily. "Before" is the percentile bootstrap over utterances or trials, and from ten speakers on
over speakers, of trials over those of the enrolment side; "after" is what `sure.task.scoring` makes.
"""

import argparse
from collections.abc import Iterator
from itertools import product
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from sure.task import Task
from sure.task.classification import ClassificationTask
from sure.task.scoring import Scored, score_with_intervals
from sure.task.speaker_verification import SpeakerVerificationTask
from sure.task.speaker_verification.scores import cosines, unit
from sure.task.speaker_verification.trials import trials_by_rule

UTTERANCES = 20

# Utterances of a speaker to be verified, dimensions of their embeddings, and how far those of a speaker lie apart: all
# speakers' mean, in units of the distance between speakers, and the deviation of its logarithm among speakers.
VERIFIED, DIMENSIONS, APART, UNLIKE = 6, 16, 1.0, 0.35

Rows = list[dict[str, Any]]


class Emotion(ClassificationTask):
    metrics = ("accuracy",)

    def utterances(self, data_dir):
        raise NotImplementedError


class Verification(SpeakerVerificationTask):
    metrics = ("equal_error_rate",)

    def utterances(self, data_dir):
        raise NotImplementedError


class Cell(NamedTuple):
    """A row of the table: coverage and mean width of the interval, before and after."""

    case: str
    holds: str
    before: tuple[float, float]
    after: tuple[float, float]
    drawn: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=500, help="simulated tests of each case (default: 500)")
    repetitions = parser.parse_args().repetitions
    cells = [*independent_utterances(repetitions), *speakers_that_differ(repetitions), *verification(repetitions)]
    headers = ["case", "true value", "before: coverage", "width", "after: coverage", "width", "drawn"]
    rows = [
        [cell.case, cell.holds, *(f"{number:.3f}" for number in (*cell.before, *cell.after)), cell.drawn]
        for cell in cells
    ]
    print(tabulate(rows, headers, tablefmt="pipe", disable_numparse=True))


def independent_utterances(repetitions: int, accuracies=(0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)) -> Iterator[Cell]:
    """100 utterances of nobody in particular."""
    generator = np.random.default_rng(0)
    for accuracy in accuracies:
        tests = ((answers(generator.random((1, 100)) < accuracy, named=False), [accuracy]) for _ in range(repetitions))
        yield from cells(f"accuracy {accuracy}, 100 utterances", Emotion(["right", "wrong"]), tests, ["that accuracy"])


def speakers_that_differ(
    repetitions: int, numbers=(2, 4, 10, 30), deviations=(0, 0.08, 0.16), average=0.8
) -> Iterator[Cell]:
    """20 utterances of each speaker, whose accuracy is normally distributed about the average, at most 1."""
    generator = np.random.default_rng(1)
    for number, deviation in product(numbers, deviations):
        of_new = mean(np.clip(np.random.default_rng(0).normal(average, deviation, 100_000), 0, 1))

        def test(number=number, deviation=deviation, of_new=of_new):
            of_these = np.clip(generator.normal(average, deviation, (number, 1)), 0, 1)
            right = generator.random((number, UTTERANCES)) < of_these
            return answers(right, named=True), [of_new, of_these.mean()][: 1 if number >= 10 else 2]

        case = f"accuracy {average} ± {deviation}, {number} speakers"
        tests = (test() for _ in range(repetitions))
        yield from cells(case, Emotion(["right", "wrong"]), tests, ["new speakers", "these speakers"])


def verification(repetitions: int, numbers=(5, 10, 20, 40)) -> Iterator[Cell]:
    """Equal error rate on trials by rule; the true value is that of many speakers."""
    generator = np.random.default_rng(2)
    of_new = mean(Verification().score(trials(generator, 500))["equal_error_rate"] for _ in range(10))
    for number in numbers:
        tests = ((trials(generator, number), [of_new]) for _ in range(repetitions))
        yield from cells(f"equal error rate {of_new:.2f}, {number} speakers", Verification(), tests, ["new speakers"])


def answers(right: np.ndarray, named: bool) -> Rows:
    """Prediction rows from which answers are right, (speakers, utterances)."""
    return [
        {
            "id": f"{speaker:03d} {utterance:03d}",
            "speaker": f"{speaker:03d}" if named else None,
            "reference": "right",
            "prediction": "right" if right[speaker, utterance] else "wrong",
        }
        for speaker, utterance in np.ndindex(right.shape)
    ]


def trials(generator: np.random.Generator, speakers: int, utterances: int = VERIFIED) -> Rows:
    """Prediction rows of trials by rule, from embeddings that lie closer about some speakers' than about others'."""
    apart = APART * np.exp(UNLIKE * generator.normal(size=(speakers, 1, 1)))
    noise = apart * generator.normal(size=(speakers, utterances, DIMENSIONS))
    embeddings = unit(generator.normal(size=(speakers, 1, DIMENSIONS)) + noise).reshape(-1, DIMENSIONS)
    said = [(f"{speaker:04d}", f"{speaker:04d}-{number:03d}") for speaker, number in np.ndindex(speakers, utterances)]
    places = {identity: place for place, (_, identity) in enumerate(said)}
    listed = trials_by_rule({"speaker": speaker, "id": identity} for speaker, identity in said)
    sides = np.array([[places[enrolment], places[test]] for enrolment, test, _ in listed])
    return [
        {
            "id": f"{enrolment} {test}",
            "speaker": said[places[enrolment]][0],
            "test_speaker": said[places[test]][0],
            "reference": label,
            "prediction": float(score),
        }
        for (enrolment, test, label), score in zip(listed, cosines(embeddings, sides), strict=True)
    ]


def cells(case: str, task: Task, tests: Iterator[tuple[Rows, list[float]]], holds: list[str]) -> Iterator[Cell]:
    """A cell for each true value that simulated tests come with."""
    intervals, truths = [], []
    for rows, of_test in tests:
        scored = score_with_intervals(task, rows)
        intervals.append([before(task, rows), after(task, scored)])
        truths.append(of_test)
    low, high = np.array(intervals).transpose(2, 1, 0)
    widths = (high - low).mean(axis=1)
    for of_tests, name in zip(np.array(truths).T, holds, strict=False):
        # Sums of floats, such as the true accuracy of some speakers, differ in their last digits.
        covered = ((low <= of_tests + 1e-9) & (of_tests - 1e-9 <= high)).mean(axis=1)
        yield Cell(case, name, *zip(covered, widths, strict=True), drawn_in_words(scored))


def after(task: Task, scored: Scored) -> tuple[float, float]:
    score = scored.scores[task.metric]
    return score.low, score.high


def before(task: Task, rows: Rows, resamples: int = 1000) -> tuple[float, float]:
    """The percentile bootstrap over rows, or over ten speakers or more, of the enrolment side."""
    metric = task.metric_named(task.metric)
    names, members = np.unique([str(row["speaker"]) for row in rows], return_inverse=True)
    if len(names) < 10:
        members = np.arange(len(rows))
    size = members.max() + 1
    generator = np.random.default_rng(0)
    drawn = [np.bincount(one, minlength=size)[members] for one in generator.integers(size, size=(resamples, size))]
    draws = metric.score_draws(*metric.prepare(*task.comparable(rows)), np.stack(drawn))
    low, high = np.percentile(draws, [2.5, 97.5])
    return low, high


def drawn_in_words(scored: Scored) -> str:
    return f"{scored.drawn}s" + (", for these only" if scored.speakers else "")


if __name__ == "__main__":
    main()
