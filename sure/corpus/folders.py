"""Audio files of a corpus folder, in an order that no file system decides."""

from pathlib import Path

from sure import audio
from sure.errors import SureError

# The file that `sure data synth` leaves in a corpus it made, so that nothing trained on it passes for human speech.
SYNTHETIC_MARKER = "SYNTHETIC.json"


def is_synthetic(data_dir: Path) -> bool:
    """Whether a corpus was spoken by a synthesiser. Some tasks take a part of one too, such as one language."""
    return any((place / SYNTHETIC_MARKER).exists() for place in (data_dir, data_dir.resolve().parent))


def audio_files(folder: Path) -> list[Path]:
    """The audio files directly in `folder`, sorted; hidden ones (macOS leaves `._name.wav`) do not count.

    Raises `SureError` for a name that is not UTF-8, which no record can have.
    """
    return [path for path in _named(folder) if path.suffix.lower() in audio.SUFFIXES and not is_hidden(path)]


def subfolders(folder: Path) -> dict[str, Path]:
    """The folders directly in `folder` by name, sorted, hidden ones left out. Raises as `audio_files`."""
    return {path.name: path for path in _named(folder) if path.is_dir() and not is_hidden(path)}


def _named(folder: Path) -> list[Path]:
    paths = sorted(folder.iterdir())
    for path in paths:
        try:
            path.name.encode()
        except UnicodeEncodeError:
            raise SureError(f"{folder}: the name {path.name!a} is not UTF-8; rename it.") from None
    return paths


def is_hidden(path: Path) -> bool:
    """Also the folder that a zip archive made on macOS unpacks beside its content."""
    return path.name.startswith(".") or path.name == "__MACOSX"


def listed(names: list[str] | dict[str, Path], most: int = 8) -> str:
    """Names for an error message, the first few of them."""
    names = list(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "") if names else "nothing"
