"""Questions of a sweep as far as they are answered, and compared with the frozen probe and full fine-tuning.

Each with these baselines of the same task and backbone, on the same test rows. The variance of a difference is that of
draws of these rows plus what seeds add on either side, and p-values, of Student's t with the degrees of freedom of
Welch (1947), are corrected by Holm (1979) for all comparisons of a table.
"""

from dataclasses import dataclass, field

import numpy as np

from sure.errors import SureError
from sure.leaderboard import submission
from sure.leaderboard.comparison import Difference, Sample, compare, holm
from sure.record import Result, shown
from sure.sweep import progress, schedule
from sure.sweep.plan import Question, options_of
from sure.sweep.report.parts import Cells
from sure.task.scoring import Prepared, paired_draws

# With which others are compared, by method.
BASELINES = {"linear_probe": "the frozen probe", "full_finetuning": "full fine-tuning"}
# Without a budget.
DEFAULT_SIZE = "default size"
# Significantly better and worse than these.
MARKS = {"linear_probe": "▲▼", "full_finetuning": "△▽"}


@dataclass
class Answer:
    """A question as far as it is answered."""

    question: Question
    method: str
    budget: str
    rows: list[progress.Row]
    comparison: schedule.Comparison
    # By cell, in the order of seeds.
    results: dict[str, Result]
    # How far the mean over seeds would vary; and by baseline, how it differs from that.
    sample: Sample | None = None
    differences: dict[str, Difference] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.question.settings["method"]

    @property
    def label(self) -> str:
        return self.method if self.budget == DEFAULT_SIZE else f"{self.method} at {self.budget}"

    @property
    def first(self) -> Result:
        return next(iter(self.results.values()))

    @property
    def scores(self) -> list[float]:
        return [progress.tested(result).value for result in self.results.values()]

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))

    @property
    def higher_is_better(self) -> bool:
        return progress.tested(self.first).higher_is_better

    @property
    def score(self) -> str:
        """`0.512 ± 0.010`, the standard deviation over seeds, which one alone has not."""
        there, asked = len(self.scores), len(self.question.seeds)
        deviation = f" ± {shown(np.std(self.scores, ddof=1), self.mean)}" if there > 1 else ""
        return f"{shown(self.mean)}{deviation}" + (f" ({there} of {asked} seeds)" if there < asked else "")

    @property
    def parameters(self) -> int:
        """Trainable ones, without the head's."""
        return self.first.cost.trainable_parameters - self.first.cost.head_parameters

    @property
    def marks(self) -> str:
        return "".join(
            MARKS[name][verdict == "worse"]
            for name, found in self.differences.items()
            if (verdict := found.verdict(higher_is_better=self.higher_is_better))
        )


def names_of(question: Question) -> tuple[str, str]:
    """Of its method with options, and of its budget."""
    budget = str(options_of(question)["method"].get("budget", DEFAULT_SIZE))
    given = [one for one in question.settings.get("method_options", []) if not one.startswith("budget=")]
    return " ".join([question.settings["method"], *given]), budget


def group_of(question: Question) -> str:
    settings = question.settings
    title = " with ".join(
        " ".join([str(settings[kind]), *settings.get(f"{kind}_options", [])]) for kind in ("task", "backbone")
    )
    return f"{title}, {question.group}" if question.group else title


def draw(answers: list[Answer], cells: Cells) -> None:
    """Say of every answer how far its score would vary, by draws of the same test rows for all."""
    runs = []
    for answer in answers:
        for cell, result in answer.results.items():
            task = submission.task_of(cells.record(cell), result)
            rows = submission.rows_of(cells.record(cell), result, task, progress.evaluation(result))
            runs.append((task.metric, Prepared.of(task, rows, [task.metric])))
    if not runs:
        return
    try:
        sampling, drawn = paired_draws([prepared for _, prepared in runs])
    except (SureError, TypeError, ValueError) as error:
        raise SureError(f"{cells.output_dir}: test predictions cannot be compared: {error}") from None
    draws = iter(of[metric] for (metric, _), of in zip(runs, drawn, strict=True))
    for answer in answers:
        of_mean = np.mean([next(draws) for _ in answer.results], axis=0)
        answer.sample = Sample.of_draws("test", sampling, of_mean, answer.scores)


def compare_with_baselines(answers: list[Answer]) -> int:
    """Every answer with the baselines, of which full fine-tuning is compared with the probe; gives how many pairs."""
    pairs = [
        (answer, name, baseline)
        for name in BASELINES
        if (baseline := baseline_of(answers, name))
        for answer in answers
        if answer is not baseline and answer is not baseline_of(answers, "linear_probe")
    ]
    found = [difference_of(answer, baseline) for answer, _, baseline in pairs]
    corrected = holm(np.array([one.p for one in found]))
    for (answer, name, _), difference, p in zip(pairs, found, corrected.tolist(), strict=True):
        answer.differences[name] = difference.model_copy(update={"p": p})
    return len(pairs)


def baseline_of(answers: list[Answer], name: str) -> Answer | None:
    """The first that was asked for: of a probe with several sets of options the others are methods."""
    return next((answer for answer in answers if answer.name == name), None)


def difference_of(one: Answer, other: Answer) -> Difference:
    """With an uncorrected p-value."""
    return compare([one.mean, other.mean], [one.sample, other.sample]).of(0, 1)


def budgets_of(answers: list[Answer]) -> list[str]:
    return sorted(dict.fromkeys(answer.budget for answer in answers), key=lambda budget: budget == DEFAULT_SIZE)


def from_the_best(answers: list[Answer]) -> list[Answer]:
    """Those with a record."""
    scored = [one for one in answers if one.results]
    return sorted(scored, key=lambda one: -one.mean if one.higher_is_better else one.mean)


def is_open(answer: Answer) -> bool:
    """Whether something is left to do."""
    return not answer.rows or any(not row.ended for row in answer.rows)
