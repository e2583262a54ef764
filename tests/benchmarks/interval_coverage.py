"""How often a 95 % interval holds the value it is to hold, in simulated tests, as Markdown tables.

    python tests/benchmarks/interval_coverage.py

Of one run: accuracies of independent utterances, and of speakers whose own accuracies differ; other metrics; error
rates of speakers who are told apart more or less easily. "Before" is the percentile bootstrap over utterances or
trials, and from ten speakers on over speakers, of trials over those of the enrolment side; "after" is what
`sure.task.scoring` makes. Of several seeds and of folds, of differences, and of tables of equal entries: what
`sure.leaderboard` makes, and what is simpler.
"""

import argparse
from collections.abc import Iterator
from itertools import product
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from sure.leaderboard.comparison import Sample, compare
from sure.task import Task
from sure.task.classification import ClassificationTask
from sure.task.scoring import TAILS, Prepared, Scored, over_seeds, paired_draws, score_with_intervals
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


class Recall(Emotion):
    metrics = ("unweighted_average_recall",)


class F1(Emotion):
    metrics = ("macro_f1",)


class Words(Emotion):
    metrics = ("word_error_rate",)
    comparable = Task.comparable


class Verification(SpeakerVerificationTask):
    metrics = ("equal_error_rate",)

    def utterances(self, data_dir):
        raise NotImplementedError


class Costs(Verification):
    metrics = ("minimum_detection_cost_p05",)


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
    one_run = [
        *independent_utterances(repetitions),
        *speakers_that_differ(repetitions),
        *other_metrics(repetitions),
        *verification(repetitions),
        *verification(repetitions, Costs(), (10, 40)),
    ]
    print(table(one_run, ["case", "true value", "before: coverage", "width", "after: coverage", "width", "drawn"]))
    several = [*several_seeds(repetitions), *folds(repetitions)]
    print(
        table(several, ["case", "true value", "simpler: coverage", "width", "board: coverage", "width", "simpler is"])
    )
    differing = [*differences(repetitions), *verified_differences(repetitions)]
    print(
        table(differing, ["case", "true value", "simpler: coverage", "width", "board: coverage", "width", "simpler is"])
    )
    print(tabulate(equal_tables(repetitions), _EQUAL, tablefmt="pipe", disable_numparse=True))


_EQUAL = ["equal entries", "all have rank 1: without correction", "with Holm's"]


def table(cells: list["Cell"], headers: list[str]) -> str:
    rows = [
        [cell.case, cell.holds, *(f"{number:.3f}" for number in (*cell.before, *cell.after)), cell.drawn]
        for cell in cells
    ]
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True) + "\n"


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


def other_metrics(repetitions: int, speakers=20) -> Iterator[Cell]:
    """20 utterances of each of 20 speakers, of whom some are understood better than others."""
    for task, of_rows, name in (
        (Recall(["a", "b"]), labelled, "unweighted average recall"),
        (F1(["a", "b"]), labelled, "macro F1"),
        (Words(["a"]), spoken, "word error rate"),
    ):
        generator = np.random.default_rng(3)
        of_new = mean(task.score(of_rows(understood(generator, 1000)))[task.metric] for _ in range(10))
        tests = ((of_rows(understood(generator, speakers)), [of_new]) for _ in range(repetitions))
        yield from cells(f"{name} {of_new:.2f}, {speakers} speakers", task, tests, ["new speakers"])


def verification(repetitions: int, task: Task | None = None, numbers=(5, 10, 20, 40)) -> Iterator[Cell]:
    """Error rates on trials by rule; the true value is that of many speakers."""
    task = task or Verification()
    generator = np.random.default_rng(2)
    of_new = mean(task.score(trials(generator, 500))[task.metric] for _ in range(10))
    for number in numbers:
        tests = ((trials(generator, number), [of_new]) for _ in range(repetitions))
        case = f"{in_words(task)} {of_new:.2f}, {number} speakers"
        yield from cells(case, task, tests, ["new speakers"])


# Log odds of a right answer, and how far utterances differ in them.
_ODDS, _UTTERANCES_DIFFER = 1.4, 1.0


def several_seeds(repetitions: int, deviations=(0, 0.2, 0.5), utterances=200) -> Iterator[Cell]:
    """Configurations of which each seed has log odds of its own; the true value is that of all utterances and seeds."""
    cases = [*product([Emotion(["a", "b"])], (2, 3, 5), deviations), *product([Recall(["a", "b"])], (3,), deviations)]
    for task, number, deviation in cases:
        generator = np.random.default_rng(4)
        spread = (_UTTERANCES_DIFFER**2 + deviation**2) ** 0.5
        of_all = probabilities(spread * generator.normal(size=1_000_000)).mean()
        found = []
        for _ in range(repetitions):
            easy = _UTTERANCES_DIFFER * generator.normal(size=utterances)
            sampling, prepared, draws, scores = of_seeds(generator, task, easy, number, deviation)
            metric = prepared[0].metrics[task.metric][0]
            score = over_seeds(metric, scores, draws.mean(axis=0), sampling)
            found.append([of_both(generator, draws), ends(score)])
        case = f"{in_words(task)}, {number} seeds that differ by {deviation}"
        yield Cell(case, "new utterances, new seeds", *covered(found, of_all), "bootstrap of both")


