"""Text files, read with clear errors and written whole or not at all; folders that one writes into; numbers in JSON."""

import fcntl
import math
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from sure.errors import SureError, first_line

_LOCK = ".lock"

# What PyTorch and safetensors say of a disk that is full; `torch.save` no more than where in its code that was.
_NATIVE_WRITERS = ("inline_container.cc", "iostream error", "PytorchStreamWriter", "Error while serializing")

# Seconds between two looks at a lock, where the system does not say when it is free.
_LOOKS = 0.01


class InUse(SureError):
    """A folder that somebody else has locked."""


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark. Raises `SureError` where it is not there or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SureError(f"{path}: not a text file in UTF-8 (byte {error.start}). Save it again in UTF-8.") from None
    except OSError as error:
        raise SureError(f"{path}: cannot be read ({error.strerror}).") from None


def write_atomically(path: Path, content: str | bytes, *, lasting: bool = True, private: bool = False) -> None:
    """Write a file, text in UTF-8, through a temporary one in the same folder, so that no half of it is ever seen.

    What is not `lasting`, since it can be made again, is not forced onto the disk, which takes longer than all else.
    What is `private` only its owner can read.
    """
    path, content = Path(path), content.encode("utf-8") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            if lasting:
                os.fsync(file.fileno())
            # Temporary files are private to their owner; results are not.
            os.fchmod(file.fileno(), 0o600 if private else 0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def is_full_disk(error: Exception) -> bool:
    """Whether PyTorch or safetensors cannot write, whose errors for that are no `OSError`."""
    return any(words in str(error) for words in _NATIVE_WRITERS)


@contextmanager
def writing(what: object) -> Iterator[None]:
    """Raises `SureError`, which says that `what` cannot be written, for an `OSError` and for a full disk."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if not isinstance(error, OSError) and not is_full_disk(error):
            raise
        raise SureError(
            f"{what}: cannot be written ({getattr(error, 'strerror', None) or first_line(error)})."
        ) from None


@contextmanager
def locked(folder: Path, what: object, wait: bool) -> Iterator[None]:
    """A folder that nobody else has locked meanwhile; it is made where there is none.

    The lock is the operating system's and goes with the process, however that ends; the file it is on stays. Raises
    `SureError`, beginning with `what`, where the folder cannot be written and, unless it is to `wait`, `InUse` where it
    is in use.
    """
    lock = FileLock(folder / _LOCK)
    with writing(what):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held = lock.acquire(blocking=False)
        except Timeout:
            if not wait:
                raise InUse(f"{what} is in use by another run. Wait until it ends, or choose another folder.") from None
            with _asleep(folder):
                held = lock.acquire(poll_interval=_LOOKS)
    with held:
        yield


@contextmanager
def _asleep(folder: Path) -> Iterator[None]:
    """Enters when a folder's lock is free, one of those who wait at a time; they would take long to look all at once.

    Where the system cannot lock folders, as on some networks, it enters at once.
    """
    with ExitStack() as line:
        with suppress(OSError):
            line.enter_context(_flocked(folder))
            with _flocked(folder / _LOCK):
                pass
        yield


@contextmanager
def _flocked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Whether somebody on this machine has a folder `locked`, seen without locking it, as far as Linux tells."""
    try:
        inode = (folder / _LOCK).stat().st_ino
        locks = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return False
    # The device that stands before the inode is another than `stat` gives on some file systems. A line that begins with
    # an arrow waits.
    return any(line.split()[-3].endswith(f":{inode}") for line in locks.splitlines() if "->" not in line)


def is_url(where: str | Path) -> bool:
    """Whether a user means a place that is not on this machine's disks; a path takes one of two slashes away."""
    return re.match(r"[a-z][a-z0-9+.-]+:/", str(where)) is not None


def refuse_urls(given: dict[str, Any]) -> None:
    """Raises `SureError` for a URL among paths, by name of a setting: as a path, `s3://bucket` is a folder `s3:`."""
    for name, value in given.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Path) and is_url(one):
                protocol, _, rest = str(one).partition(":/")
                raise SureError(
                    f"{name}: {protocol}://{rest.lstrip('/')} is a URL; give a path of this machine. (Only "
                    "a sweep's --output_dir may be a URL.)"
                )


def default_folder() -> Path:
    """Where a cache is that nobody names."""
    return Path(os.environ.get("SURE_CACHE") or Path.home() / ".cache" / "sure")


def is_number(value: Any) -> bool:
    """Whether a value read from JSON or YAML is a finite number that a float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        # JSON has integers of any length.
        return False
