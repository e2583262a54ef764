"""The door for launchers: `accelerate launch -m sure.train` and `torchrun -m sure.train` do what `sure train` does."""

import sys

from sure.cli.shared import run_command
from sure.cli.train import train

if __name__ == "__main__":
    run_command(lambda: train(sys.argv[1:], "python -m sure.train"), resumes=True)
