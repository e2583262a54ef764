"""`sure sweep`."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

from sure.cli.shared import positive
from sure.errors import SureError
from sure.files import is_url, refuse_urls

_DESCRIPTION = """\
From one run to an answer: tasks x backbones x methods x budgets, each with its learning rate chosen on validation with
one seed, the chosen one run with every seed, and test scored for the chosen ones alone. What is done is not done again:
the same command goes on where it was stopped, on this machine or another with the same folder.

  sure sweep study.yaml                      with keys that are named as the flags below, which count before it
  sure sweep --task emodb_emotion --data_dir data/emodb --method all --budget 0.5% 1% --learning_rate 5e-4 2e-3 \\
      --seed 1 2 3 --output_dir out/sweep --num_train_epochs 10       and any flag of `sure train`; of several values of
                                                                      one, the best is chosen too
  sure sweep study.yaml --ray 10.0.0.1:6379            on a Ray cluster; its nodes need have no folder in common
  sure sweep study.yaml --slurm --slurm_options partition=gpu timeout_min=120
  sure sweep study.yaml --output_dir s3://bucket/study    or another place of fsspec: a sweep works on a copy here, and
                                                      any machine goes on where another has stopped
  sure sweep status out/sweep                cells, who runs them, cost so far, time left
  sure sweep report out/sweep                what came out, in words, tables and plots