def folds(repetitions: int, numbers=(5, 10), deviations=(0, 1), utterances=40) -> Iterator[Cell]:
    """Cross-validation of a classifier by nearest means, whose folds have ways of their own to speak.

    Each fold is tested with what was learnt from all but it and the one before; the true value is what is learnt from
    as many other folds on average, on utterances of others again.
    """
    from scipy.stats import t

    for number, deviation in product(numbers, deviations):
        generator = np.random.default_rng(5)
        truth = mean(cross_validated(generator, number, deviation, utterances).mean() for _ in range(4000))
        found = []
        for _ in range(repetitions):
            scores = cross_validated(generator, number, deviation, utterances)
            whole = scores.mean()
            error = (whole * (1 - whole) / (number * utterances)) ** 0.5
            half = t.ppf(TAILS[1], number - 1) * scores.std(ddof=1) / number**0.5
            found.append([(whole - 1.96 * error, whole + 1.96 * error), (whole - half, whole + half)])
        case = f"accuracy {truth:.2f}, {number} folds that differ by {deviation}"
        yield Cell(case, "new folds, trained anew", *covered(found, truth), "utterances of all folds alike")


def differences(repetitions: int, speakers=20, utterances=20) -> Iterator[Cell]:
    """Of two equal configurations, on the same utterances; some speakers suit the one and some the other."""
    generator = np.random.default_rng(6)
    task = Emotion(["a", "b"])
    for number, deviation, suits in product((1, 3, 5), (0, 0.3), (0, 0.5)):
        if number == 1 and deviation:
            continue
        found = []
        for _ in range(repetitions):
            speaker = 0.5 * generator.normal(size=(speakers, 1))
            easy = (speaker + _UTTERANCES_DIFFER * generator.normal(size=(speakers, utterances))).ravel()
            both = []
            for _ in range(2):
                mine = easy + suits * np.repeat(generator.normal(size=speakers), utterances)
                both.append(of_seeds(generator, task, mine, number, deviation, speakers))
            scores = [mean(scores) for *_, scores in both]
            samples = [
                Sample.of_draws("rows", sampling, draws.mean(axis=0), scores) for sampling, _, draws, scores in both
            ]
            difference = compare(scores, samples).of(0, 1)
            one, other = (sample.values for sample in samples)
            found.append([np.quantile(one - other, TAILS), (difference.low, difference.high)])
        seeds = f"{number} seeds that differ by {deviation}" if number > 1 else "1 seed"
        case = f"accuracy, {seeds}, speakers that suit by {suits}"
        yield Cell(case, "0", *covered(found, 0), "percentiles of the difference")


def verified_differences(repetitions: int, numbers=(5, 10, 20, 40)) -> Iterator[Cell]:
    """Of two equal systems, whose scores have errors of their own for each speaker and trial."""
    generator = np.random.default_rng(7)
    for task, number in product((Verification(), Costs()), numbers):
        found = []
        for _ in range(repetitions):
            rows = trials(generator, number)
            prepared = []
            for _ in range(2):
                of_speaker = 0.1 * generator.normal(size=number)
                own = [
                    row["prediction"]
                    + of_speaker[int(row["speaker"])]
                    + of_speaker[int(row["test_speaker"])]
                    + 0.1 * generator.normal()
                    for row in rows
                ]
                changed = [row | {"prediction": float(score)} for row, score in zip(rows, own, strict=True)]
                prepared.append(Prepared.of(task, changed, task.metrics))
            sampling, drawn = paired_draws(prepared)
            one, other = (draws[task.metric] for draws in drawn)
            scores = main_scores(task, prepared)
            samples = [
                Sample.of_draws("rows", sampling, draws, [score])
                for draws, score in zip((one, other), scores, strict=True)
            ]
            difference = compare(scores, samples).of(0, 1)
            found.append([np.quantile(one - other, TAILS), (difference.low, difference.high)])
        case = f"{in_words(task)}, {number} speakers"
        yield Cell(case, "0", *covered(found, 0), "percentiles of the difference")


