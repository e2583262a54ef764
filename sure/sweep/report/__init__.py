"""A sweep's answer in words, tables and pictures, from its folder alone: Markdown, and one page that opens from disk.

Every number is of a record (`result.json`) or, of what left none, of `cell.json`; tables name the cell it is from.
"""

import re
from collections import Counter, defaultdict
from pathlib import Path

import jinja2

from sure.errors import SureError
from sure.files import write_atomically
from sure.leaderboard import submission
from sure.record import RESULT
from sure.record.card import caveat
from sure.sweep import progress, schedule
from sure.sweep.plan import Study
from sure.sweep.report.answers import Answer, compare_with_baselines, draw, group_of, names_of
from sure.sweep.report.parts import Cells, Report, Section
from sure.sweep.report.plots import plots
from sure.sweep.report.sentences import sentences
from sure.sweep.report.tables import tables
from sure.sweep.schedule import StateOf

_DOCUMENTS = ("report.md", "report.html")


def report(output_dir: Path, folder: Path, state_of: StateOf, attempts: int) -> Report:
    """What a sweep's folder says; `folder` is where the report will lie, from which links lead to cells.

    Raises `SureError` where there is no study, and for records and predictions that cannot be read.
    """
    study = Study.read(output_dir)
    now = (study, output_dir, state_of, attempts)
    rows, groups = defaultdict(list), defaultdict(list)
    for row in progress.rows(*now):
        rows[row.question].append(row)
    for question in study.questions:
        comparison, known = schedule.compare(question, output_dir, state_of, attempts), rows[question.name]
        chosen = schedule.records(question, output_dir, comparison.chosen) if comparison.chosen is not None else []
        scored = {row.cell for row in known if row.score}
        results = {cell.name: submission.read(cell.folder / RESULT) for cell in chosen if cell.name in scored}
        groups[group_of(question)].append(Answer(question, *names_of(question), known, comparison, results))
    cells = Cells(output_dir, folder)
    sections = [_section(title, answers, cells, number) for number, (title, answers) in enumerate(groups.items(), 1)]
    ended, total = progress.ended(*now), progress.total(*now)
    unfinished = f"Not finished: {ended} of {total} cells have ended, and this is what they say so far."
    return Report(output_dir.resolve().name, sections, unfinished if ended < total else "")


def write(found: Report, folder: Path) -> list[Path]:
    """`report.md` with its plots beside it, and `report.html`, which needs nothing else; gives these two."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sure.sweep.report", "."),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["markdown"] = _markdown
    folder.mkdir(parents=True, exist_ok=True)
    for plot in (plot for section in found.sections for plot in section.plots):
        write_atomically(folder / plot.file, plot.svg)
    for name in _DOCUMENTS:
        write_atomically(folder / name, environment.get_template(name).render(report=found))
    return [folder / name for name in _DOCUMENTS]


def _section(title: str, answers: list[Answer], cells: Cells, number: int) -> Section:
    twice = [label for label, count in Counter(answer.label for answer in answers).items() if count > 1]
    for answer in answers:
        if answer.label in twice:
            # Told apart by settings other than the method's.
            answer.method = answer.question.name.partition("--budget=")[0]
    with_runs = [answer for answer in answers if answer.results]
    corpora = {result.run.data.fingerprint: cell for one in with_runs for cell, result in one.results.items()}
    if len(corpora) > 1:
        raise SureError(f"{cells.output_dir}: cells were run on different corpora: {', '.join(corpora.values())}.")
    title = ", ".join([title, *(f"corpus {fingerprint[:8]}" for fingerprint in corpora)])
    draw(with_runs, cells)
    comparisons = compare_with_baselines(with_runs)
    runs = [result for answer in with_runs for result in answer.results.values()]
    return Section(
        title=title,
        caveat=caveat(result.run for result in runs),
        sentences=sentences(answers, runs, comparisons),
        plots=plots(answers, with_runs, number),
        tables=tables(answers, with_runs, cells),
    )


def _markdown(text: str) -> str:
    """Text as it is: what a name or an error holds is no markup. Underscores within words are none either."""
    return re.sub(r"([\\`*<>|\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))
