"""The model card of an adapter, from its record: what it learnt on what, at which cost, how well, and how to use it.

Its metadata has the scores on test as the hub reads them (`model-index`): with the hub's names of tasks and metrics
where it has one, and shares as shares.
"""

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from sure.files import write_atomically
from sure.record import Result, Run, Score, shown

CARD = "README.md"

# By which a card is known as one that may be written anew.
_MARK = "<!-- Written by `sure train`, which replaces it; without this line it stays as it is. -->\n"

# Metrics that the hub has by another name.
_HUB_METRICS = {
    **dict.fromkeys(("word_error_rate", "recognised_word_error_rate"), "wer"),
    **dict.fromkeys(("character_error_rate", "slot_value_cer"), "cer"),
    **dict.fromkeys(("weighted_f1", "macro_f1", "slot_type_f1"), "f1"),
    "unweighted_average_recall": "recall",
}

ADAPTER = """\
An adapter, with its task head if it has one, trained by SURE, the Speech UndeRstanding Evaluation benchmark suite. The
backbone is not in this folder."""

_TEXT = """\
---
{metadata}
---
{mark}
# {method} on {backbone} for {task}

{what}

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

{selected} In brackets 95 % confidence intervals{intervals}.
{caveat}
## Use

{use}
"""

_USE = """\
```bash
sure predict --adapter {folder} {input}
```

In Python, `sure.task.trained.TrainedModel.load(Path("{folder}"))` has the task, the backbone and the adapted PEFT
model."""


def write_card(folder: Path, result: Result, hub_task: str, voices: Sequence[str] = ()) -> None:
    """Write the card of a complete run beside its adapter, unless there is one that somebody else wrote.

    `hub_task` is what the hub calls such a task, `voices` in which it speaks.
    """
    path = folder / CARD
    if not path.exists() or _MARK in path.read_text(encoding="utf-8", errors="replace"):
        text = card(
            result,
            hub_task,
            folder.name,
            what=f"{ADAPTER} `result.json` has every setting, score and version.",
            use=usage(folder.name, voices),
            mark=_MARK,
            intervals="; `result.json` says how they were made",
        )
        write_atomically(path, text)


def usage(folder: str, voices: Sequence[str] = ()) -> str:
    """How an adapter in a folder of this name is used; one that speaks has `voices`."""
    speaker = f"--speaker {shlex.quote(voices[0])} " if len(voices) > 1 else ""
    text = f'{speaker}--text "Something to say." --output said.wav'
    return _USE.format(folder=folder, input=text if voices else "recording.wav")


def _selected(result: Result) -> str:
    """What of the training is tested."""
    arguments = result.run.arguments
    if arguments.get("eval_strategy") == "no" or not arguments.get("load_best_model_at_end", True):
        return "They are of the end of the training."
    metric = (arguments.get("metric_for_best_model") or result.metric).removeprefix("eval_")
    which = "The first metric" if metric == result.metric else f"`{metric}`"
    return f"{which} selected the checkpoint, on validation."


def caveat(runs: Iterable[Run]) -> str:
    """What runs on synthetic recordings or random weights do not say; empty where there is none of these."""
    runs = list(runs)
    parts = ["the recordings are synthetic"] * any(run.data.synthetic for run in runs)
    parts += ["the backbone has random weights"] * any(not run.backbone.pretrained for run in runs)
    if not parts:
        return ""
    return f"{' and '.join(parts)}; these scores say nothing about methods on real recordings or pretrained models."


def card(
    result: Result,
    hub_task: str,
    name: str,
    *,
    what: str,
    use: str,
    mark: str = "",
    intervals: str = "",
    dataset: str | None = None,
    **metadata: str | None,
) -> str:
    """The whole text. `what` says what the folder holds, `use` how to use it; `dataset` is the hub's id of the corpus.

    `metadata` are further fields of the hub's, such as `license`.
    """
    run, cost = result.run, result.cost
    without_head = cost.trainable_parameters - cost.head_parameters
    unsaid = caveat([run])
    known = ModelCardData(
        **{"library_name": "peft"} | metadata,
        base_model=run.backbone.name if on_hub(run) else None,
        pipeline_tag=hub_task,
        datasets=dataset,
        tags=["speech", "sure", run.task, run.method.name, *(["synthetic"] if run.data.synthetic else [])],
        model_name=name,
        eval_results=_hub_results(result, hub_task, dataset),
    )
    return _TEXT.format(
        metadata=known.to_yaml(),
        mark=mark,
        what=what,
        use=use,
        selected=_selected(result),
        intervals=intervals,
        caveat=f"\n**{unsaid[0].upper()}{unsaid[1:]}**\n" if unsaid else "",
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


def on_hub(run: Run) -> bool:
    """Whether the backbone came from the hub."""
    # A commit is the hub's; weights of a folder have a longer digest.
    return re.fullmatch("[0-9a-f]{40}", run.backbone.revision) is not None


def with_interval(metric: str, score: Score) -> str:
    """`weighted f1, 95 % interval 0.430 to 0.590`; a score in the hub's metadata has no field for one."""
    low, high = (shown(end, score.value) for end in (score.low, score.high))
    interval = f", 95 % interval {low} to {high}" if score.determined else ""
    return metric.replace("_", " ") + interval


def _hub_results(result: Result, hub_task: str, dataset: str | None) -> list[EvalResult]:
    run = result.run
    return [
        EvalResult(
            task_type=hub_task,
            task_name=run.task,
            dataset_type=dataset or run.task,
            dataset_name=run.task + (", synthetic speech" if run.data.synthetic else ""),
            dataset_split=evaluation,
            dataset_args={"fingerprint": run.data.fingerprint},
            metric_type=_HUB_METRICS.get(metric, metric),
            metric_name=with_interval(metric, score),
            metric_value=score.value,
        )
        for evaluation, scores in result.scores.items()
        if evaluation != "validation"
        for metric, score in scores.items()
    ]


def _options(arguments: dict, name: str) -> str:
    given = arguments.get(name)
    return f"({', '.join(map(str, given))})" if given else ""


def _scores(result: Result) -> str:
    metrics = list(next(iter(result.scores.values())))
    lines = [f"| | {' | '.join(name.replace('_', ' ') for name in metrics)} |", "| --- " * (len(metrics) + 1) + "|"]
    for evaluation, scores in result.scores.items():
        lines.append(f"| {evaluation} | {' | '.join(map(str, scores.values()))} |")
    return "\n".join(lines)
