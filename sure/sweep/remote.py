"""A sweep's folder at a URL of `fsspec` (s3://, gs:// and others), worked on in a copy on this machine.

When a sweep begins, cells that have come further there than here are fetched. What is new here is put there when a step
has ended, once a minute, and in the end: what a cell has written, then its record, its attempts last, so that a record
there means a complete cell. Of a machine that is lost a cell loses what it did since; any other machine goes on.

Such places have no locks. Who works on one says so there, again and again, and who comes meanwhile is refused, but two
who begin in the same moment are not.
"""

import json
import logging
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sure.errors import SureError
from sure.files import default_folder, is_url, locked
from sure.record import RESULT
from sure.sweep.carrying import CHECKPOINT, TRAINER_STATE, Stamp, stamp_of, stamps, turn
from sure.sweep.plan import CELLS, STUDY
from sure.sweep.running import newest_step
from sure.sweep.state import CELL, State

# Seconds between two looks at what is new; and without a word from whoever works there, until nobody does.
_EVERY = 60.0
_SILENT = 5 * _EVERY
_DRIVER = "driver.json"

_log = logging.getLogger("sure")


@contextmanager
def worked_on(where: str) -> Iterator[tuple[Path, Callable[[], None]]]:
    """The folder of a sweep that is run, and what is to be called when there is something new in it.

    Raises `SureError` where a URL cannot be read or written, or somebody else works on it.
    """
    if not is_url(where):
        yield Path(where), lambda: None
        return
    mirror = Mirror(where, "work")
    with locked(mirror.place, f"--output_dir {where}", wait=False):
        mirror.claim()
        try:
            mirror.fetch()
            with _put_meanwhile(mirror) as changed:
                yield mirror.folder, changed
        finally:
            mirror.leave()


@contextmanager
def looked_at(where: str) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """The folder of a sweep with what its records and states say; and what puts a folder in it to where they are from.

    Raises `SureError` where a URL cannot be read.
    """
    if not is_url(where):
        yield Path(where), lambda _: None
        return
    mirror = Mirror(where, "look")
    with locked(mirror.place, mirror.place, wait=True):
        mirror.fetch_what_is_read()
        yield mirror.folder, mirror.put_folder


@contextmanager
def _put_meanwhile(mirror: "Mirror") -> Iterator[Callable[[], None]]:
    """Gives what is to be called when there is something new; in the end all is put that is new."""
    news, over = threading.Event(), threading.Event()

    def put_again_and_again() -> None:
        while not over.is_set():
            try:
                mirror.put()
            except SureError as error:
                # It may be back before the sweep ends.
                _log.warning("%s", error)
            news.wait(_EVERY)
            news.clear()

    putting = threading.Thread(target=put_again_and_again, daemon=True)
    putting.start()
    try:
        yield news.set
    finally:
        over.set()
        news.set()
        putting.join()
        mirror.put()


