"""What short utterances cost on models that hear a fixed window: a training step on one second, as an option has it.

    python -m tests.benchmarks.windows

The same utterances, with the window as pretrained and with one of their length, in turns, on one thread or a GPU;
models of the published sizes with random weights, and LoRA.
"""

import argparse
import statistics

import torch

from sure.backbone import loading
from tests.benchmarks.precision import training_step

BACKBONES = ("audio_spectrogram_transformer:base", "whisper:base")
SECONDS = 1


def main(words: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="steps of each kind (default: 3)")
    arguments = parser.parse_args(words)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    figures = {}
    for name in BACKBONES:
        windows = [{}, {"window": SECONDS}]
        backbones = [loading.load(name, head=True, options=window) for window in windows]
        steps = [training_step(backbone, "lora", device, SECONDS, 1) for backbone in backbones]
        for step in steps:
            # The first is slower.
            step()
        taken = [[step() for step in steps] for _ in range(arguments.rounds)]
        whole, short = (statistics.median(seconds) for seconds in zip(*taken, strict=True))
        figures[f"{name}: a step on 1 s, whole window / window=1"] = whole / short
        print(f"{name}: {whole / short:.1f} times as fast with window={SECONDS}", flush=True)
    return figures


if __name__ == "__main__":
    main()
