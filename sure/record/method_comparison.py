"""A record as the results of PEFT's method comparison are written, for its Space.

The form is that of `log_results` in method_comparison/MetaMathQA/utils.py of github.com/huggingface/peft, at commit
0134244 (2026). What a record does not know is null. Their memory is what an accelerator has reserved; a record has what
was allocated, which `meta_info` says, and of a CPU nothing is comparable.
"""

from datetime import datetime
from typing import Any

from sure.record import Result
from sure.record.card import on_hub

# What they name the versions of.
_PACKAGES = ("transformers", "peft", "datasets", "bitsandbytes", "torch")


def method_comparison(result: Result) -> dict[str, Any]:
    """The content of a file of theirs for a complete run."""
    run, cost, provenance = result.run, result.cost, result.provenance
    given = run.arguments.get
    started, finished = map(datetime.fromisoformat, (provenance.started, provenance.finished))
    memory = cost.memory if cost.memory and cost.memory.kind == "cuda allocated" else None
    half = next((name for flag, name in (("bf16", "bfloat16"), ("fp16", "float16")) if given(flag)), None)
    return {
        "run_info": {
            "created_at": provenance.started,
            "total_time": (finished - started).total_seconds(),
            "experiment_name": experiment_name(result),
            "peft_branch": None,
            "train_config": {
                "model_id": run.backbone.name,
                # Weights are; `use_amp` says what they are computed with.
                "dtype": "float32",
                "max_seq_length": None,
                "batch_size": given("per_device_train_batch_size"),
                "batch_size_eval": given("per_device_eval_batch_size"),
                "max_steps": cost.steps,
                "eval_steps": given("eval_steps"),
                "compile": given("torch_compile"),
                "use_gc": given("gradient_checkpointing"),
                "query_template": None,
                "seed": run.seed,
                "grad_norm_clip": given("max_grad_norm"),
                "optimizer_type": given("optim"),
                "optimizer_kwargs": {"lr": given("learning_rate"), "weight_decay": given("weight_decay")},
                "lr_scheduler": given("lr_scheduler_type"),
                "use_amp": half is not None,
                "autocast_adapter_dtype": None,
                "generation_kwargs": None,
                "attn_implementation": None,
                "init_kv_cache_prefix": None,
            },
            # Theirs has none where everything trains.
            "peft_config": None if run.method.name == "full_finetuning" else run.method.config,
            "error_msg": "",
        },
        "train_info": {
            "accelerator_memory_reserved_avg": memory and memory.mean,
            "accelerator_memory_max": memory and memory.maximum,
            "accelerator_memory_reserved_99th": memory and memory.percentile_99,
            "train_time": cost.training_seconds,
            "file_size": cost.adapter_bytes,
            "num_trainable_params": cost.trainable_parameters,
            "num_total_params": cost.total_parameters,
            "status": "success",
            "metrics": [*_learning(result), _tested(result)],
        },
        "meta_info": {
            "model_info": {"sha": run.backbone.revision if on_hub(run) else None, "created_at": None},
            "dataset_info": {run.task: {"sha": None, "created_at": None}},
            "package_info": {
                key: value
                for package in _PACKAGES
                for key, value in (
                    (f"{package}-version", provenance.versions.get(package)),
                    (f"{package}-commit-hash", None),
                )
            },
            "system_info": {
                "system": provenance.platform.partition("-")[0],
                **dict.fromkeys(("release", "version", "machine", "processor")),
                "accelerator": cost.device if memory else None,
            },
            "pytorch_info": None,
            # Not theirs.
            "sure": {
                "synthetic_speech": run.data.synthetic,
                "corpus_fingerprint": run.data.fingerprint,
                "mixed_precision": half,
                "memory": memory and "allocated, not reserved",
            },
        },
    }


def _learning(result: Result) -> list[dict[str, Any]]:
    """What was known at each step; earlier records do not say it."""
    return [
        {"step": point.step, f"valid {_words(result.metric)}": point.validation, "train loss": point.training_loss}
        for point in result.learning_curve
    ]


def _tested(result: Result) -> dict[str, Any]:
    """Their last one, with the scores on test."""
    losses = [point.training_loss for point in result.learning_curve if point.training_loss is not None]
    return {
        "step": result.cost.steps,
        **{
            f"{evaluation} {_words(name)}": score.value
            for evaluation, scores in result.scores.items()
            if evaluation != "validation"
            for name, score in scores.items()
        },
        "train loss": losses[-1] if losses else None,
        "train samples": round(result.cost.samples_per_second * result.cost.training_seconds),
        "train total tokens": None,
    }


def _words(metric: str) -> str:
    return metric.replace("_", " ")


def experiment_name(result: Result) -> str:
    """`lora/wav2vec2-base-seed42`, as their folders are called."""
    run = result.run
    return f"{run.method.name}/{run.backbone.name.rstrip('/').rpartition('/')[2]}-seed{run.seed}"
