"""A sweep's report says what its records say: the best, differences, what is missing; and nothing breaks its page."""

import re
from urllib.parse import unquote

import numpy as np
import pytest
import scipy.stats

from sure import cli
from sure.errors import SureError
from sure.leaderboard.comparison import Sample
from sure.record import Result
from sure.sweep import report
from sure.sweep.plan import Question, Study
from sure.sweep.report import answers
from sure.sweep.state import Attempt, Reached, State, States
from tests.leaderboard.test_leaderboard import edit, register, write_record

RATES = (5e-4, 2e-3)
ATTACK = "x=</script><img src=x onerror=alert(1)>|**"


@pytest.fixture(autouse=True)
def known_task(monkeypatch):
    register(monkeypatch)


class Sweep:
    """A folder as a sweep leaves it, of runs whose predictions are made up."""

    def __init__(self, folder):
        self.folder, self.questions = folder, []

    def ask(self, method, budget=None, rates=(2e-3,), seeds=(1, 2), options=()):
        options = [*options, *([f"budget={budget}"] if budget else [])]
        name = f"three_emotions--tiny--{method}{f'--budget={budget}' if budget else ''}"
        settings = {"task": "three_emotions", "backbone": "tiny", "method": method, "method_options": options}
        candidates = [{"learning_rate": rate} for rate in rates] if len(rates) > 1 else [{}]
        self.questions.append(
            Question(
                name=name, settings=settings, metric="unweighted_average_recall", higher_is_better=True, by="halving",
                eta=2, candidates=candidates, seeds=list(seeds),
            )
        )  # fmt: skip
        Study(questions=self.questions).write(self.folder)
        return self.questions[-1]

    def run(self, question, right, parameters=1100, validation=(0.4, 0.6)):
        """Records of its seeds, of which each is right a little less often than the one before."""
        values = question.candidates[-1]
        for rate, score in zip(question.candidates, validation, strict=False) if values else ():
            reached = Reached(until=0.5, share=0.5, epochs=4, validation=score, training_seconds=3)
            cell = question.cell(self.folder, rate, question.seeds[0])
            cell.folder.mkdir(parents=True)
            State(reached=[reached]).write(cell.folder)
        for number, seed in enumerate(question.seeds):
            cell = question.cell(self.folder, values, seed)
            cell.folder.mkdir(parents=True, exist_ok=True)
            what = {"method": question.settings["method"], "parameters": parameters, "seed": seed}
            write_record(cell.folder, right=right - 0.05 * number, **what)

    def report(self):
        return report.report(self.folder, self.folder / "report", States(), 3)


@pytest.fixture
def sweep(tmp_path):
    return Sweep(tmp_path / "out")


@pytest.fixture
def answered(sweep):
    sweep.run(sweep.ask("linear_probe"), 0.4, parameters=100)
    sweep.run(sweep.ask("lora", "1%", RATES), 0.9, parameters=1100)
    sweep.run(sweep.ask("bottleneck_adapter", "1%"), 0.85, parameters=1200)
    sweep.run(sweep.ask("lora", "5%"), 0.7, parameters=5100)
    sweep.run(sweep.ask("bottleneck_adapter", "5%"), 0.7, parameters=5200)
    sweep.run(sweep.ask("full_finetuning"), 0.95, parameters=90_000)
    return sweep


def sentences(found, beginning):
    return [one for one in found.sections[0].sentences if one.startswith(beginning)]


def records(sweep, question):
    """By cell, of one question."""
    found = sweep.folder.glob(f"cells/*--tiny--{question}--*/result.json")
    return {path.parent.name: Result.read(path) for path in sorted(found)}


def scores(sweep, question):
    return [one.scores["test"]["unweighted_average_recall"].value for one in records(sweep, question).values()]


def table(found, beginning):
    return next(one for one in found.sections[0].tables if one.caption.startswith(beginning))


def texts(rows):
    return [[" ".join(part.text for part in cell) for cell in row] for row in rows]


