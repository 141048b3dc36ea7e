"""A file of marks, as a person writes them in a spreadsheet or by hand: of single answers, or of pairs."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.config.yaml import load_marked, parse_scalar, read_text
from core.errors import BakehouseError, InputError
from core.marking.answered import AnsweredJob, text_sha256
from core.store.marks import Mark

COLUMNS = ("input", "candidate", "value", "note")
ALSO_CALLED = {
    "input_id": "input",
    "id": "input",
    "model": "candidate",
    "mark": "value",
    "score": "value",
    "right": "value",
}
TRUE, FALSE = frozenset({"right", "yes", "true", "pass", "good"}), frozenset({"wrong", "no", "false", "fail", "bad"})


def read_marks(path: Path, job: AnsweredJob, project_id: str, author: str) -> list[Mark]:
    """The marks of a CSV file with the columns input, candidate, value (0 to 1, or right and wrong) and note, or of a YAML
    list of the same keys. All of them are good, or InputError names the first that is not, and its line.
    """
    found, now = [], time.time()
    for line, row in _rows(path):
        given = {
            ALSO_CALLED.get(str(key).strip().lower(), str(key).strip().lower()): value for key, value in row.items()
        }
        unknown = [key for key in given if key not in COLUMNS]
        missing = [key for key in COLUMNS[:3] if given.get(key) in (None, "")]
        if unknown or missing:
            what = f"no column `{unknown[0]}` is known" if unknown else f"{missing[0]} is missing"
            raise InputError(what, code="bad_mark", file=path, line=line, remedy=f"the columns: {', '.join(COLUMNS)}")
        input_id, candidate = str(given["input"]).strip(), str(given["candidate"]).strip()
        try:
            item, text = job.input(input_id), job.text(candidate, input_id)
        except BakehouseError as error:
            raise InputError(error.message, code=error.code, file=path, line=line, remedy=error.remedy) from error
        found.append(
            Mark(
                project_id=project_id,
                task=job.task.name,
                input_sha256=text_sha256(item.text()),
                input_id=input_id,
                answer_sha256=text_sha256(text),
                value=_value(given["value"], path, line),
                note=str(given.get("note") or "").strip(),
                author=author,
                time=now,
            )
        )
    if not found:
        raise InputError(
            "there are no marks in it", code="no_marks", file=path, remedy=f"the columns: {', '.join(COLUMNS)}"
        )
    return found


def _rows(path: Path) -> Iterator[tuple[int | None, Mapping[Any, Any]]]:
    """(line, cells by column) of each mark."""
    if path.suffix.lower() in {".yaml", ".yml"}:
        document = load_marked(path)
        rows = document.data.get("marks") if isinstance(document.data, dict) else document.data
        at: tuple[str | int, ...] = ("marks",) if isinstance(document.data, dict) else ()
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise document.error("expected a list of marks", code="bad_mark")
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                raise document.error("expected the keys of a mark", (*at, index), code="bad_mark")
            yield document.line((*at, index)), row
        return
    text = read_text(path)
    first = text.split("\n", 1)[0]
    delimiter = max("\t;,", key=first.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    for row in reader:
        if None in row:
            raise InputError("more cells than columns", code="bad_mark", file=path, line=reader.line_num)
        yield reader.line_num, row


def _value(said: object, path: Path, line: int | None) -> float:
    """A mark as a number from 0 to 1."""
    text = str(said).strip().lower()
    if text in TRUE | FALSE:
        return float(text in TRUE)
    number = parse_scalar(text)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
        message = f"expected a value from 0 to 1, or right and wrong, found `{said}`"
        raise InputError(message, code="bad_mark", file=path, line=line, key="value")
    return float(number)
