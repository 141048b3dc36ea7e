"""The fields of the form of a new task: their labels, and what is proposed in them while somebody types."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from textual.suggester import Suggester

from tui.queries.data_file import completed_path

LABELS = {
    "path": "data file",
    "name": "task name",
    "held": "hold out",
    "prompt": "prompt column",
    "answer": "answer column",
    "ignored": "ignore keys",
    "encoding": "encoding",
    "project": "project",
}
NOTES = {
    "prompt": "if its name is unusual",
    "answer": "if its name is unusual",
    "ignored": "that would be refused, such as tools",
    "encoding": "if not UTF-8, such as cp1252",
    "project": "becomes a project",
}
READING = ("prompt", "answer", "ignored", "encoding")
"""How a file is read that does not speak for itself: where rows are few, these stand only beside a file that has problems."""


class Paths(Suggester):
    """Completes a path; a folder is listed in a thread, as it can be far away."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        return await asyncio.to_thread(completed_path, value) if value else None


class ColumnNames(Suggester):
    """Completes the name of a column of the file, whatever its case."""

    def __init__(self, names: Callable[[], Sequence[str]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self.names = names

    async def get_suggestion(self, value: str) -> str | None:
        return next((name for name in self.names() if value and name.lower().startswith(value.lower())), None)


def suggester(key: str, columns: Callable[[], Sequence[str]]) -> Suggester | None:
    """What completes a field; None where nothing does. `columns` gives the names of the file's columns."""
    if key in ("path", "project"):
        return Paths()
    return ColumnNames(columns) if key in ("prompt", "answer") else None
