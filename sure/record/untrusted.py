"""Files that come from anyone: what they are is looked at before they are read, and what is in them before it is used.

Nothing here opens a link, waits for a pipe or reads more than a file of its kind may have.
"""

import json
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from pydantic_core import from_json

from sure.errors import SureError

# Bytes of a record; of an evaluation's predictions, which a million trials fill by a third; of a submission's weights.
MOST_RECORD = 8 << 20
MOST_PREDICTIONS = 512 << 20
MOST_WEIGHTS = 2 << 30

# Faults of one file that are named one by one.
MOST_NAMED = 5

# What a JSON value may be nested in.
_DEEPEST = 64

# No count and no time is larger, and every reader of JSON has integers up to here.
LARGEST = 2**63

# Characters that steer terminals, end strings in XML or turn the writing direction around. Marks of direction that
# Arabic and Hebrew are written with do not, and are no fault where texts are.
_STEERING = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff"
_NO_NAME = re.compile(f"[{_STEERING}\u202a-\u202e\u2066-\u2069]")
_NO_TEXT = re.compile(f"[{_STEERING}\u202d\u202e]")

# Only lines with these need a closer look: an escaped character, a large exponent, a very long number; or as many
# brackets as a value may be deep.
_SUSPECT = re.compile(r"\\[ubf]|[0-9][eE]\+?[0-9]{2}|[0-9]{19}")

# Where no space is between a key and its colon, a text has no fewer `":` than keys.
_KEY_APART = re.compile(r'"\s+:')

# How JSON has control characters in ASCII, but for the one that it has as it is.
_CONTROL = re.compile(r"\\[ubf]")


def contents(path: Path, most: int, what: str) -> bytes:
    """Raises `SureError` where there is no such file, it is a link or none at all, or has more than `most` bytes."""
    if fault := file_fault(path, most, what):
        raise SureError(fault)
    try:
        return path.read_bytes()
    except OSError as error:
        raise SureError(f"{path}: cannot be read ({error.strerror}).") from None


def file_fault(path: Path, most: int, what: str) -> str | None:
    """What is wrong with a file as the file system has it; None where nothing is."""
    try:
        found = path.lstat()
    except (OSError, ValueError):
        return f"{path}: no such {what}."
    if stat.S_ISLNK(found.st_mode):
        return f"{path}: a link; a submission holds files, not links."
    if not stat.S_ISREG(found.st_mode):
        kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
        return f"{path}: a {kinds.get(stat.S_IFMT(found.st_mode), 'device')}, where a file should be."
    if found.st_size > most:
        return f"{path}: {found.st_size:,} bytes; a {what} has at most {most:,}."
    return None


def text(path: Path, content: bytes) -> str:
    """Raises `SureError` where it is not UTF-8, naming the line."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SureError(f"{path}, line {line}: not UTF-8 (byte {error.start}).") from None


def parsed(text: str) -> Any:
    """A JSON value. Raises `ValueError` where it is none, has NaN or infinity, or says a key twice."""
    try:
        return _ONCE.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def rows(path: Path, content: bytes) -> list[Any]:
    """JSON lines, each as `parsed`. Raises one `SureError` that names each wrong line, the first of many."""
    whole = text(path, content)
    # Not splitlines: JSON strings may hold other line separators than the newline.
    lines = whole.removesuffix("\n").split("\n")
    # In less time, where there is nothing to be said of any.
    with suppress(ValueError, RecursionError):
        if _plain(whole) and _small(found := [from_json(line, allow_inf_nan=False) for line in lines], whole):
            return found
    faults, found = [], []
    for number, line in enumerate(lines, start=1):
        try:
            row = parsed(line)
            said = next(odd_values(row, _NO_TEXT), None) if _is_suspect(line) else None
        except ValueError as error:
            said = "", f"not JSON ({error})"
        else:
            found.append(row)
        if said:
            field, what = said
            faults.append(f"{path}, line {number}{f', {field}' if field else ''}: {what}.")
    if faults:
        raise SureError("\n".join(first_of(faults, path)))
    return found


def _is_suspect(line: str) -> bool:
    deep = line.count("{") + line.count("[") > _DEEPEST
    return bool(deep or _SUSPECT.search(line) or _NO_TEXT.search(line))


def first_of(faults: list[str], where: object) -> list[str]:
    """So many of them, and how many more there are."""
    more = len(faults) - MOST_NAMED
    return faults if more <= 0 else [*faults[:MOST_NAMED], f"{where}: and {more:,} more of the kind."]


def odd_in(text: str) -> Iterator[tuple[str, str]]:
    """`odd_values` of a JSON text, in less time where there are none. Raises `ValueError` as `parsed`."""
    with suppress(ValueError):
        value = from_json(text, allow_inf_nan=False)
        if _plain(text) and _small(value, text):
            return
    yield from odd_values(parsed(text))


def _plain(text: str) -> bool:
    """Whether no string in a JSON text has a character that none should have, nor any other than ASCII."""
    return text.isascii() and "\x7f" not in text and not _CONTROL.search(text)


def _small(value: Any, text: str) -> bool:
    """Whether no value is too deep, no number too large, and none of the keys that `text` has was lost to another."""
    level, found = [[value]], 0
    for _ in range(_DEEPEST + 1):
        members, level = level, []
        for one in members:
            if type(one) is dict:
                found += len(one)
                one = one.values()
            for member in one:
                kind = type(member)
                if kind is dict or kind is list:
                    level.append(member)
                elif kind is not str and member is not None and not -LARGEST < member < LARGEST:
                    return False
        if not level:
            return found == text.count('":') and not _KEY_APART.search(text)
    return False


def odd_values(value: Any, forbidden: re.Pattern = _NO_NAME) -> Iterator[tuple[str, str]]:
    """Field and fault of what no record holds: too deep, numbers that none can be, characters that steer."""
    # No recursion: it is strangers who say how deep.
    following = [("", value, 0)]
    while following:
        field, value, depth = following.pop()
        if depth > _DEEPEST:
            yield field[:80], f"nested deeper than {_DEEPEST}"
        elif isinstance(value, dict):
            for key, member in reversed(value.items()):
                if found := forbidden.search(key):
                    yield field, f"a name has the character U+{ord(found.group()):04X}"
                following.append((f"{field}.{key}" if field else key, member, depth + 1))
        elif isinstance(value, list):
            following += [(f"{field}.{place}", member, depth + 1) for place, member in reversed([*enumerate(value)])]
        elif isinstance(value, str):
            if found := forbidden.search(value):
                yield field, f"it has the character U+{ord(found.group()):04X}, which is not to be seen"
        elif isinstance(value, int | float) and not abs(value) < LARGEST and not isinstance(value, bool):
            yield field, "a number that is too large to mean anything"


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no finite number")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


_ONCE = json.JSONDecoder(parse_constant=_no_number, object_pairs_hook=_each_once)
