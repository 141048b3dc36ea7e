"""The check `table`: tables as a markdown parser sees them."""

from __future__ import annotations

from typing import Any

import pytest

from core.checks import TableCheck, build
from core.checks.base import CheckResult


def table(rows: int, columns: str = "| Criterion | Score |") -> str:
    marks = "|" + "---|" * (columns.count("|") - 1)
    return "\n".join([columns, marks, *["| a | 4 |"] * rows, ""]) + "\n"


def score(text: str, expect: dict[str, Any] | None = None, **keys: Any) -> CheckResult:
    definition = TableCheck(check="table", **{"columns": ("Criterion", "Score"), "rows": 5, **keys})
    return build(definition).score(text, expect or {})


def test_a_table_with_the_columns_and_rows_passes() -> None:
    assert score("Here:\n\n" + table(5)) == CheckResult(1.0)


@pytest.mark.parametrize("columns", ["|criterion|SCORE|", "|  Criterion |Score  |", "| **Criterion** | `Score` |"])
def test_case_space_and_markup_of_the_names_do_not_matter(columns: str) -> None:
    assert score(table(5, columns)).value == 1


def test_case_matters_when_it_is_told_to() -> None:
    assert score(table(5, "|criterion|Score|"), case_sensitive=True).value == 0
    assert score(table(5), case_sensitive=True).value == 1


def test_a_table_may_leave_out_its_outer_bars() -> None:
    assert score("Criterion | Score\n---|---\na | 1\nb | 2\n", rows=2).value == 1


@pytest.mark.parametrize("columns", ["| Score | Criterion |", "| Criterion | Score | Why |", "| Criterion |"])
def test_other_columns_are_another_table(columns: str) -> None:
    result = score(table(5, columns))
    assert (result.value, result.detail) == (0, "the table has other columns")


def test_without_columns_any_table_will_do() -> None:
    assert score(table(5, "| Score | Criterion |"), columns=None).value == 1


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (table(4), "the table has 4 rows, 5 expected"),
        (table(1), "the table has 1 row, 5 expected"),
        ("no table at all", "no table"),
        ("```\n" + table(5) + "```", "the whole answer is in a code block"),
        (table(5) + "\n" + table(5), "2 tables, 1 expected"),
        ("| Criterion | Score |\n| a | 4 |\n", "no table"),
    ],
)
def test_the_detail_says_why(text: str, detail: str) -> None:
    result = score(text)
    assert (result.value, result.detail) == (0, detail)


def test_each_of_several_tables_must_be_right() -> None:
    assert score("\n".join([table(5)] * 3), count=3).value == 1
    result = score("\n".join([table(5), table(4), table(5)]), count=3)
    assert (result.value, result.detail) == (0, "a table has 4 rows, 5 expected")


def test_tables_with_other_columns_stand_beside_it() -> None:
    assert score(table(2, "| x | y |") + "\n" + table(5)).value == 1


def test_numbers_may_come_from_the_golden_input() -> None:
    text = "\n".join([table(2)] * 3)
    assert score(text, {"notes": ["a", "b", "c"], "rows": 2}, count="expect.notes", rows="expect.rows").value == 1
    assert (
        score(text, {"notes": 3}, count="expect.notes", rows="expect.rows").detail
        == "the golden input has no expect.rows"
    )


def test_partial_gives_the_share_of_right_tables() -> None:
    assert score("\n".join([table(5), table(4)]), count=2, partial=True).value == 0.5
    assert score("\n".join([table(5)] * 4), count=1, partial=True).value == 0.25
    assert score(table(5), count=4, partial=True).value == 0.25
    assert score("", count=2, partial=True).value == 0
    assert score(table(5), count=0, partial=True).value == 0


def test_no_table_may_be_asked_for() -> None:
    assert score("text", count=0).value == 1
    assert score(table(5), count=0).detail == "1 table, 0 expected"


def test_a_table_in_a_quotation_is_quoted() -> None:
    assert score("> " + table(5).strip().replace("\n", "\n> ")).value == 0
