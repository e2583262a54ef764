"""One run from start to finish: corpus, backbone, method, training, scores, record.

sure train --task emodb_emotion --data_dir DATA/emodb --method lora --output_dir out/lora
torchrun --standalone --nproc_per_node 4 -m sure.train ...the same
"""

import copy
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from datasets import DatasetDict
from peft import PeftModel
from transformers import set_seed

from sure import budget, registry
from sure.backbone import loading
from sure.backbone.frozen import normalises_by_batch
from sure.corpus import cache
from sure.corpus.folders import is_synthetic
from sure.errors import SureError
from sure.files import locked, write_atomically, writing
from sure.method import applying, by_name, saved
from sure.record import (
    RESULT,
    RUN,
    BackboneInfo,
    Cached,
    Cost,
    Data,
    MethodInfo,
    Result,
    Run,
    Selection,
    SplitSize,
    plugins,
    write_predictions,
)
from sure.record.card import write_card
from sure.record.learning_curve import learning_curve
from sure.record.provenance import device_name, now, provenance
from sure.record.samples import write_samples
from sure.runner.arguments import RunArguments, TrainerArguments, parse, parse_options, settings
from sure.runner.batches import Collator, Utterances
from sure.runner.checkpoints import locate_best, newest_checkpoint, stopped_early
from sure.runner.folder import as_json, completed, discard, failure_recorded, refuse_what_changed
from sure.runner.frozen import cache_frozen
from sure.runner.trainer import BenchmarkTrainer, Pause, Paused, callbacks, refuse_unusable, steps
from sure.task import Task
from sure.task.scoring import interval, score_with_intervals

# Schedules that look at the metric of validation, and take the lower for the better by themselves.
_BY_METRIC = ("reduce_lr_on_plateau", "greedy")

_log = logging.getLogger("sure")


def main(argv: list[str] | None = None, prog: str = "sure train") -> Result:
    """Parse a command line and train; also understands the command line of SURE's release."""
    from sure.runner import legacy

    argv = sys.argv[1:] if argv is None else argv
    return train(*parse(legacy.translate(argv), prog))


class Progress(NamedTuple):
    """How far a run that paused has come."""

    # Of all steps that there are; 1 where training stopped early.
    share: float
    epochs: float
    # The best so far, by the metric that selects the checkpoint; None where nothing was evaluated.
    validation: float | None
    training_seconds: float


class Shared:
    """What the runs of one process have in common: the corpus that was read last, decoded, and the backbone."""

    def __init__(self) -> None:
        self.backbone = loading.Kept()
        self._key: str | None = None

    def corpus(self, run: RunArguments, task: Task) -> tuple[Task, DatasetDict]:
        """The task, loaded, and its splits. Raises as `Task.load`."""
        names = ("task", "task_options", "data_dir", "max_seconds", "cache_dir")
        key = json.dumps([getattr(run, name) for name in names])
        if key != self._key:
            self._key = self._decoded = None
            self._splits, self._task = task.load(Path(run.data_dir)), task
            self._key = key
        # Training may teach a task something.
        return copy.deepcopy(self._task), self._splits

    def decoded(self, run: RunArguments) -> tuple[DatasetDict, str]:
        """The splits of the corpus with their waveforms, and its fingerprint."""
        self._decoded = self._decoded or _decoded(run, self._task, self._splits)
        return self._decoded


