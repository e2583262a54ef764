"""A training step in bfloat16 (`--bf16 True`) against one in float32, on one thread of this machine or on its GPU.

    python -m tests.benchmarks.precision

Both train the same model of wav2vec 2.0 base's size with random weights, in turns. Processors with AMX or AVX512-BF16
gain; others lose.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from sure.audio import SAMPLE_RATE
from sure.backbone import Backbone, loading
from sure.heads import ClassificationHead
from sure.method import applying
from sure.model import ModelWithHead

SECONDS, BATCH_SIZE, CLASSES = 2, 4, 7


def main(words: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["lora", "conv_adapter", "full_finetuning"])
    parser.add_argument("--rounds", type=int, default=5, help="steps of each kind (default: 5)")
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    figures = {}
    for method in arguments.methods:
        step = training_step(loading.load("wav2vec2:base", head=True), method, device, SECONDS, BATCH_SIZE)
        taken = {precise: [] for precise in (True, False)}
        for number in range(arguments.rounds + 1):
            for precise, seconds in taken.items():
                found = step(precise)
                # The first is slower.
                seconds += [found] * bool(number)
        ratio = statistics.median(taken[True]) / statistics.median(taken[False])
        figures[f"{method}: a step in float32 / in bfloat16"] = ratio
        print(f"{method}: {ratio:.2f} times as fast in bfloat16", flush=True)
    return figures


def training_step(backbone: Backbone, method: str, device: torch.device, seconds: float, utterances: int):
    """A step on noise, which gives how long it took."""
    model = ModelWithHead(backbone, ClassificationHead(backbone.width, CLASSES))
    model = applying.apply(model, applying.configure(method, backbone)).to(device).train()
    noise = np.random.default_rng(0).normal(scale=0.1, size=(utterances, int(seconds * SAMPLE_RATE))).astype(np.float32)
    inputs = {name: tensor.to(device) for name, tensor in backbone.inputs(list(noise)).items()}
    labels = torch.arange(utterances, device=device)
    optimiser = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-4)

    def step(precise: bool = True) -> float:
        # Of the processor, which others may use too; a GPU is this process's alone.
        clock = time.process_time if device.type == "cpu" else time.perf_counter
        started = clock()
        with torch.autocast(device.type, torch.bfloat16, enabled=not precise):
            loss = model(**inputs, labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - started

    return step


if __name__ == "__main__":
    main()
