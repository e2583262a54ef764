"""The model card of an adapter, from its record: what it learnt on what, at which cost, how well, and how to use it."""

import re
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import ModelCardData

from sure.files import write_atomically
from sure.record import Result, Run

CARD = "README.md"

# By which a card is known as one that may be written anew.
_MARK = "<!-- Written by `sure train`, which replaces it; without this line it stays as it is. -->"

_TEXT = """\
---
{metadata}
---
{mark}

# {method} on {backbone} for {task}

An adapter, with its task head if it has one, trained by SURE, the Speech UndeRstanding Evaluation benchmark suite. The
backbone is not in this folder. `result.json` has every setting, score and version.

| | |
| --- | --- |
| task | {task} {task_options} |
| corpus | {splits}; fingerprint {fingerprint}{synthetic} |
| backbone | {backbone}, revision {revision}{untrained} |
| method | {method} {method_options} |
| trainable parameters | {trainable:,} ({share:.2%} of all); without the task head {method_parameters} |
| training | {steps:,} steps, {seconds:,.0f} s on {device}; seed {seed} |

## Scores

{scores}

The first metric selected the checkpoint, on validation. In brackets 95 % confidence intervals; `result.json` says how
they were made.

## Use

```bash
sure predict --adapter {folder} {input}
```

In Python, `sure.task.trained.TrainedModel.load("{folder}")` has the task, the backbone and the adapted PEFT model.
"""


def write_card(folder: Path, result: Result, speaks: bool) -> None:
    """Write the card of a complete run beside its adapter, unless there is one that somebody else wrote.

    `speaks` says that the adapter is given texts, not recordings.
    """
    path = folder / CARD
    if not path.exists() or _MARK in path.read_text(encoding="utf-8", errors="replace"):
        write_atomically(path, _card(folder.name, result, speaks))


def caveat(runs: Iterable[Run]) -> str:
    """What runs on synthetic recordings or random weights do not say; empty where there is none of these."""
    runs = list(runs)
    parts = ["the recordings are synthetic"] * any(run.data.synthetic for run in runs)
    parts += ["the backbone has random weights"] * any(not run.backbone.pretrained for run in runs)
    if not parts:
        return ""
    return f"{' and '.join(parts)}; these scores say nothing about methods on real recordings or pretrained models."


def _card(folder: str, result: Result, speaks: bool) -> str:
    run, cost = result.run, result.cost
    without_head = cost.trainable_parameters - cost.head_parameters
    # A commit is the hub's; weights of a folder have a longer digest.
    on_hub = re.fullmatch("[0-9a-f]{40}", run.backbone.revision)
    metadata = ModelCardData(
        library_name="peft",
        base_model=run.backbone.name if on_hub else None,
        tags=["speech", "sure", run.task, run.method.name, *(["synthetic"] if run.data.synthetic else [])],
    )
    return _TEXT.format(
        metadata=metadata.to_yaml(),
        mark=_MARK,
        folder=folder,
        input='--text "Something to say." --output said.wav' if speaks else "recording.wav",
        task=run.task,
        task_options=_options(run.arguments, "task_options"),
        splits=", ".join(
            f"{split.utterances:,} {name} utterances ({split.seconds / 3600:.2f} h)"
            for name, split in run.data.splits.items()
        ),
        fingerprint=run.data.fingerprint[:12],
        synthetic="; the recordings are synthetic" if run.data.synthetic else "",
        backbone=run.backbone.name,
        revision=run.backbone.revision[:12],
        untrained="" if run.backbone.pretrained else "; random weights, not pretrained",
        method=run.method.name,
        method_options=_options(run.arguments, "method_options"),
        trainable=cost.trainable_parameters,
        share=cost.trainable_share,
        method_parameters=f"{without_head:,} ({cost.trainable_share_without_head:.2%})"
        + "".join(f", {part} {size:,}" for part, size in cost.part_parameters.items()),
        steps=cost.steps,
        seconds=cost.training_seconds,
        device=cost.device,
        seed=run.seed,
        scores=_scores(result),
    )


def _options(arguments: dict, name: str) -> str:
    given = arguments.get(name)
    return f"({', '.join(map(str, given))})" if given else ""


def _scores(result: Result) -> str:
    metrics = list(next(iter(result.scores.values())))
    lines = [f"| | {' | '.join(name.replace('_', ' ') for name in metrics)} |", "| --- " * (len(metrics) + 1) + "|"]
    for evaluation, scores in result.scores.items():
        lines.append(f"| {evaluation} | {' | '.join(map(str, scores.values()))} |")
    return "\n".join(lines)