def train(
    run: RunArguments,
    args: TrainerArguments,
    *,
    until: float | None = None,
    selection: Selection | None = None,
    shared: Shared | None = None,
    locked_already: bool = False,
) -> Result | Progress:
    """Train, or resume, or give the record of a run that is already complete.

    `until`: pause at the first checkpoint from this share of all steps on, score no test and leave no record, so that
    the same run can go on. `selection`: how its settings were chosen, for the record. `shared`: what it has in common
    with other runs of the process. `locked_already`: nobody else can write into the output folder.

    Writes into `args.output_dir`: the adapter with its head, `run.json`, checkpoints, TensorBoard logs,
    `predictions-<split>.jsonl` and last `result.json`. Raises `SureError` for anything a user can put right.
    """
    # Several GPUs in one process would be torch's DataParallel, which is slower and splits batches unseen.
    args._n_gpu = min(args.n_gpu, 1)
    output_dir = Path(args.output_dir)
    task = run.make_task()
    task.refuse_cuts(run.max_seconds)
    _settle(run, args, task)
    refuse_unusable(args)
    by_name.config_class(run.method)
    task, splits = shared.corpus(run, task) if shared else (task, task.load(Path(run.data_dir)))
    # The other processes of a run write where its main process does.
    alone = args.process_index or locked_already
    with nullcontext() if alone else locked(output_dir, f"--output_dir {output_dir}", wait=False):
        return _train(run, args, task, splits, until, selection, shared)


def _decoded(run: RunArguments, task: Task, splits: DatasetDict) -> tuple[DatasetDict, str]:
    splits = cache.decode(
        splits,
        cache_dir=Path(run.cache_dir) if run.cache_dir else None,
        max_seconds=run.max_seconds,
        workers=run.preprocessing_workers,
    )
    return splits, cache.fingerprint(splits, task.trials)


def _train(
    run: RunArguments,
    args: TrainerArguments,
    task: Task,
    splits: DatasetDict,
    until: float | None,
    selection: Selection | None,
    shared: Shared | None,
) -> Result | Progress | None:
    """Decode and train; the main process gives the record."""
    started, output_dir = now(), Path(args.output_dir)
    splits, fingerprint = shared.decoded(run) if shared else _decoded(run, task, splits)
    chosen = settings(run, args) | {"data_fingerprint": fingerprint}
    done = completed(output_dir, run, args, chosen)
    if done:
        _log.warning("%s is complete; --restart True trains again.", output_dir / RESULT)
        return done

    set_seed(args.seed)
    backbone = loading.load(
        run.backbone,
        run.backbone_revision,
        options=parse_options(run.backbone_options, "--backbone_options"),
        head=task.with_head,
        kept=shared.backbone if shared else None,
    )
    config = applying.configure(run.method, backbone, parse_options(run.method_options, "--method_options"))
    seed = args.seed if args.data_seed is None else args.data_seed
    training = Utterances(splits["train"], task.augment if task.augments else None, seed)
    accompanying = applying.callbacks(config, lambda: steps(args, len(training)))
    evaluations = {
        name: Utterances.longest_first(splits[split], seconds) for name, (split, seconds) in task.evaluations().items()
    }
    model = task.build_model(backbone)
    if args.should_log:
        for warning in task.warnings(backbone, splits):
            _log.warning(warning)
    if run.class_weights == "balanced":
        task.weigh_labels(model, training.rows)
    model = applying.apply(model, config)
    args.label_names = list(task.targets(training.rows[:1]))
    record = Run(
        task=task.name,
        task_options=dataclasses.asdict(task),
        data=_data(run, task, splits, fingerprint),
        backbone=BackboneInfo(
            name=backbone.name,
            family=backbone.family(),
            revision=backbone.revision,
            pretrained=backbone.pretrained,
            options=backbone.options_given(),
        ),
        method=MethodInfo(name=run.method, config=as_json(config.to_dict())),
        seed=args.seed,
        arguments=as_json(args.to_dict()) | chosen,
        plugins=plugins.took_part(
            ("task", task.name),
            *(("method", name) for name in dict.fromkeys((run.method, *by_name.parts_of(run.method)))),
            ("backbone", backbone.family()),
            *(("metric", name) for name in task.metrics),
        ),
    )
    # Only now, for whatever a user can mistake has been found above.
    if run.restart:
        discard(output_dir, args)
    refuse_what_changed(output_dir, record)
    if args.should_save:
        with writing(output_dir / RUN):
            write_atomically(output_dir / RUN, record.model_dump_json(indent=2) + "\n")

    with failure_recorded(args, output_dir, record, task.metric, started):
        trainer = BenchmarkTrainer(
            task,
            Collator(task, backbone),
            training,
            evaluations["validation"],
            model=model,
            args=args,
            callbacks=[
                *callbacks(run.early_stopping_patience),
                *accompanying,
                *([] if until is None else [Pause(until)]),
            ],
        )
        # Of a model in parts no process can save or measure the whole.
        whole = copy.deepcopy(model) if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled else model
        if trainer.room and args.should_log:
            _warn_of_batches(trainer, training, list(evaluations.values()))
        cached = cache_frozen(model, training, list(evaluations.values()), run, args)
        try:
            _train_or_resume(trainer, output_dir, until)
        except Paused:
            trainer.callback_handler.on_train_end(args, trainer.state, trainer.control)
            trainer.report({})
            state, early = trainer.state, stopped_early(newest_checkpoint(output_dir))
            share = 1.0 if early else state.global_step / state.max_steps
            return Progress(share, state.epoch or 0.0, state.best_metric, trainer.meter.training_seconds)
        trainer.calibrate(lambda: Utterances.longest_first(splits["train"]))
        rows = {
            name: trainer.predict_rows(utterances, keep=name != "validation")
            for name, utterances in evaluations.items()
        }
        if whole is not model:
            trainer.put_together(whole)
        result = None
        if args.should_save:
            result = _finish(trainer, whole, task, record, rows, cached, started, selection)
    # Of what is recorded a reporter that breaks makes no failure.
    trainer.report(_figures(result) if result else {})
    return result