class Mirror:
    """A URL, and `folder`, the copy here of what is there."""

    def __init__(self, url: str, purpose: str) -> None:
        """Raises `SureError` where fsspec, as it is installed, knows no such place."""
        from fsspec.core import url_to_fs

        self._url = url.rstrip("/")
        protocol = url.partition(":")[0]
        try:
            self._files, root = url_to_fs(self._url)
        except ImportError as error:
            raise SureError(f"{url}: fsspec needs another package for {protocol}://. {error}") from None
        except ValueError as error:
            raise SureError(f"{url}: fsspec has no place for {protocol}:// ({error}).") from None
        self._root = root.rstrip("/")
        called = sha256(self._files.unstrip_protocol(self._root).encode()).hexdigest()[:16]
        self.place = default_folder() / "sweeps" / called / purpose
        # A report is called as its folder is.
        self.folder = self.place / (self._root.rpartition("/")[2] or "sweep")
        # By name, everything there, with the stamp that it has here where that is the same.
        self._there: dict[str, Stamp | None] = {}

    def claim(self) -> None:
        """Say that this machine works there. Raises `SureError` where another does, or nothing can be written."""
        with self._reached("read"):
            try:
                other = json.loads(self._files.cat_file(self._path(_DRIVER)))
                # Clocks differ.
                host, silent = other["host"], max(0.0, time.time() - other["time"])
            except (FileNotFoundError, ValueError, KeyError, TypeError):
                host, silent = socket.gethostname(), 0.0
        # On this machine there is a lock.
        if host != socket.gethostname() and silent < _SILENT:
            raise SureError(
                f"--output_dir {self._url}: {host} works on it, and said so {silent:.0f} s ago. Of one that was killed "
                f"nothing is heard any more, and after {_SILENT:.0f} s another goes on."
            )
        with self._reached("written"):
            self._say_so()

    def leave(self) -> None:
        """Say that nobody works there any more; where that cannot be, others wait a while."""
        with suppress(SureError), self._reached("written"):
            self._files.rm_file(self._path(_DRIVER))

    def fetch(self) -> None:
        """The study, and whole cells that have come further there than here. Raises `SureError`."""
        with self._reached("read"):
            there = self._sizes()
            if STUDY not in there and any(self.folder.glob(f"{CELLS}/*/{CELL}")):
                raise SureError(
                    f"--output_dir {self._url} has no study any more, but {self.folder}, the copy here, has. Delete "
                    "the copy to begin anew."
                )
            self._there = dict.fromkeys(there)
            self._get([STUDY] if STUDY in there else [], self.folder)
            different = []
            for cell, sizes in _cells(there).items():
                here = self._stamps_of(cell)
                # Files are written once, or grow.
                same = {name: stamp for name, stamp in here.items() if sizes.get(name) == stamp[0]}
                self._there |= same
                if same.keys() != sizes.keys():
                    different.append(cell)
            for cell in self._further_there(different, there):
                self._get_cell(cell, _cells(there)[cell])
                self._there |= self._stamps_of(cell)

    def fetch_what_is_read(self) -> None:
        """The study, and of cells what their states, records and predictions say, as it is there."""
        with self._reached("read"):
            there = self._sizes()
            self._there = dict.fromkeys(there)
            self._get([STUDY] if STUDY in there else [], self.folder)
            cells = _cells({name: size for name, size in there.items() if _is_read(name)})
            for cell in self.folder.glob(f"{CELLS}/*"):
                if f"{CELLS}/{cell.name}" not in cells:
                    shutil.rmtree(cell)
            for cell, sizes in cells.items():
                if sizes != {name: stamp[0] for name, stamp in self._stamps_of(cell).items()}:
                    self._get_cell(cell, sizes)

    def put(self) -> None:
        """What is new here. Raises `SureError` where that cannot be done; another time it may."""
        with self._reached("written", f" What is new is in {self.folder}; the same command puts it there."):
            self._say_so()
            if (self.folder / STUDY).exists():
                self._put_new({STUDY: stamp_of(self.folder / STUDY)})
            for cell in sorted(self.folder.glob(f"{CELLS}/*")):
                name = f"{CELLS}/{cell.name}"
                # What is finished goes on from no checkpoint.
                without = f"{name}/{CHECKPOINT}" if State.read(cell).finished else None
                self._put_all_of(name, without)

    def put_folder(self, name: str) -> None:
        """One of the folders here. Raises `SureError`."""
        with self._reached("written"):
            self._put_all_of(name)

    def _put_all_of(self, folder: str, without: str | None = None) -> None:
        here = self._stamps_of(folder)
        here = {name: stamp for name, stamp in here.items() if without is None or not name.startswith(without)}
        if self._put_new(here) and (
            gone := [name for name in self._there if name.startswith(f"{folder}/") and name not in here]
        ):
            with suppress(FileNotFoundError):
                self._files.rm([self._path(name) for name in gone])
            for name in gone:
                del self._there[name]

    def _put_new(self, here: dict[str, Stamp]) -> bool:
        """Whether all of them are there now; a cell that is run may have deleted some meanwhile."""
        new = {name: stamp for name, stamp in here.items() if self._there.get(name) != stamp}
        for _, names in groupby(new, turn):
            together = list(names)
            try:
                self._make_folders(together)
                self._files.put([str(self.folder / name) for name in together], list(map(self._path, together)))
            except FileNotFoundError:
                if all((self.folder / name).exists() for name in together):
                    raise
                return False
            self._there |= {name: new[name] for name in together}
        return True

    def _make_folders(self, names: Iterable[str]) -> None:
        # Object stores, which are asynchronous, have none: there it would be a bucket that is made.
        if not self._files.async_impl:
            for folder in {self._path(name).rpartition("/")[0] for name in names}:
                self._files.makedirs(folder, exist_ok=True)

    def _say_so(self) -> None:
        self._make_folders([_DRIVER])
        said = {"host": socket.gethostname(), "time": time.time()}
        self._files.pipe_file(self._path(_DRIVER), json.dumps(said).encode())

    def _sizes(self) -> dict[str, int]:
        """Of everything that is there, by name."""
        self._files.invalidate_cache()
        try:
            found = self._files.find(self._root, detail=True)
        except FileNotFoundError:
            found = {}
        return {name.removeprefix(f"{self._root}/"): about["size"] for name, about in found.items()}

    def _further_there(self, cells: list[str], there: dict[str, int]) -> list[str]:
        """Which of some cells have come further there than here."""
        asked = [name for cell in cells for name in (f"{cell}/{CELL}", f"{cell}/{RESULT}") if name in there]
        if not asked:
            return []
        contents = self._files.cat([self._path(name) for name in asked])
        further = []
        for cell in cells:
            try:
                state = State.of(*(contents.get(self._path(f"{cell}/{name}")) for name in (CELL, RESULT)))
            except ValidationError:
                # What was not copied as a whole counts for nothing.
                continue
            saved = [name.split("/")[2] for name in there if name.startswith(f"{cell}/") and turn(name) == 1]
            steps = [int(step) for name in saved if (step := name.removeprefix(CHECKPOINT)).isdecimal()]
            folder = self.folder / cell
            if _progress(state, max(steps, default=0)) > _progress(State.read(folder), newest_step(folder)):
                further.append(cell)
        return further

    def _get_cell(self, cell: str, names: Iterable[str]) -> None:
        """In place of what is here, all of it or nothing."""
        part = self.place / "part"
        shutil.rmtree(part, ignore_errors=True)
        self._get(names, part)
        shutil.rmtree(self.folder / cell, ignore_errors=True)
        (self.folder / cell).parent.mkdir(parents=True, exist_ok=True)
        (part / cell).replace(self.folder / cell)

    def _get(self, names: Iterable[str], folder: Path) -> None:
        paths = {self._path(name): folder / name for name in names}
        for path in paths.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        if paths:
            self._files.get(list(paths), list(map(str, paths.values())))

    def _stamps_of(self, folder: str) -> dict[str, Stamp]:
        return {f"{folder}/{name}": stamp for name, stamp in stamps(self.folder / folder).items()}

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _reached(self, what: str, and_now: str = "") -> Iterator[None]:
        try:
            yield
        except SureError:
            raise
        except Exception as error:
            # Every file system has exceptions of its own.
            raise SureError(f"{self._url} cannot be {what} ({type(error).__name__}: {error}).{and_now}") from None


def _cells(sizes: dict[str, int]) -> dict[str, dict[str, int]]:
    """Those of each cell."""
    found: dict[str, dict[str, int]] = {}
    for name, size in sizes.items():
        parts = name.split("/")
        if parts[0] == CELLS and len(parts) > 2:
            found.setdefault("/".join(parts[:2]), {})[name] = size
    return found


def _is_read(name: str) -> bool:
    """Whether a report, or what is said of a sweep's state, needs a file of a cell."""
    parts = name.split("/")[2:]
    return parts[-1:] == [TRAINER_STATE] or (len(parts) == 1 and parts[0].endswith((".json", ".jsonl")))


def _progress(state: State, step: int) -> tuple[Any, ...]:
    """How far a cell is, as a value to compare."""
    ended = sum(attempt.ended is not None for attempt in state.attempts)
    return state.finished, len(state.attempts), ended, step
