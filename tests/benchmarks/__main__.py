"""Runs benchmarks, and writes down what they find: `results.json`, and from it the tables in `README.md`, beside this.

    python -m tests.benchmarks [NAME ...]    # `make bench`

Each runs in a process of its own, one after another; without names all that take minutes. What others found before
stays, with its date and machine. A corpus is where the variable of its name says, such as `EMODB=/data/emodb`; what
needs one that is not named is left out.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from tabulate import tabulate

from sure.files import write_atomically

RESULTS, README = (Path(__file__).with_name(name) for name in ("results.json", "README.md"))
# Between these the tables stand.
BEGIN, END = "<!-- tables of results.json -->", "<!-- end of tables -->"


class Benchmark(NamedTuple):
    """A module beside this one, whose `main` takes words of a command line and gives figures by what they are."""

    # Those with a $ before them are variables of the environment.
    words: str = ""
    minutes: bool = True
    # What it compares with and this package does not depend on.
    package: str | None = None

    @property
    def missing(self) -> list[str]:
        return [word[1:] for word in self.words.split() if word.startswith("$") and word[1:] not in os.environ]

    def given(self) -> list[str]:
        return [os.environ[word[1:]] if word.startswith("$") else word for word in self.words.split()]


# interval_coverage takes longer, and has its tables in leaderboard/README.md.
BENCHMARKS = {
    "runner_overhead": Benchmark(),
    "by_hand": Benchmark(),
    "against_speechbrain": Benchmark(package="speechbrain"),
    "frozen_cache": Benchmark("--task emodb_emotion --data_dir $EMODB --num_train_epochs 3"),
    "batch_seconds": Benchmark(),
    "precision": Benchmark(),
    "windows": Benchmark(),
    "scaling": Benchmark(),
    "board_scale": Benchmark(minutes=False),
    "sweep_kills": Benchmark("--ray", minutes=False),
    "sweep_cost": Benchmark("$EMODB", minutes=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    names = parser.parse_args().names or [name for name, one in BENCHMARKS.items() if one.minutes]
    for name in names:
        if name not in BENCHMARKS:
            parser.error(f"there is no {name}: {', '.join(BENCHMARKS)}")
    for name in names:
        one = BENCHMARKS[name]
        if one.missing:
            print(f"{name} is left out: say where its corpus is, {' '.join(f'{word}=...' for word in one.missing)}")
            continue
        if one.package and not importlib.util.find_spec(one.package):
            print(f"{name} is left out: pip install {one.package}")
            continue
        print(f"== {name}", flush=True)
        load = os.getloadavg()[0]
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            module = importlib.import_module(f"{__package__}.{name}")
            figures = pool.submit(module.main, one.given()).result()
        write({name: result(one, name, figures, load)})


def result(one: Benchmark, name: str, figures: dict[str, Any], load: float) -> dict[str, Any]:
    """What is written down; `load` is the machine's, of others, when it began."""
    return {
        "command": f"python -m tests.benchmarks.{name} {one.words}".strip(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine() | {"load before": round(load, 1)},
        "figures": figures,
    }


def machine() -> dict[str, Any]:
    import torch

    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        **({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}),
        "torch": torch.__version__,
    }


def _cpu() -> str:
    if sys.platform.startswith("linux"):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write(found: dict[str, dict[str, Any]]) -> None:
    """Into `results.json`, in place of what the same benchmarks found before, and all of it into `README.md`."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results |= found
    results = {name: results[name] for name in BENCHMARKS if name in results}
    write_atomically(RESULTS, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    write_atomically(README, f"{before}{BEGIN}\n\n{tables(results)}\n\n{END}{after}")


def tables(results: dict[str, dict[str, Any]]) -> str:
    return "\n\n".join(_table(name, one) for name, one in results.items())


def _table(name: str, one: dict[str, Any]) -> str:
    of = one["machine"]
    cores = f"{of['cores']} cores of {of['cpu']}, {of['threads']} threads"
    where = f"{one['date']}, {of.get('gpu') or cores}, PyTorch {of['torch']}, load {of['load before']} before"
    rows = [[what, _number(value)] for what, value in one["figures"].items()]
    table = tabulate(rows, ["figure", "value"], tablefmt="pipe", disable_numparse=True)
    return f"### {name}\n\n`{one['command']}`; {where}.\n\n{table}"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return str(value)


if __name__ == "__main__":
    main()