"""

_REPORT = "report"
_LISTS = ("task", "data_dir", "backbone", "method", "budget", "learning_rate", "seed")


def sweep(argv: list[str]) -> None:
    """`sure sweep` and its subcommands."""
    if argv[:1] in (["status"], ["report"]):
        {"status": _status, "report": _report}[argv[0]](argv[1:])
        return
    # Before the flags: of those that are not known here, the parser would take a value for the study.
    study = Path(argv[0]) if argv and not argv[0].startswith("-") else None
    arguments, rest = _parser().parse_known_args(argv[1:] if study else argv)
    _run(study, arguments, _settings(rest))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sure sweep",
        usage="sure sweep [STUDY] [flags]",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--output_dir",
        metavar="DIR",
        help="the sweep's folder, with a run's folder a cell; or a URL of fsspec, of which a copy is in SURE_CACHE. On "
        "a folder several sweeps may work at once; on a URL one, as far as can be told without locks",
    )
    parser.add_argument("--task", nargs="+", help="`sure tasks` lists them")
    parser.add_argument("--data_dir", nargs="+", metavar="DIR", help="a corpus for each task, or one for all")
    parser.add_argument("--backbone", nargs="+", help="as for `sure train`")
    parser.add_argument("--method", nargs="+", help="or all, every method of SURE (default)")
    parser.add_argument(
        "--budget", nargs="+", metavar="SIZE", help="as for `sure budget`; a method that no budget sizes runs once"
    )
    parser.add_argument("--learning_rate", nargs="+", metavar="RATE", help="of several the best on validation")
    parser.add_argument("--seed", nargs="+", help="the first is that of the comparison")
    parser.add_argument(
        "--select",
        choices=("halving", "grid", "optuna"),
        help="halving (default): one in --eta goes on, in rounds; grid: all train to the end; optuna: out of ranges",
    )
    parser.add_argument("--eta", help="of so many values one goes on (2)")
    parser.add_argument("--tries", help="compare no more than so many values")
    parser.add_argument("--attempts", type=positive, default=3, help="at a cell that fails (3)")
    parser.add_argument(
        "--cells_per_device",
        type=_cells,
        default="auto",
        metavar="NUMBER",
        help="cells at once on each GPU, or on the CPU (auto: as memory is estimated to allow; on the CPU one)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="run cells on a Ray cluster (auto, HOST:PORT or ray://HOST:PORT), with each node's own disk for caches; "
        "corpora are where every node finds them; checkpoints and records come back to --output_dir",
    )
    parser.add_argument("--slurm", action="store_true", help="run cells as jobs of Slurm; nodes share --output_dir")
    parser.add_argument(
        "--slurm_options",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="of submitit, such as partition=gpu array_parallelism=8 (timeout_min=60 gpus_per_node=1 cpus_per_task=4, "
        "mem_gb as estimated)",
    )
    parser.add_argument("--dry_run", action="store_true", help="print cells, parameters, estimated memory and time")
    return parser


def _run(study: Path | None, arguments: argparse.Namespace, settings: dict[str, Any]) -> None:
    from sure.sweep import remote, resolving
    from sure.sweep.state import States

    if arguments.ray and arguments.slurm:
        raise SureError("sure sweep: --ray or --slurm, not both.")
    if arguments.slurm_options and not arguments.slurm:
        raise SureError("sure sweep: --slurm_options are for --slurm.")
    if arguments.slurm and arguments.cells_per_device != "auto":
        raise SureError("sure sweep: with --slurm a job has one cell; --cells_per_device is not for it.")
    raw = resolving.read(study) if study else {}
    source = str(study or "sure sweep")
    raw |= {name: values for name in _LISTS if (values := getattr(arguments, name)) is not None}
    if settings:
        raw["settings"] = resolving.mapping(raw.get("settings"), f"{source}: settings") | settings
    select = {"by": arguments.select, "eta": arguments.eta, "tries": arguments.tries}
    if given := {name: value for name, value in select.items() if value is not None}:
        before = raw.get("select")
        before = {"by": before} if isinstance(before, str) else resolving.mapping(before, f"{source}: select")
        raw["select"] = before | given
    written = raw.pop("output_dir", None)
    if not isinstance(written, str | None):
        raise SureError(f"{source}: output_dir: {written!r} is no folder.")
    where = str(arguments.output_dir or written or f"out/{study.stem if study else 'sweep'}")
    if arguments.slurm and is_url(where):
        raise SureError(f"sure sweep: with --slurm nodes share --output_dir, a folder; {where} is none.")
    resolved = resolving.resolve(raw, source)
    state_of = States()
    if arguments.dry_run:
        with remote.looked_at(where) as (output_dir, _):
            _dry_run(resolved, output_dir, state_of, arguments.attempts)
        return
    with remote.worked_on(where) as (output_dir, changed):
        with _place(resolved, output_dir, state_of, arguments) as run:
            resolved.write(output_dir)
            _try_again(resolved, output_dir, state_of, arguments.attempts)
            if not (arguments.ray or arguments.slurm):
                _read_corpora(resolved, output_dir, state_of, arguments.attempts)
            _sweep(resolved, output_dir, run, arguments.attempts, state_of, where, changed)


@contextmanager
def _place(study: Any, output_dir: Path, state_of: Any, arguments: argparse.Namespace) -> Iterator[Callable]:
    """What runs cells where the flags say: of a study, its folder, attempts, states and who hears of ended steps."""
    if arguments.ray:
        from sure.sweep import ray

        cluster = ray.Cluster(arguments.ray)
        try:
            at_once = 1 if arguments.cells_per_device == "auto" else arguments.cells_per_device
            demand = cluster.demand(at_once, _largest(study, output_dir, state_of, arguments.attempts))
            yield lambda study, output_dir, *more: ray.run(study, output_dir, cluster, demand, *more)
        finally:
            cluster.close()
    elif arguments.slurm:
        from sure.runner.arguments import parse_options
        from sure.sweep import slurm

        options = parse_options(arguments.slurm_options, "--slurm_options")
        memory = _largest(study, output_dir, state_of, arguments.attempts)
        executor = slurm.Executor(output_dir, options, memory)
        yield lambda study, output_dir, *more: slurm.run(study, output_dir, executor, *more)
    else:
        from sure.sweep import local

        places = local.places(*_room(study, output_dir, state_of, arguments))
        yield lambda study, output_dir, *more: local.run(study, output_dir, places, *more)


def _try_again(study: Any, output_dir: Path, state_of: Any, attempts: int) -> None:
    """What did not apply when the sweep was last started is found out once more, which takes no training."""
    from sure.sweep import running, schedule

    for question in study.questions:
        for cell in schedule.refused(question, output_dir, state_of, attempts):
            running.try_again(cell)


def _read_corpora(study: Any, output_dir: Path, state_of: Any, attempts: int) -> None:
    """Raises `SureError` for a corpus that is not there, which every one of its cells would say otherwise."""
    from sure.runner.arguments import parse
    from sure.sweep.schedule import next_steps

    read = set()
    for step in next_steps(study, output_dir, state_of, attempts):
        run, _ = parse(step.cell.command(), "sure train")
        corpus = run.task, *run.task_options, run.data_dir
        if corpus not in read:
            run.make_task().load(Path(run.data_dir))
            read.add(corpus)


def _largest(study: Any, output_dir: Path, state_of: Any, attempts: int) -> int | None:
    """Bytes that the largest cell takes, as estimated; None where one is not known, or corpora are not here."""
    from sure.sweep.estimate import Estimates

    estimates = Estimates(output_dir, state_of, attempts)
    try:
        known = [estimates.of(question) for question in study.questions]
    except SureError:
        return None
    return _maximum(known)


def _maximum(known: list[Any]) -> int | None:
    if any(one.training_bytes is None and one.impossible is None for one in known):
        return None
    return max((one.training_bytes for one in known if one.training_bytes is not None), default=None)


def _sweep(
    study: Any, output_dir: Path, run: Callable, attempts: int, state_of: Any, where: str, changed: Callable[[], None]
) -> None:
    from tqdm import tqdm

    from sure.record import RESULT, Result
    from sure.sweep import progress

    now = (study, output_dir, state_of, attempts)
    with tqdm(total=progress.total(*now), initial=progress.ended(*now), unit="cell", desc=where) as bar:

        def ended(step: Any, outcome: str) -> None:
            changed()
            bar.n, bar.total = progress.ended(*now), progress.total(*now)
            if outcome == "finished":
                result = Result.read(step.cell.folder / RESULT)
                bar.set_postfix_str(f"{step.cell.name}: {progress.told(result)}")
            elif outcome not in ("paused", "in use"):
                bar.write(f"{step.cell.name}: {outcome}, see {step.cell.folder / 'log.txt'}")
            bar.refresh()

        try:
            run(study, output_dir, attempts, state_of, ended)
        except KeyboardInterrupt:
            bar.close()
            raise
    _print_end(progress.rows(*now), output_dir, where)


def _print_end(rows: list[Any], output_dir: Path, where: str) -> None:
    finished = [row for row in rows if row.score]
    print(
        f"{len(finished)} records of {len(rows)} cells, {_time(sum(row.training_seconds for row in rows))} of training."
    )
    for row in rows:
        if row.ended and not row.score and row.status != "not chosen":
            print(f"{row.cell}: {row.status}")
    print(f"Next:\n  sure leaderboard add {output_dir}/cells/*/result.json && sure leaderboard show")
    print(f"  sure sweep report {where}")


def _room(study: Any, output_dir: Path, state_of: Any, arguments: argparse.Namespace) -> tuple[int, int]:
    """GPUs, and cells at once on each, or on the CPU."""
    import torch

    from sure.sweep import local
    from sure.sweep.estimate import Estimates

    gpus = torch.cuda.device_count()
    if arguments.cells_per_device != "auto":
        return gpus, arguments.cells_per_device
    if not gpus:
        return 0, 1
    estimates = Estimates(output_dir, state_of, arguments.attempts)
    known = [estimates.of(question) for question in study.questions]
    largest = _maximum(known)
    beyond = max(
        estimates.beyond(question, one.training_bytes) for question, one in zip(study.questions, known, strict=True)
    )
    free = min(torch.cuda.mem_get_info(gpu)[0] for gpu in range(gpus))
    return gpus, local.cells_within(free, largest, beyond)


def _dry_run(study: Any, output_dir: Path, state_of: Any, attempts: int) -> None:
    from tabulate import tabulate

    from sure.sweep.estimate import Estimates
    from sure.sweep.progress import total
    from sure.sweep.schedule import work

    common = _common([question.name for question in study.questions])
    estimates, rows, seconds, notes = Estimates(output_dir, state_of, attempts), [], 0.0, []
    for question in study.questions:
        one = estimates.of(question)
        if one.impossible:
            notes.append(f"Does not apply: {question.name}: {one.impossible}")
        if one.seconds is not None:
            seconds += one.seconds * work(question)
        tried = len(question.candidates) or question.tries
        rows.append(
            [
                question.name.removeprefix(common),
                tried if tried > 1 else "",
                len(question.seeds),
                _number(one.trainable_parameters),
                _number(one.training_bytes and round(one.training_bytes / 1e6)),
                "" if one.seconds is None else f"{'' if one.measured else '~'}{_time(one.seconds)}",
            ]
        )
    headers = [f"{common}..." if common else "question", "tries", "seeds", "parameters", "memory, MB", "time of a cell"]
    print(tabulate(rows, headers=headers, colalign=["left"] + ["right"] * 5, disable_numparse=True))
    print(
        f"{total(study, output_dir, state_of, attempts)} cells; one after another about {_time(seconds)} of training."
    )
    print(
        "Parameters are those that train. Memory is an estimate for training in float32. Time is what cells of the\n"
        "same question have taken; ~: none has ended, and it is guessed from multiply-accumulates and how fast this\n"
        "machine, with nothing else to do, multiplies matrices."
    )
    sized = {question.settings["method"] for question in study.questions if _has_budget(question)}
    kept = sorted({question.settings["method"] for question in study.questions} - sized)
    if sized and kept:
        print(f"As they are, whatever the budget: {', '.join(kept)}.")
    for note in notes:
        print(note)


def _has_budget(question: Any) -> bool:
    return any(option.startswith("budget=") for option in question.settings.get("method_options", []))


def _status(argv: list[str]) -> None:
    """`sure sweep status`."""
    from sure.sweep import remote

    parser = argparse.ArgumentParser(prog="sure sweep status", description="Cells of a sweep, from its folder alone.")
    parser.add_argument("output_dir", metavar="DIR", help="the --output_dir of `sure sweep`, also a URL")
    parser.add_argument("--attempts", type=positive, default=3, help="as for `sure sweep`")
    arguments = parser.parse_args(argv)
    with remote.looked_at(arguments.output_dir) as (output_dir, _):
        _print_status(output_dir, arguments.attempts)


def _print_status(output_dir: Path, attempts: int) -> None:
    from tabulate import tabulate

    from sure.sweep import plan, progress
    from sure.sweep.state import States

    study = plan.Study.read(output_dir)
    now = (study, output_dir, States(), attempts)
    rows, common = progress.rows(*now), _common([question.name for question in study.questions])
    table = []
    for question in study.questions:
        own = [row for row in rows if row.question == question.name]
        if to_do := progress.not_begun(question, own):
            table.append([question.name.removeprefix(common), to_do, "", "", "", ""])
            continue
        for row in own:
            table.append(
                [
                    row.cell.removeprefix(common),
                    row.status,
                    f"{row.epochs:g} ({row.share:.0%})" if row.share else "",
                    "" if row.validation is None else f"{row.validation:.3f}",
                    row.score or "",
                    _seconds(row.training_seconds) if row.share else "",
                ]
            )
    headers = [f"{common}..." if common else "cell", "status", "epochs", "validation", "test [95 %]", "seconds"]
    align = ["left", "left", "right", "right", "left", "right"]
    widths = [None, 60, None, None, None, None]
    print(tabulate(table, headers=headers, disable_numparse=True, maxcolwidths=widths, colalign=align))
    left = progress.seconds_left(study, rows)
    running = sum(row.running for row in rows)
    print(
        f"{sum(row.ended for row in rows)} of {progress.total(*now)} cells ended, {running} running; "
        f"{_time(sum(row.training_seconds for row in rows))} of training so far"
        + (f", about {_time(left / max(1, running))} left." if left else ".")
    )


def _report(argv: list[str]) -> None:
    """`sure sweep report`."""
    from sure.files import writing
    from sure.sweep import remote, report
    from sure.sweep.state import States

    parser = argparse.ArgumentParser(
        prog="sure sweep report",
        description="What a sweep says, finished or not: which method is best at each budget, how it differs from the "
        "frozen probe and from full fine-tuning, and what it cost. Writes report.md, with plots, and report.html.",
    )
    parser.add_argument("output_dir", metavar="DIR", help="the --output_dir of `sure sweep`, also a URL")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where it is written (DIR/report)")
    parser.add_argument("--attempts", type=positive, default=3, help="as for `sure sweep`")
    arguments = parser.parse_args(argv)
    refuse_urls({"--output": arguments.output})
    with remote.looked_at(arguments.output_dir) as (output_dir, put):
        folder = arguments.output or output_dir / _REPORT
        found = report.report(output_dir, folder, States(), arguments.attempts)
        with writing(f"--output {folder}"):
            paths = report.write(found, folder)
        if not arguments.output:
            put(_REPORT)
    print(found.text())
    print(f"Report: {', '.join(map(str, paths))}")
    if is_url(arguments.output_dir) and not arguments.output:
        print(f"The same is in {arguments.output_dir}/{_REPORT}.")


def _settings(words: list[str]) -> dict[str, Any]:
    """Further flags: of one value what every run has, of several what is compared."""
    settings: dict[str, Any] = {}
    name = None
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.removeprefix("--").partition("=")
            settings[name] = [value] if equals else []
        elif name is None:
            raise SureError(f"sure sweep: {word!r}: a study is one file (`sure sweep --help`).")
        else:
            settings[name].append(word)
    return {name: values[0] if len(values) == 1 else values or True for name, values in settings.items()}


def _common(names: list[str]) -> str:
    """What all questions' names begin with, of task and backbone."""
    parts = [name.split("--") for name in names]
    same = list(takewhile(lambda of: len(set(of)) == 1, zip(*(one[:2] for one in parts), strict=False)))
    return "".join(f"{of[0]}--" for of in same) if len(names) > 1 else ""


def _seconds(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _time(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _cells(text: str) -> int | str:
    return text if text == "auto" else positive(text)
