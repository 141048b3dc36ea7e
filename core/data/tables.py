"""Records out of tables: CSV and TSV by Python's own reader, Parquet by pyarrow, which is asked for when such a file comes."""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from core.data.records import Parsed, Record, word
from core.errors import InputError

# So many rows, the head among them, tell the delimiter.
ROWS_ASKED = 20
MARK = "\ufeff"  # of UTF-8, which a file brings along that was put behind another
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


def parse_table(text: str, path: Path, parsed: Parsed) -> Parsed:
    """The rows under the head of a CSV or TSV file; a row whose cells are not those of the head is a problem."""
    limit = csv.field_size_limit(sys.maxsize)  # its default refuses a cell of 128 kB, and a text may be longer
    try:
        return _rows(text, path, parsed)
    finally:
        csv.field_size_limit(limit)


def _rows(text: str, path: Path, parsed: Parsed) -> Parsed:
    text, delimiter, skipped = _delimiter(text, parsed.format)
    parsed.format = "tsv" if delimiter == "\t" else "csv"
    parsed.delimiter = DELIMITERS.get(delimiter, delimiter)
    spaced = _is_spaced(text, delimiter)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=spaced)
    try:
        head, number = [cell.strip() for cell in next(reader, [])], 0
        _check_head(head, path, skipped + 1)
        while True:
            line = reader.line_num + skipped + 1
            try:
                row = next(reader)
            except StopIteration:
                return parsed
            if not any(cell.strip() for cell in row):
                parsed.blank += 1
                continue
            number += 1
            record = Record(dict(zip(head, row, strict=False)), number, line, path, "row")
            if len(row) != len(head):
                message = f"has {len(row)} cells where the head has {len(head)}"
                parsed.add_problem(number, record.error(message, remedy="a cell that holds the delimiter is quoted"))
            elif [cell.strip().removeprefix(MARK) for cell in row] == head:
                message = "repeats the head of the table: several files were put together"
                parsed.add_problem(number, record.error(message, code="head_again", remedy="take the row out"))
            else:
                parsed.records.append(record)
    except csv.Error as error:
        raise InputError(
            f"is no {parsed.format.upper()} that can be read: {error}",
            code="bad_table",
            file=path,
            line=reader.line_num + skipped,
            remedy="a quotation mark inside of a quoted cell is doubled",
        ) from error


def _delimiter(text: str, kind: str) -> tuple[str, str, int]:
    """The text of the table, its delimiter, and the lines skipped in front: Excel may write `sep=;` there."""
    first, _, rest = text.partition("\n")
    if (said := first.strip().lower()).startswith("sep=") and len(said) == 5:
        return rest, first.strip()[4], 1
    if kind == "tsv":
        return text, "\t", 0
    return text, max(DELIMITERS, key=lambda sign: _agreeing(text, sign)), 0


def _is_spaced(text: str, delimiter: str) -> bool:
    """True of a table that writes a blank behind each delimiter of its head: it belongs to no cell, and a quote may follow."""
    head = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    return delimiter != "\t" and len(head) > 1 and all(cell.startswith(" ") for cell in head[1:])


def _agreeing(text: str, delimiter: str) -> tuple[int, int]:
    """How many of the first rows have as many cells as the head, and how many these are; nothing of a head of one cell."""
    rows = list(islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), ROWS_ASKED))
    width = len(rows[0]) if rows else 0
    return (sum(len(row) == width for row in rows), width) if width > 1 else (0, 0)


def _check_head(head: list[str], path: Path, line: int) -> None:
    if doubled := [name for name, count in Counter(head).items() if count > 1]:
        message = f"two columns are called `{word(doubled[0])}`" if doubled[0] else "two columns have no name"
        raise InputError(message, code="doubled_key", file=path, line=line)


def parse_parquet(content: bytes, path: Path, parsed: Parsed) -> Parsed:
    """The rows of a Parquet file. InputError when pyarrow is not installed here, or cannot read it."""
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise InputError(
            "is Parquet, which takes pyarrow to read",
            code="missing_package",
            file=path,
            remedy=f"{sys.executable} -m pip install pyarrow",
        ) from None
    try:
        rows: list[dict[str, Any]] = parquet.read_table(arrow.BufferReader(content)).to_pylist()
    except (arrow.ArrowException, OSError, ValueError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"is no Parquet that can be read: {word(said)}", code="bad_parquet", file=path) from error
    parsed.records = [Record(row, number, None, path, "row") for number, row in enumerate(rows, start=1)]
    return parsed