def equal_tables(repetitions: int, numbers=(2, 5, 10, 20), utterances=200) -> Iterator[list[str]]:
    """In how many tables of entries that are equally good all have rank 1."""
    generator = np.random.default_rng(8)
    task = Emotion(["a", "b"])
    for number in numbers:
        together = np.zeros(2)
        for _ in range(repetitions):
            easy = _UTTERANCES_DIFFER * generator.normal(size=utterances)
            sampling, _, drawn, scores = of_seeds(generator, task, easy, number, 0)
            compared = compare(
                scores,
                [Sample.of_draws("rows", sampling, draws, [score]) for draws, score in zip(drawn, scores, strict=True)],
            )
            apart = (np.abs(compared.value) > compared.half).any(), compared.significant[np.argmax(scores)].any()
            together += np.logical_not(apart)
        yield [str(number), *(f"{share:.3f}" for share in together / repetitions)]


def of_seeds(
    generator: np.random.Generator, task: Task, easy: np.ndarray, seeds: int, deviation: float, speakers: int = 0
) -> tuple[Any, list[Prepared], np.ndarray, list[float]]:
    """Runs of a configuration on utterances with such log odds: how drawn, prepared, (seeds, draws), scores."""
    prepared = []
    for _ in range(seeds):
        right = generator.random(len(easy)) < probabilities(easy + deviation * generator.normal())
        prepared.append(Prepared.of(task, labelled(right.reshape(speakers or 1, -1), bool(speakers)), task.metrics))
    sampling, drawn = paired_draws(prepared)
    draws = np.stack([one[task.metric] for one in drawn])
    return sampling, prepared, draws, main_scores(task, prepared)


def main_scores(task: Task, prepared: list[Prepared]) -> list[float]:
    metrics = (one.metrics[task.metric] for one in prepared)
    return [metric.score(*arrays) for metric, *arrays in metrics]


def of_both(generator: np.random.Generator, draws: np.ndarray) -> np.ndarray:
    """The percentile bootstrap that draws seeds with replacement as it draws utterances; draws are (seeds, draws)."""
    seeds = generator.integers(len(draws), size=draws.shape)
    return np.quantile(np.take_along_axis(draws, seeds, axis=0).mean(axis=0), TAILS)


def cross_validated(generator: np.random.Generator, number: int, deviation: float, utterances: int) -> np.ndarray:
    """Accuracies of the folds, (number,): two classes in ten dimensions, shifted in each fold."""
    labels = np.arange(utterances) % 2
    shift = deviation * generator.normal(size=(number, 1, 1)) * np.eye(10)[0]
    heard = generator.normal(size=(number, utterances, 10)) + shift + 0.8 * labels[:, np.newaxis] * np.eye(10)[0]
    scores = []
    for fold in range(number):
        training = np.delete(heard, [fold, fold - 1], axis=0)
        means = np.stack([training[:, labels == label].mean(axis=(0, 1)) for label in (0, 1)])
        distances = ((heard[fold][:, np.newaxis] - means) ** 2).sum(axis=2)
        scores.append((distances.argmin(axis=1) == labels).mean())
    return np.array(scores)


def probabilities(odds: np.ndarray) -> np.ndarray:
    """Of a right answer, from log odds about those that are usual."""
    return 1 / (1 + np.exp(-_ODDS - odds))


def understood(generator: np.random.Generator, speakers: int) -> np.ndarray:
    """Which utterances are, (speakers, utterances)."""
    odds = 0.7 * generator.normal(size=(speakers, 1)) + _UTTERANCES_DIFFER * generator.normal(
        size=(speakers, UTTERANCES)
    )
    return generator.random((speakers, UTTERANCES)) < probabilities(odds)


def labelled(right: np.ndarray, named: bool = True) -> Rows:
    """As `answers`, of three utterances labelled "a" to one labelled "b"."""
    rows = answers(right, named)
    for number, row in enumerate(rows):
        correct = row["prediction"] == row["reference"]
        row["reference"] = "b" if number % 4 == 0 else "a"
        row["prediction"] = row["reference"] if correct else "ab".replace(row["reference"], "")
    return rows


def spoken(right: np.ndarray) -> Rows:
    """As `answers`, of texts of one to ten words, a third of which are wrong where one is not understood."""
    rows = answers(right, named=True)
    for number, row in enumerate(rows):
        words = 1 + number * 7 % 10
        wrong = 0 if row["prediction"] == row["reference"] else 1 + words // 3
        row["reference"] = " ".join(["right"] * words)
        row["prediction"] = " ".join(["wrong"] * wrong + ["right"] * (words - wrong))
    return rows


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


def in_words(task: Task) -> str:
    return task.metric.replace("_", " ")


def covered(found: list[list[Any]], truth: float) -> list[tuple[float, float]]:
    """Coverage and mean width of two intervals of each test."""
    low, high = np.array(found, dtype=float).transpose(2, 1, 0)
    held = ((low <= truth + 1e-9) & (truth - 1e-9 <= high)).mean(axis=1)
    return list(zip(held, (high - low).mean(axis=1), strict=True))


def ends(score: Any) -> tuple[float, float]:
    return score.low, score.high


def after(task: Task, scored: Scored) -> tuple[float, float]:
    return ends(scored.scores[task.metric])


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
