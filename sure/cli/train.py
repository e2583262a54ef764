"""`sure train`."""

import os
import shlex
from pathlib import Path


def train(argv: list[str], prog: str) -> None:
    """What `sure train` and `python -m sure.train` do: train, then print the scores (the main process does)."""
    from sure.runner.run import main as train_main

    result = train_main(argv, prog)
    # Of a run that is complete already, every process has the record.
    if result is not None and os.environ.get("RANK", "0") == "0":
        _print_result(result)
        _print_next(result)


def _print_result(result) -> None:
    from tabulate import tabulate

    from sure.record.card import caveat

    rows = [
        [
            split,
            name,
            f"{score.value:.4f}",
            f"{score.low:.4f} to {score.high:.4f}" if score.determined else "no interval",
        ]
        for split, scores in result.scores.items()
        for name, score in scores.items()
    ]
    print(tabulate(rows, headers=["split", "metric", "score", "95 % interval"]))
    for split in sorted(result.predictions.keys() - result.scores.keys()):
        print(f"{split}: predicted, not scored: the split has no references.")
    cost = result.cost
    parts = "".join(f", {size:,} {part}'s" for part, size in cost.part_parameters.items())
    print(
        f"{cost.trainable_parameters:,} trainable parameters ({cost.trainable_share:.2%} of all), of them "
        f"{cost.head_parameters:,} in the head{parts}; {cost.training_seconds:.0f} s of training."
    )
    if result.run.arguments["learning_rate"] == 0:
        print("Note: the learning rate was 0: nothing was trained.")
    if unsaid := caveat([result.run]):
        print(f"Note: {unsaid}")


def _print_next(result) -> None:
    from sure.record import RESULT
    from sure.task import make_task

    folder = Path(result.run.arguments["output_dir"])
    task = make_task(result.run.task, result.run.task_options)
    new = "RECORDING ..."
    if task.speaks:
        speaker = f"--speaker {shlex.quote(task.voices[0])} " * (len(task.voices) > 1)
        new = f'{speaker}--text "A good day." --output said.wav'
    adapter, record = shlex.quote(str(folder)), shlex.quote(str(folder / RESULT))
    print(f"Record: {record}. Next:\n  sure predict --adapter {adapter} {new}")
    print(f"  sure leaderboard add {record} && sure leaderboard show")
