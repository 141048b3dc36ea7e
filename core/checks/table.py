"""`table`: exactly so many tables with these columns and this number of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from core.checks.base import Captures, CheckResult, Count, resolve_count
from core.checks.forgiveness import Forgive, Forgiven, ForgivingDefinition, same_name
from core.checks.lookalikes import alike_as_whole

if TYPE_CHECKING:
    from core.checks.markdown import Document, Table


class TableCheck(ForgivingDefinition):
    """`forgive`: by default escaped bars, and tables in code blocks of text beside text; also one code block around all, and
    quotations (`core.checks.forgiveness`)."""

    FORGIVES: ClassVar[tuple[Forgiven, ...]] = ("fence", "code", "nested", "escaped_pipes")

    forgive: Forgive = ("code", "escaped_pipes")
    check: Literal["table"]
    columns: tuple[str, ...] | None = Field(default=None, min_length=1, strict=False)
    rows: Count | None = None
    count: Count = 1
    case_sensitive: bool = False


def score_table(
    definition: TableCheck, text: str, expect: Mapping[str, Any], captures: Captures, timeout: float
) -> CheckResult:
    """1 when exactly `count` tables have the columns, in this order, and each of them has `rows` body rows.

    Where no table stands in the text itself, those in code blocks beside it count (`forgive: [code]`): a reader sees a table.

    Tables with other columns are no fault of this check. Partial: the right tables that are asked for, over the
    tables that have the columns or are asked for, whichever are more.
    """
    from core.checks.markdown import document, tables

    expected = resolve_count(definition.count, expect)
    rows = None if definition.rows is None else resolve_count(definition.rows, expect)
    read = document(text, definition.parts, definition.forgiven)
    found = tables(read, definition.forgiven)
    named = [table for table in found if _has_columns(definition, table)]
    right = [table for table in named if rows is None or table.rows == rows]
    good = len(right) == len(named) == expected
    if good:
        return CheckResult(1.0)
    share = min(len(right), expected) / max(len(named), expected) if definition.partial else 0.0
    return CheckResult(share, _why(definition, read, found, named, right, rows, expected))


def _names(definition: TableCheck, columns: tuple[str, ...]) -> list[str]:
    return [same_name(column, definition.parts, case_sensitive=definition.case_sensitive) for column in columns]


def _has_columns(definition: TableCheck, table: Table) -> bool:
    return definition.columns is None or _names(definition, table.columns) == _names(definition, definition.columns)


def _why(
    definition: TableCheck,
    read: Document,
    found: list[Table],
    named: list[Table],
    right: list[Table],
    rows: int | None,
    expected: int,
) -> str:
    if len(named) == expected:
        wrong = next(table for table in named if table not in right)
        which = "the table has" if expected == 1 else "a table has"
        return f"{which} {wrong.rows} row{'s' if wrong.rows != 1 else ''}, {rows} expected"
    if named or not expected:
        return f"{len(named)} table{'s' if len(named) != 1 else ''}, {expected} expected"
    if read.fenced:
        return "the whole answer is in a code block"
    if found and definition.columns is not None:
        return f"the table has other columns{_alike(definition, definition.columns, found)}"
    return "no table"


def _alike(definition: TableCheck, wanted: tuple[str, ...], tables: list[Table]) -> str:
    """What only looks like a column that is asked for, if anything does."""
    pairs = (pair for table in tables for pair in zip(table.columns, wanted, strict=False))
    found = (alike_as_whole(have, want, case_sensitive=definition.case_sensitive) for have, want in pairs)
    return next(filter(None, found), "")