def _settle(run: RunArguments, args: TrainerArguments, task: Task) -> None:
    """What the settings leave to the task. Raises `SureError` for those that do not go with it."""
    if run.early_stopping_patience is None:
        run.early_stopping_patience = 0 if args.eval_strategy == "no" else task.patience
    if run.early_stopping_patience and args.eval_strategy == "no":
        raise SureError("--early_stopping_patience needs evaluations: --eval_strategy epoch or steps.")
    if args.label_smoothing_factor and (not task.smoothable or run.class_weights != "none"):
        raise SureError(
            f"--label_smoothing_factor {args.label_smoothing_factor:g}: it would replace the loss of {task.name}; only "
            "tasks with one label an utterance have one to smooth, without --class_weights."
        )
    args.metric_for_best_model = args.metric_for_best_model or task.metric
    metric = args.metric_for_best_model.removeprefix("eval_")
    if metric not in task.metrics:
        raise registry.unknown(f"metric of {task.name} for --metric_for_best_model", metric, list(task.metrics))
    args.greater_is_better = task.metric_named(metric).higher_is_better
    if args.lr_scheduler_type in _BY_METRIC:
        mode = {"mode": "max" if args.greater_is_better else "min"}
        args.lr_scheduler_kwargs = mode | (args.lr_scheduler_kwargs or {})


def _warn_of_batches(trainer: BenchmarkTrainer, training: Utterances, evaluations: Sequence[Utterances]) -> None:
    """Of what `--max_batch_seconds` does not hold."""
    seconds = f"--max_batch_seconds {trainer.room.seconds:g}"
    longer = [*trainer.training_room.beyond(training), *chain(*map(trainer.room.beyond, evaluations))]
    if longer := list(dict.fromkeys(longer)):
        others = f", as have {len(longer) - 1} others" if len(longer) > 1 else ""
        _log.warning("%s: %s is longer and has a batch to itself%s.", seconds, longer[0], others)
    if any(normalises_by_batch(module) for module in trainer.model.train().modules()):
        _log.warning("%s: batches are normalised by themselves, so that scores depend on how they are cut.", seconds)


