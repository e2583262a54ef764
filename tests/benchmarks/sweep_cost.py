"""What an answer costs: `sure sweep` with its selection against every cell of the grid run one by one, in CPU seconds.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.sweep_cost DATA/emodb --epochs 4 --max_seconds 2

Eight methods, two of them probes, learning rates and seeds on `sure-mini`. The sweep runs once for all methods and once
for the probes alone. Of the grid the first seed's cells run, each as a process of `sure train` without a cache of
frozen parts, as far as `--share` of the grid goes, the chosen rates' before others. A cell costs with another seed or
rate what it costs with this one, so their mean is scaled up, for each method by itself. The cells of `--cached` rates
run with the cache, too, which they share.

CPU seconds are user and system time of all processes that a command started. What is measured is kept in
`OUTPUT_DIR/measured.json` as it goes; the same command goes on where it was killed.
"""

import argparse
import ctypes
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from tabulate import tabulate

from sure.files import write_atomically
from sure.leaderboard.comparison import Sample, compare
from sure.record import RESULT, Result, read_predictions
from sure.task import make_task
from sure.task.scoring import Prepared, paired_draws

PROBES = ("linear_probe", "weighted_sum_probe")
METHODS = (*PROBES, "lora", "conv_adapter", "bottleneck_adapter", "prefix_tuning", "bitfit", "full_finetuning")
RATES = ("5e-4", "2e-3", "5e-3", "1e-2")

# prctl's: processes that lose their parents become ours, so that their time is counted.
_PR_SET_CHILD_SUBREAPER = 36

_ONE_BY_ONE, _CACHED = "one by one", "one by one, frozen parts cached"


