"""The tasks of a project as a table for a terminal of any width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.authoring.task_rows import TaskRow
from core.cli.text_grid import grid, wrap
from core.text import printable

HEAD = ("task", "inputs", "confirm", "format", "content", "examples", "tokens each", "longest prompt", "room")


def task_table(rows: Sequence[TaskRow], width: int) -> Iterator[str]:
    """A line a task, and what the figures are."""
    if not rows:
        return
    yield from grid([HEAD, *(_cells(row) for row in rows)], width)
    yield from wrap(
        "confirm: golden inputs kept to confirm by; format, content: checks; tokens: about, 4 characters each; room: what"
        " a prompt may take of the context",
        width,
    )


def _cells(row: TaskRow) -> tuple[str, ...]:
    return (
        f"{printable(row.name)}{' ✗' if row.problems else ''}",
        f"{row.inputs:,}",
        f"{row.confirm:,}",
        f"{len(row.format_checks)}",
        f"{len(row.content_checks)}",
        _figure(row.examples),
        _figure(row.example_tokens),
        _figure(row.prompt_tokens),
        f"{row.room_tokens:,}",
    )


def _figure(value: int | None) -> str:
    return "—" if value is None else f"{value:,}"