def test_it_says_which_is_best_at_each_budget_and_how_it_differs(answered):
    found = answered.report()
    assert found.unfinished == ""
    first = found.sections[0].sentences[0]
    assert first.startswith("Of all 6 that have records, full_finetuning (full fine-tuning) has the highest mean")
    (better,) = re.findall(r"better than the frozen probe: (.*); than full fine-tuning: none\.$", first)
    assert better.split(", ")[:2] == ["full_finetuning", "lora at 1%"]
    (best,) = sentences(found, "At 1% ")
    lora, probe, full = (scores(answered, name) for name in ("lora--budget=1%", "linear_probe", "full_finetuning"))
    metric, mean = "unweighted average recall", np.mean(lora)
    score = f"{mean:.3f} ± {np.std(lora, ddof=1):.3f}"
    assert best.startswith(f"At 1% lora has the highest mean {metric} of 2 methods: {score}")
    assert "from the next, bottleneck_adapter" in best
    # Both ends of an interval on one side of nothing, and on either.
    to_probe, to_full = (re.escape(f"{mean - np.mean(other):+.3f}") for other in (probe, full))
    assert re.search(rf"Against the frozen probe: {to_probe} \[\+.*, \+.*\], significantly better \(p <", best)
    assert re.search(rf"Against full fine-tuning: {to_full} \[-.*, \+.*\], not significantly different \(p =", best)
    (equal,) = sentences(found, "At 5% ")
    assert equal.startswith("At 5% lora and bottleneck_adapter share the highest mean unweighted average recall")
    assert "Against full fine-tuning: lora -0.2" in equal and "significantly worse" in equal
    (chosen,) = sentences(found, "Settings were chosen")
    assert "2 tries in 1 comparison took 6.0 s of training, 3.0 s of it for values that lost" in chosen
    assert sentences(found, "The rate chosen is an end")[0].endswith("for lora at 1% (highest).")
    assert found.sections[0].caveat.startswith("the recordings are synthetic and the backbone has random weights")
    (matrix,) = (one for one in found.sections[0].tables if one.caption.startswith("Test unweighted"))
    assert matrix.headers == ["method", "1%", "5%", "default size"]
    lora = next(row for row in matrix.rows if row[0][0].text == "lora")
    assert lora[1][0].strong and lora[1][0].text.endswith(" ▲")
    assert [part.text for part in lora[1][1:]] == ["1,000 parameters", "rate 0.002"]


def test_a_method_that_is_no_baseline_may_be_best_of_all(sweep):
    sweep.run(sweep.ask("linear_probe"), 0.4, parameters=100)
    sweep.run(sweep.ask("weighted_sum_probe"), 0.9, parameters=107)
    first = sweep.report().sections[0].sentences[0]
    assert first.startswith(
        "Of all 2 that have records, weighted_sum_probe has the highest mean unweighted average recall: "
    )


def test_of_an_error_the_lowest_is_best_and_what_is_higher_worse(answered):
    def error(record):
        record["scores"]["test"]["unweighted_average_recall"]["higher_is_better"] = False

    for path in answered.folder.glob("cells/*/result.json"):
        edit(path, error)
    (best,) = sentences(answered.report(), "At 1% bottleneck_adapter has the lowest mean")
    assert re.search(r"-0\.\d+ \[.*\] from the next, lora", best)
    assert re.search(r"Against the frozen probe: \+0\.\d+ \[\+.*\], significantly worse", best)


def test_every_number_leads_to_the_cell_that_it_is_from(answered):
    found = answered.report()
    report.write(found, answered.folder / "report")
    shown = 0
    for row in table(found, "Differences").rows:
        for part in row[-1]:
            result = Result.read(answered.folder / "report" / unquote(part.target))
            score = result.scores["test"]["unweighted_average_recall"]
            assert part.text == f"seed {result.run.seed}: {score}"
            assert result.run.method.name == row[0][0].text
            shown += 1
    assert shown == len(list(answered.folder.glob("cells/*/result.json"))) == 12
    tried = texts(table(found, "Values tried").rows)
    assert [row[2:] for row in tried] == [
        ["learning_rate 0.0005", "0.400", "4", "3.0"],
        ["learning_rate 0.002", "0.600", "4", "3.0"],
    ]
    # 12 records of 12.5 s, and what lost.
    assert texts(table(found, "Cost").rows)[-1][2:7] == ["13", "153.0", "3.0", "18.0", "0.0"]


