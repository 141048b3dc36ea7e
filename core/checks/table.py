"""`table`: exactly so many tables with these columns and this number of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from core.checks.base import BaseDefinition, Captures, CheckResult, Count, resolve_count

if TYPE_CHECKING:
    from core.checks.markdown import Document, Table


class TableCheck(BaseDefinition):
    check: Literal["table"]
    columns: tuple[str, ...] | None = Field(default=None, min_length=1, strict=False)
    rows: Count | None = None
    count: Count = 1
    case_sensitive: bool = False


def score_table(
    definition: TableCheck, text: str, expect: Mapping[str, Any], captures: Captures, timeout: float
) -> CheckResult:
    """1 when exactly `count` tables have the columns, in this order, and each of them has `rows` body rows.

    Tables with other columns are no fault of this check. Partial: the right tables that are asked for, over the
    tables that have the columns or are asked for, whichever are more.
    """
    from core.checks.markdown import parse

    expected = resolve_count(definition.count, expect)
    rows = None if definition.rows is None else resolve_count(definition.rows, expect)
    document = parse(text)
    named = [table for table in document.tables if _has_columns(definition, table)]
    right = [table for table in named if rows is None or table.rows == rows]
    good = len(right) == len(named) == expected
    if good:
        return CheckResult(1.0)
    share = min(len(right), expected) / max(len(named), expected) if definition.partial else 0.0
    return CheckResult(share, _why(definition, document, named, right, rows, expected))


def _names(definition: TableCheck, columns: tuple[str, ...]) -> list[str]:
    stripped = (" ".join(column.split()) for column in columns)
    return [column if definition.case_sensitive else column.casefold() for column in stripped]


def _has_columns(definition: TableCheck, table: Table) -> bool:
    return definition.columns is None or _names(definition, table.columns) == _names(definition, definition.columns)


def _why(
    definition: TableCheck, document: Document, named: list[Table], right: list[Table], rows: int | None, expected: int
) -> str:
    if len(named) == expected:
        wrong = next(table for table in named if table not in right)
        which = "the table has" if expected == 1 else "a table has"
        return f"{which} {wrong.rows} row{'s' if wrong.rows != 1 else ''}, {rows} expected"
    if named or not expected:
        return f"{len(named)} table{'s' if len(named) != 1 else ''}, {expected} expected"
    if document.fenced:
        return "the whole answer is in a code block"
    if document.tables and definition.columns is not None:
        return "the table has other columns"
    return "no table"
