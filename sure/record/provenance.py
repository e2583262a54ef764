"""Where a run happened: versions, commit, platform, device."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from sure.record import Provenance

_PACKAGES = ("sure-bench", "torch", "transformers", "peft", "accelerate", "datasets", "scikit-learn", "numpy")


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance(started: str) -> Provenance:
    """Of a run that began at `started` and ends now."""
    return Provenance(
        versions={package: version(package) for package in _PACKAGES},
        python=platform.python_version(),
        platform=platform.platform(),
        commit=_commit(),
        started=started,
        finished=now(),
    )


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's with the number of threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _commit() -> str | None:
    """Commit of the checkout that holds this file, where it is one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return f"{commit}+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(root: Path, *command: str) -> str:
    git = ["git", "-C", str(root), *command]
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 fixed words only