def test_what_is_missing_is_said_first_and_why(sweep):
    sweep.run(sweep.ask("lora", "1%", seeds=[1]), 0.8)
    refused = sweep.ask("bottleneck_adapter", "1%", seeds=[1]).cell(sweep.folder, {}, 1)
    refused.folder.mkdir(parents=True)
    error = "no size | is that small"
    attempt = Attempt(
        started="", ended="", host="h", process=1, step=0, outcome="does not apply", error=error, final=True
    )
    State(attempts=[attempt.model_copy(update={"counts": True})]).write(refused.folder)
    sweep.ask("bitfit", rates=RATES)
    sweep.ask("full_finetuning")
    found = sweep.report()
    assert found.unfinished.startswith("Not finished: 2 of 7 cells have ended")
    assert found.text().startswith("Not finished")
    assert sentences(found, "At 1% lora is the only method with a record: ")[0].endswith(
        "Against full fine-tuning: it has no record."
    )
    assert sentences(found, "At their default sizes no method has a record yet.")
    assert sentences(found, "The frozen probe (linear_probe) is not in this study")
    assert sentences(found, "Full fine-tuning has no record yet")
    assert sentences(found, "Comparisons of settings that are not over yet: 1.")
    left = texts(table(found, "What failed").rows)
    assert [refused.name, f"does not apply: {error}"] in left
    assert ["three_emotions--tiny--bitfit", "to do: 2 values to compare, then 2 seeds"] in left
    assert ["three_emotions--tiny--full_finetuning", "to do: 2 seeds"] in left
    markdown = report.write(found, sweep.folder / "report")[0].read_text()
    assert r"no size \| is that small" in markdown


def test_nothing_run_yet_is_a_report_too(sweep):
    sweep.ask("lora", "1%", RATES)
    assert "At 1% no method has a record yet." in sweep.report().sections[0].sentences


def test_without_variance_of_the_test_set_a_difference_is_that_of_welchs_test(answered):
    asked = ("lora--budget=1%", "linear_probe")
    one, other = (
        answers.Answer(question, "", "", [], None, records(answered, name))
        for question, name in zip(answered.questions, asked, strict=False)
    )
    reference = scipy.stats.ttest_ind(*(scores(answered, name) for name in asked), equal_var=False)
    for answer in (one, other):
        variance = np.var(answer.scores, ddof=1) / len(answer.scores)
        answer.sample = Sample("test", np.zeros(9), 1.0, 9, variance, len(answer.scores))
    found = answers.difference_of(one, other)
    assert found.p == pytest.approx(reference.pvalue)
    assert (found.low, found.high) == pytest.approx(reference.confidence_interval(0.95))
    # What the test set adds makes it wider.
    one.sample = one.sample._replace(values=np.linspace(0, 1, 9))
    assert answers.difference_of(one, other).high > found.high
    assert answers.difference_of(one, one).p == 1


def test_both_documents_hold_it_all_and_ask_for_nothing_from_elsewhere(answered, capsys):
    answered.run(answered.ask("ia3", "1%", options=[ATTACK]), 0.5, parameters=300)
    cli.main(["sweep", "report", str(answered.folder)])
    said = capsys.readouterr().out
    folder = answered.folder / "report"
    assert "At 1% lora has the highest" in said and f"{folder / 'report.html'}" in said
    html, markdown = ((folder / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    plots = re.findall(r"!\[.*\]\((.*\.svg)\)", markdown)
    assert plots == ["1-budgets.svg", "1-rates-1.svg"] == sorted(path.name for path in folder.glob("*.svg"))
    assert html.count("<svg") == 2
    for text in (html, *((folder / name).read_text() for name in plots)):
        assert "<img" not in text and "<script" not in text
        targets = re.findall(r'(?:src|href|action)\s*=\s*"([^"]*)"|url\(([^)]*)\)|@import', text)
        assert all(one[0] == "data:," or one[0].startswith("../cells/") for one in targets)
    assert r"\<img" in markdown and r"\|\*\*" in markdown
    # Every row of a Markdown table has as many cells as its head.
    for rows in re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows.splitlines()}) == 1


def test_mistakes_are_named_and_nothing_is_written(answered, tmp_path, capsys):
    records = sorted(answered.folder.glob("cells/*/result.json"))
    edit(records[0], lambda record: record["run"]["data"].update(fingerprint="cd" * 32))
    with pytest.raises(SureError, match=r"cells were run on different corpora: .*--seed=2"):
        answered.report()
    edit(records[0], lambda record: record.pop("metric"))
    for folder, message in ((answered.folder, "metric: Field required"), (tmp_path / "no", "`sure sweep` writes it")):
        with pytest.raises(SystemExit) as ended:
            cli.main(["sweep", "report", str(folder), "--output", str(tmp_path / "elsewhere")])
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()
