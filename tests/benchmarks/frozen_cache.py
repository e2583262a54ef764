"""What it spares to compute frozen parts once: seconds of this process's CPU, with and without, in one run.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.frozen_cache --task emodb_emotion --data_dir DATA/emodb

Every method trains three times, with all flags of `sure train` that follow: without the cache, with an empty one, and
with what the second run has left. Prints the seconds of training with its evaluations, those of computing what is
frozen, and the largest difference between scores.
"""

import argparse
import logging
import tempfile
import time

from sure.runner import run

METHODS = ("linear_probe", "weighted_sum_probe", "lora", "conv_adapter")


def main(words: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    arguments, flags = parser.parse_known_args(words)
    logging.basicConfig(format="%(message)s")
    seconds: dict[str, float] = {}
    figures: dict[str, float] = {}
    for name in ("cache_frozen", "_train_or_resume"):
        setattr(run, name, timed(getattr(run, name), name, seconds))
    with tempfile.TemporaryDirectory() as folder:
        for method in arguments.methods:
            taken, scores = [], []
            for gigabytes, output in ((0, "computed"), (20, "first"), (20, "again")):
                run_words = [*flags, "--method", method, "--cache_dir", f"{folder}/cache", "--report_to", "none"]
                run_words += ["--cache_frozen", str(gigabytes), "--output_dir", f"{folder}/{method}-{output}"]
                result = run.main([*run_words, "--disable_tqdm", "True"])
                taken.append(dict(seconds))
                scores.append([score.value for split in result.scores.values() for score in split.values()])
            without, first, again = (one["_train_or_resume"] for one in taken)
            computing = taken[1]["cache_frozen"]
            difference = max(abs(one - other) for one, other in zip(scores[0], scores[2], strict=True))
            print(
                f"{method}: {without:.2f} s without; {first:.2f} and {computing:.2f} to compute it at first; then "
                f"{again:.2f}: {without / again:.2f} times as fast, {without / (first + computing):.2f} in all; "
                f"scores differ by {difference:.1e}",
                flush=True,
            )
            figures |= {
                f"{method}: training, not cached / cached": without / again,
                f"{method}: the same with computing what is cached": without / (first + computing),
                f"{method}: largest difference of a score": difference,
            }
    return figures


def timed(function, name: str, seconds: dict[str, float]):
    def call(*args, **kwargs):
        started = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[name] = time.process_time() - started

    return call


if __name__ == "__main__":
    main()
