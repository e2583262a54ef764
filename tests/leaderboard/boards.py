"""Boards of any size in an instant: entries as submissions make them, ranked by draws that are made up."""

from math import exp

import numpy as np

from sure.leaderboard.comparison import Sample
from sure.leaderboard.disclosure import Disclosure
from sure.leaderboard.entries import Entry, EntryRun, EntryScore, rank
from sure.record import BackboneInfo, Cost, Interval, Memory, MethodInfo, Provenance

# By task: metric, whether higher is better, the frozen probe's score and what there is to be gained.
TASKS = {
    "asr_fleurs": ("word_error_rate", False, 0.62, -0.4),
    "esd_emotion": ("unweighted_average_recall", True, 0.55, 0.35),
    "sv_voxceleb1": ("equal_error_rate", False, 0.21, -0.12),
    "tts_libritts": ("mel_cepstral_distortion", False, 9.4, -3.5),
}
# Shares of the backbone that each method trains; of several it is on the board several times.
SHARES = {
    "linear_probe": (0.0,),
    "weighted_sum_probe": (1e-6,),
    "bitfit": (0.001,),
    "bottleneck_adapter": (0.002, 0.008, 0.03),
    "conv_adapter": (0.004,),
    "ia3": (0.0002,),
    "lora": (0.0008, 0.003, 0.012),
    "prefix_tuning": (0.0015,),
    "full_finetuning": (1.0,),
}
BACKBONES = (
    BackboneInfo(name="facebook/wav2vec2-base", family="wav2vec2", revision="0b5b8e868dd84f03", pretrained=True),
    BackboneInfo(name="microsoft/wavlm-base-plus", family="wavlm", revision="4c66d4806a428f23", pretrained=True),
)
TOTAL, HEAD = 94_000_000, 200_000


def board(tasks=tuple(TASKS), backbones=BACKBONES[:1], copies=1):
    """Ranked entries of every method on every backbone and task; of copies each has a learning rate of its own."""
    entries = []
    for task in tasks:
        noise = np.random.default_rng(len(entries))
        made = [
            _entry(task, backbone, method, share, copy, noise)
            for backbone in backbones
            for method, shares in SHARES.items()
            for share in shares
            for copy in range(copies)
        ]
        shared = noise.normal(size=200)
        failed = made[-2].model_copy(
            update={"status": "failed", "error": "SureError: the loss is not a number", "test": {}, "validation": {}}
            | {
                "cost": None,
                "trainable_parameters_without_head": None,
                "interval": None,
                "submission": f"{task}-failed",
            }
            | {"runs": [EntryRun(submission=f"{task}-failed", seed=0, fold=None, score=None)]}
        )
        samples = {
            entry.submission: Sample(
                "rows", entry.score.value + _scale(task) * (shared + 0.4 * noise.normal(size=200)), 1, np.inf
            )
            for entry in made
        }
        entries += rank([*made, failed], samples)
    return entries


def _scale(task):
    return abs(TASKS[task][3]) * 0.04


def _entry(task, backbone, method, share, copy, noise):
    metric, higher, probe, gain = TASKS[task]
    seeds = (0, 1, 2) if method in ("lora", "linear_probe") else (0,)
    reached = 0.0 if share < 1e-5 else 1 / (1 + exp(-1.2 * (np.log10(share) + 3.2)))
    value = float(probe + gain * reached + _scale(task) * noise.normal())
    half = 2 * _scale(task)

    def scored(value):
        return EntryScore(
            value=value,
            low=value - half,
            high=value + half,
            unit="share",
            higher_is_better=higher,
            method="percentile bootstrap",
            deviation=half / 3 if len(seeds) > 1 else None,
        )

    name = f"{task}-{method}-{share:g}-{backbone.family}-{copy}"
    parameters = HEAD + round(share * (TOTAL - HEAD))
    return Entry(
        rank=None,
        tied=False,
        difference=None,
        to_probe=None,
        task=task,
        fingerprint=f"{sum(task.encode()):08x}" * 8,
        synthetic=task == "esd_emotion",
        backbone=backbone,
        method=MethodInfo(name=method, config={"r": round(share * 8000), "dropout": 0.1, "targets": ["q", "v"]}),
        settings=f"r={round(share * 8000)}" if len(SHARES[method]) > 1 else "",
        runs=[
            EntryRun(submission=f"{name}-{seed}" if seed else name, seed=seed, fold=None, score=value) for seed in seeds
        ],
        folds=None,
        folds_there_are=None,
        options="" if copy == 0 else f"lr={copy}",
        metric=metric,
        test={metric: scored(value), "loss_of_words": scored(abs(value) / 2)},
        validation={metric: value},
        interval=Interval(resamples=1000, resampled={"test": "speaker"}),
        cost=Cost(
            trainable_parameters=parameters,
            head_parameters=HEAD,
            total_parameters=TOTAL,
            trainable_share=parameters / TOTAL,
            trainable_share_without_head=(parameters - HEAD) / (TOTAL - HEAD),
            adapter_bytes=4 * parameters,
            macs_per_second=6_900_000_000,
            training_seconds=600 + 3000 * share**0.3,
            evaluation_seconds=20,
            samples_per_second=50,
            steps=1000,
            epochs=5,
            memory=Memory(
                kind="cuda allocated", mean=2 << 30, maximum=int((2 + 4 * share**0.5) * 2**30), percentile_99=3 << 30
            ),
            device="cpu",
            processes=1,
        ),
        trainable_parameters_without_head=parameters - HEAD,
        provenance=Provenance(
            versions={"sure-bench": "0.1.0", "torch": "2.11.0"},
            python="3.11.7",
            platform="Linux",
            commit="ab" * 20,
            started="2026-01-01T00:00:00Z",
            finished="2026-01-01T00:10:00Z",
        ),
        plugins=[],
        status="complete",
        error=None,
        submission=name,
        verified=method == "lora",
        unchecked=[] if method == "lora" else ["references: the task has no manifest"],
        disclosure=Disclosure(
            name="=LoRA",
            contact="someone@example.org",
            training_data="the training split of the corpus",
            backbone_heard_test="no",
        )
        if method == "lora"
        else None,
    )