def main(words: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", help="EmoDB")
    parser.add_argument("--epochs", default="4", help="passes over the training split (default: 4)")
    parser.add_argument("--max_seconds", default="2", help="of each utterance (default: 2)")
    parser.add_argument("--seeds", nargs="+", default=["1", "2", "3"])
    parser.add_argument("--share", type=float, default=1 / 3, help="of the grid's cells, those that run (default: 1/3)")
    parser.add_argument("--cached", type=int, default=2, help="rates that run with the cache, too (default: 2)")
    parser.add_argument("--output_dir", type=Path, default=Path("out/sweep_cost"))
    arguments = parser.parse_args(words)
    measure(arguments)
    found = figures(arguments.output_dir)
    print(report(found))
    return flat(found)


def measure(arguments: argparse.Namespace) -> None:
    """Run what has not been run, and write down what it took."""
    path = arguments.output_dir / "measured.json"
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    flags = ["--task", "emodb_emotion", "--data_dir", arguments.data_dir, "--backbone", "sure-mini"]
    flags += ["--num_train_epochs", arguments.epochs, "--max_seconds", arguments.max_seconds]
    flags += ["--report_to", "none", "--disable_tqdm", "True", "--use_cpu", "True"]
    settings = {"flags": flags, "seeds": arguments.seeds, "rates": RATES, "methods": METHODS}
    settings = json.loads(json.dumps(settings))
    measured = json.loads(path.read_text()) if path.exists() else {"settings": settings, "seconds": {}}
    if measured["settings"] != settings:
        sys.exit(f"{path} is of other settings: choose another --output_dir.")
    _adopt_orphans()

    def once(kind: str, name: str, command: Callable[[Path], list[str]]) -> None:
        of_kind = measured["seconds"].setdefault(kind, {})
        if name in of_kind:
            return
        folder = _folder(arguments.output_dir, kind, name)
        shutil.rmtree(folder, ignore_errors=True)
        of_kind[name] = _cpu_seconds(command(folder), folder.with_suffix(".log"))
        write_atomically(path, json.dumps(measured, indent=1) + "\n")
        print(f"{kind}, {name}: {of_kind[name]:.1f} CPU seconds", flush=True)

    def sweep(methods: Sequence[str], cache: str) -> Callable[[Path], list[str]]:
        words = ["sweep", *flags, "--method", *methods, "--learning_rate", *RATES, "--seed", *arguments.seeds]
        return lambda folder: [*words, "--cache_dir", str(arguments.output_dir / cache), "--output_dir", str(folder)]

    def cell(method: str, rate: str, cached: bool) -> Callable[[Path], list[str]]:
        words = ["train", *flags, "--method", method, "--learning_rate", rate, "--seed", arguments.seeds[0]]
        words += [] if cached else ["--cache_frozen", "0"]
        cache = "cache-cached" if cached else "cache-grid"
        return lambda folder: [*words, "--cache_dir", str(arguments.output_dir / cache), "--output_dir", str(folder)]

    # Each with a cache of its own, which is empty at first.
    once("sweep", "all", sweep(METHODS, "cache-all"))
    once("sweep", "probes", sweep(PROBES, "cache-probes"))
    # Those that the sweep chose come first, and can be compared with its records.
    first = [(method, _chosen(arguments.output_dir, method, arguments.seeds[0])[0]) for method in METHODS]
    others = [(method, rate) for method in METHODS for rate in RATES if (method, rate) not in first]
    for method, rate in [*first, *others][: round(arguments.share * len(METHODS) * len(RATES) * len(arguments.seeds))]:
        once(_ONE_BY_ONE, f"{method} {rate}", cell(method, rate, cached=False))
    for rate in RATES[: arguments.cached]:
        for method in METHODS:
            once(_CACHED, f"{method} {rate}", cell(method, rate, cached=True))


def figures(output_dir: Path) -> dict[str, Any]:
    """What was measured so far: costs, ratios, and what was chosen beside the grid's best."""
    measured = json.loads((output_dir / "measured.json").read_text())
    seconds, settings = measured["seconds"], measured["settings"]
    found: dict[str, Any] = {"cells": len(METHODS) * len(RATES) * len(settings["seeds"])}
    for name, methods in (("all", METHODS), ("probes", PROBES)):
        of = found[name] = {"sweep": seconds["sweep"][name]}
        for kind in (_ONE_BY_ONE, _CACHED):
            if (whole := _grid(seconds.get(kind, {}), methods, len(settings["seeds"]))) is not None:
                of[kind] = whole
                of[f"{kind} / sweep"] = whole / of["sweep"]
    found["cells run one by one"] = len(seconds.get(_ONE_BY_ONE, {}))
    found |= _choices(output_dir, settings["seeds"][0])
    return found


def flat(found: dict[str, Any]) -> dict[str, Any]:
    """One figure a line."""
    counted = f"{found['cells run one by one']} of {found['cells']}"
    lines: dict[str, Any] = {"cells of the grid that were run one by one": counted}
    for name in ("all", "probes"):
        for what, value in found[name].items():
            lines[f"{name}: {what}" if " / " in what else f"{name}: {what}, CPU seconds"] = value
    for method, of in found["choices"].items():
        lines[f"{method}: chosen and the grid's best rate"] = f"{of['chosen']}, {of['best']}"
        lines[f"{method}: the chosen rate's validation score less the best's"] = of["difference"]
    if "mean difference" in found:
        lines["mean of these differences"] = found["mean difference"]
    return lines | {"largest difference of a score to the same cell run alone": found["scores differ by"]}


def report(found: dict[str, Any]) -> str:
    rows = [
        [name, *(f"{of[kind]:.0f}" if kind in of else "" for kind in ("sweep", _ONE_BY_ONE, _CACHED))]
        + [f"{of[f'{kind} / sweep']:.1f}" if kind in of else "" for kind in (_ONE_BY_ONE, _CACHED)]
        for name, of in ((name, found[name]) for name in ("all", "probes"))
    ]
    headers = ["methods", "sweep, CPU s", "one by one", "cached", "one by one / sweep", "cached / sweep"]
    text = tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
    text += f"\n\n{found['cells run one by one']} of the grid's {found['cells']} cells were run one by one.\n\n"
    rows = [
        [method, of["chosen"], f"{of['validation']:.3f}", of["best"], f"{of['its validation']:.3f}", of["difference"]]
        for method, of in found["choices"].items()
    ]
    headers = ["method", "chosen", "validation", "the grid's best", "its validation", "difference"]
    text += tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
    if "mean difference" in found:
        text += f"\n\nMean difference: {found['mean difference']}."
    return text + f" Largest difference of a score to the same cell run alone: {found['scores differ by']:.1e}."


def _grid(seconds: dict[str, float], methods: Sequence[str], seeds: int) -> float | None:
    """Of some methods with all rates and seeds: the first cell as it was, which fills caches, others at their mean."""
    total = 0.0
    for method in methods:
        first, *later = [taken for name, taken in seconds.items() if name.split()[0] == method] or [None]
        if first is None:
            return None
        total += first + (len(RATES) * seeds - 1) * mean(later or [first])
    return total


def _choices(output_dir: Path, seed: str) -> dict[str, Any]:
    """The chosen rate's run and the best of the grid's, on validation, with the first seed."""
    task = make_task("emodb_emotion", {})
    choices, pairs, apart = {}, [], [0.0]
    for method in METHODS:
        alone = {}
        for rate in RATES:
            folder = _folder(output_dir, _ONE_BY_ONE, f"{method} {rate}")
            if (folder / RESULT).exists():
                alone[rate] = folder
        rate, chosen = _chosen(output_dir, method, seed)
        if rate in alone:
            apart.append(_apart(Result.read(chosen / RESULT), Result.read(alone[rate] / RESULT)))
        if len(alone) < len(RATES):
            continue
        best = max(alone, key=lambda rate: _validation(task, alone[rate]))
        both = [Prepared.of(task, _rows(folder), [task.metric]) for folder in (chosen, alone[best])]
        scores = [_validation(task, folder) for folder in (chosen, alone[best])]
        pairs.append((both, scores))
        difference = _difference([(both, scores)], task.metric)
        choices[method] = {
            "chosen": rate,
            "validation": scores[0],
            "best": best,
            "its validation": scores[1],
            "difference": difference,
        }
    found = {"choices": choices, "scores differ by": max(apart)}
    return found | ({"mean difference": _difference(pairs, task.metric)} if pairs else {})


def _chosen(output_dir: Path, method: str, seed: str) -> tuple[str, Path]:
    """The rate that the sweep has chosen for a method, and the folder of its run with that seed."""
    for path in (_folder(output_dir, "sweep", "all") / "cells").glob(f"*/{RESULT}"):
        run = Result.read(path).run
        if run.method.name == method and run.seed == int(seed):
            return next(rate for rate in RATES if float(rate) == run.arguments["learning_rate"]), path.parent
    raise SystemExit(f"{output_dir}: the sweep has no record of {method}.")


def _difference(pairs: list[tuple[list[Prepared], list[float]]], metric: str) -> str:
    """Of the mean over some pairs, with a 95 % interval from draws of the same rows for all."""
    sampling, drawn = paired_draws([prepared for both, _ in pairs for prepared in both])
    means = [np.mean([of[metric] for of in drawn[side::2]], axis=0) for side in (0, 1)]
    scores = [mean(scores[side] for _, scores in pairs) for side in (0, 1)]
    samples = [Sample.of_draws("rows", sampling, draws, [score]) for draws, score in zip(means, scores, strict=True)]
    return str(compare(scores, samples).of(0, 1))


def _rows(folder: Path) -> list[dict[str, Any]]:
    return read_predictions(folder, Result.read(folder / RESULT).predictions["validation"])


def _validation(task: Any, folder: Path) -> float:
    return Result.read(folder / RESULT).scores["validation"][task.metric].value


def _apart(one: Result, other: Result) -> float:
    return max(
        abs(score.value - other.scores[split][name].value)
        for split, scores in one.scores.items()
        for name, score in scores.items()
    )


def _folder(output_dir: Path, kind: str, name: str) -> Path:
    return output_dir / kind.replace(" ", "-").replace(",", "") / name.replace(" ", "-")


def _adopt_orphans() -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        sys.exit("Orphans' time cannot be counted here: this needs Linux.")


def _cpu_seconds(words: list[str], log: Path) -> float:
    """Of a command of `sure`, and of all processes that it starts, whether or not it waits for them."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "sure", *words]
    with log.open("w") as said:
        print(shlex.join(command), file=said, flush=True)
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    seconds = 0.0
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return seconds
        seconds += usage.ru_utime + usage.ru_stime
        if pid == process.pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                sys.exit(f"{shlex.join(command)} failed, see {log}.")


if __name__ == "__main__":
    main()
