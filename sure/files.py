"""The one place that reads text files of a user's."""

from pathlib import Path

from sure.errors import SureError


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark. Raises `SureError` where it is not there or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SureError(f"{path}: not a text file in UTF-8 (byte {error.start}). Save it again in UTF-8.") from None
    except OSError as error:
        raise SureError(f"{path}: cannot be read ({error.strerror}).") from None
