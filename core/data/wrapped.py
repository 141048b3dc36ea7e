"""One JSON object that holds the records of a whole file: under a key of its own, or turned by columns as pandas writes it.

| what | known from |
|---|---|
| `{"data": [{…}, {…}]}` and other usual keys | many exports |
| `{"rows": [{"row_idx": 0, "row": {…}}]}` | the hub's viewer of data sets |
| `{"prompt": ["…", "…"], "completion": ["…", "…"]}` | `Dataset.to_dict`, pandas `orient="list"` |
| `{"prompt": {"0": "…"}, "completion": {"0": "…"}}` | pandas `to_json`, unless told otherwise |
| `{"columns": ["prompt", …], "data": [["…", …]]}` | pandas `orient="split"` |
| `{"0": {"prompt": "…"}, "1": {…}}` | pandas `orient="index"`, objects by their id |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

# Under one of these a single object holds the records of a whole file.
WRAPPERS = ("data", "rows", "examples", "records", "train", "items", "instances", "dataset")
_SPLIT = {"columns", "data", "index"}
_HUB_ROW = {"row_idx", "row"}
_ROLE_KEYS = ("role", "from", "speaker", "parts")


class Unwrapped(NamedTuple):
    """The records, and the keys beside them that say nothing of a record. `table`: they were turned by columns."""

    entries: list[Any]
    beside: list[str]
    table: bool


def unwrapped(document: Mapping[str, Any]) -> Unwrapped | None:
    """The records that one object holds; None of an object that is a record itself."""
    if (split := _split(document)) is not None:
        return split
    held = [key for key in document if key in WRAPPERS and _are_objects(document[key])]
    if len(held) == 1:
        rows = document[held[0]]
        if all(set(row) >= _HUB_ROW and isinstance(row["row"], dict) for row in rows):
            rows = [row["row"] for row in rows]
        return Unwrapped(rows, [key for key in document if key != held[0]], False)
    for turned in (_of_lists(document), _of_objects(document)):
        if turned is not None:
            return Unwrapped(turned, [], True)
    return None


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _split(document: Mapping[str, Any]) -> Unwrapped | None:
    columns, rows = document.get("columns"), document.get("data")
    if not (set(document) <= _SPLIT and isinstance(columns, list) and isinstance(rows, list) and rows):
        return None
    names = [name for name in columns if isinstance(name, str)]
    if len(set(names)) < len(columns) or not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        return None
    entries = [dict(zip(names, row, strict=True)) for row in rows]
    return Unwrapped(entries, [key for key in document if key == "index"], True)


def _of_lists(document: Mapping[str, Any]) -> list[Any] | None:
    """Columns as lists of one length. A list of messages is none: a single column has to hold lists itself."""
    columns = list(document.values())
    if not columns or not all(isinstance(column, list) and column for column in columns):
        return None
    if len({len(column) for column in columns}) > 1 or any(_speaks(cell) for column in columns for cell in column):
        return None
    if len(columns) == 1 and not all(isinstance(cell, list) for cell in columns[0]):
        return None
    return [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)]


def _of_objects(document: Mapping[str, Any]) -> list[Any] | None:
    """Columns by the number of the row, or rows by their number or id."""
    inner = list(document.values())
    if len(inner) < 2 or not all(isinstance(item, dict) and item and not _speaks(item) for item in inner):
        return None
    numbers = list(inner[0])
    if all(key.isdecimal() for key in numbers):
        if any(list(item) != numbers for item in inner):
            return None
        return [{name: item[number] for name, item in document.items()} for number in numbers]
    return inner if all(set(item) & set(inner[0]) for item in inner) else None


def _speaks(cell: Any) -> bool:
    """True of a message."""
    return isinstance(cell, dict) and any(key in cell for key in _ROLE_KEYS)