def _train_or_resume(trainer: BenchmarkTrainer, output_dir: Path, until: float | None) -> None:
    checkpoint = newest_checkpoint(output_dir)
    if checkpoint is None:
        trainer.train()
        return
    _log.warning("Resuming from %s.", checkpoint)
    with trainer.args.main_process_first(local=False):
        if trainer.args.should_save:
            locate_best(checkpoint)
    best = stopped_early(checkpoint)
    if best is None:
        trainer.train(resume_from_checkpoint=str(checkpoint))
        return
    # Killed between its last checkpoint and its record: another epoch could change the scores.
    tested = best if trainer.args.load_best_model_at_end else checkpoint
    trainer.model.load_adapter(str(tested), trainer.model.active_adapter)
    trainer.restore(checkpoint)
    if until is not None:
        raise Paused


def _finish(
    trainer: BenchmarkTrainer,
    model: PeftModel,
    task: Task,
    record: Run,
    rows: dict[str, list[dict[str, Any]]],
    cached: Cached | None,
    started: str,
    selection: Selection | None,
) -> Result:
    """Write the adapter, predictions and record of a trained model."""
    output_dir, device = Path(trainer.args.output_dir), trainer.args.device
    saved.before_saving(model)
    model.save_pretrained(output_dir)
    measured, meter = budget.measure(model), trainer.meter
    # A test split without references is predicted only.
    scored = {
        split: score_with_intervals(task, members)
        for split, members in rows.items()
        if all("reference" in row for row in members)
    }
    result = Result(
        status="complete",
        run=record,
        metric=task.metric,
        cost=Cost(
            trainable_parameters=measured.trainable_parameters,
            head_parameters=measured.head_parameters,
            total_parameters=measured.total_parameters,
            part_parameters=applying.part_parameters(model),
            trainable_share=measured.trainable_share,
            trainable_share_without_head=measured.trainable_share_without_head,
            adapter_bytes=(output_dir / "adapter_model.safetensors").stat().st_size,
            macs_per_second=measured.macs_per_second,
            training_seconds=meter.training_seconds,
            evaluation_seconds=meter.evaluation_seconds,
            cached=cached,
            samples_per_second=meter.utterances / meter.training_seconds if meter.training_seconds else 0.0,
            steps=trainer.state.global_step,
            epochs=trainer.state.epoch or 0.0,
            memory=meter.memory(device),
            device=device_name(device),
            processes=trainer.args.world_size,
        ),
        scores={split: of.scores for split, of in scored.items()},
        interval=interval(scored),
        predictions={
            split: write_predictions(output_dir / f"predictions-{split}.jsonl", members)
            for split, members in rows.items()
        },
        learning_curve=learning_curve(trainer.state.log_history, task.metric),
        samples=write_samples(output_dir, rows["test"]) if task.speaks else [],
        selection=selection,
        provenance=provenance(started),
    )
    write_card(output_dir, result, task.hub_task, task.voices if task.speaks else ())
    result.write(output_dir / RESULT)
    return result


def _figures(result: Result) -> dict[str, float]:
    """What a record says in numbers: by `test_<metric>` its scores with their intervals, then what they cost."""
    figures = {}
    for name, scores in result.scores.items():
        if name != "validation":
            for metric, score in scores.items():
                figures[f"{name}_{metric}"] = score.value
                if score.determined:
                    figures |= {f"{name}_{metric}_low": score.low, f"{name}_{metric}_high": score.high}
    cost = result.cost.model_dump()
    figures |= {name: value for name, value in cost.items() if isinstance(value, int | float)}
    if result.cost.memory:
        figures["memory_maximum"] = result.cost.memory.maximum
    return figures


def _data(run: RunArguments, task: Task, splits: DatasetDict, fingerprint: str) -> Data:
    return Data(
        fingerprint=fingerprint,
        synthetic=is_synthetic(Path(run.data_dir)),
        splits={
            name: SplitSize(
                utterances=len(split),
                seconds=sum(split["samples"]) / cache.SAMPLE_RATE,
                speakers=len(speakers) if None not in (speakers := set(split["speaker"])) else None,
            )
            for name, split in splits.items()
        },
        trials={name: len(trials) for name, trials in task.trials.items()} or None,
    )
