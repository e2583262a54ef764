"""Tables in CSV that corpora come with."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from sure.corpus.folders import listed
from sure.errors import SureError
from sure.files import read_text


def rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a table with at least these `columns`, each after where it is: its file and line.

    Raises `SureError` where the table cannot be read, lacks a column, or has a row that ends before one.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        found = reader.fieldnames or []
        missing = [column for column in columns if column not in found]
        if missing:
            raise SureError(f"{path}: no column {missing[0]!r}; expected {', '.join(columns)}, found {listed(found)}.")
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            short = [column for column in columns if row[column] is None]
            if short:
                raise SureError(f"{where}: ends before its {short[0]}.")
            yield where, row
    except csv.Error as error:
        # Where the row begins, not where it became too long.
        raise SureError(f"{path}, line {reader.line_num + 1}: {error}. Is a quotation mark not closed?") from None
