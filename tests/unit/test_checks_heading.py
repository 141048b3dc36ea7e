"""The check `heading`: headings as a markdown parser sees them."""

from __future__ import annotations

from typing import Any

import pytest

from core.checks import HeadingCheck, build
from core.checks.base import CheckResult

PATTERN = r"^(?P<note>\S+) — (?P<verdict>PASS|FAIL) \((?P<score>[0-5]\.\d)/5\)$"


def score(text: str, expect: dict[str, Any] | None = None, **keys: Any) -> CheckResult:
    definition = HeadingCheck(check="heading", **{"level": 3, "pattern": PATTERN, **keys})
    return build(definition).score(text, expect or {})


def test_one_heading_of_the_form_passes_and_its_groups_are_captured() -> None:
    result = score("### tea — PASS (4.2/5)\n\ntext")
    assert result == CheckResult(1.0, "", {"note": ["tea"], "verdict": ["PASS"], "score": ["4.2"]})


def test_captures_are_in_document_order() -> None:
    result = score("### tea — PASS (4.2/5)\n\n### milk — FAIL (1.0/5)\n", count=2)
    assert result.value == 1
    assert result.captures["note"] == ["tea", "milk"]
    assert result.captures["verdict"] == ["PASS", "FAIL"]


@pytest.mark.parametrize(
    "heading", ["### **tea** — PASS (4.2/5)", "### `tea` — *PASS* (4.2/5) ###", "   ### tea — PASS (4.2/5)"]
)
def test_markup_and_closing_marks_are_no_part_of_the_text(heading: str) -> None:
    assert score(heading).captures["note"] == ["tea"]


@pytest.mark.parametrize(
    "text",
    [
        "```\n### tea — PASS (4.2/5)\n```\ntext",
        "> ### tea — PASS (4.2/5)",
        "    ### tea — PASS (4.2/5)",
        "text ### tea — PASS (4.2/5)",
        "###tea — PASS (4.2/5)",
        "- ### tea — PASS (4.2/5)",
    ],
    ids=["code block", "quotation", "indented code", "in a line", "no space", "in a list"],
)
def test_what_only_looks_like_a_heading_is_none(text: str) -> None:
    result = score(text)
    assert result.value == 0
    assert result.captures == {}


def test_an_underlined_line_is_a_heading_of_level_two() -> None:
    assert score("tea — PASS (4.2/5)\n---\n", level=2).value == 1


@pytest.mark.parametrize(("count", "value"), [(1, 0), (2, 1), (3, 0)])
def test_exactly_so_many_must_match(count: int, value: float) -> None:
    assert score("### a — PASS (1.0/5)\n### b — PASS (1.0/5)\n### other\n", count=count).value == value


def test_none_may_be_asked_for() -> None:
    assert score("text", count=0).value == 1
    assert score("### a — PASS (1.0/5)", count=0).value == 0


@pytest.mark.parametrize("notes", [2, ["a", "b"]])
def test_the_number_may_come_from_the_golden_input(notes: object) -> None:
    text = "### a — PASS (1.0/5)\n### b — PASS (1.0/5)\n"
    assert score(text, {"notes": notes}, count="expect.notes").value == 1


def test_a_golden_input_without_the_key_makes_the_check_faulty() -> None:
    result = score("### a — PASS (1.0/5)", {"note": 1}, count="expect.notes")
    assert (result.value, result.faulty, result.detail) == (0, True, "the golden input has no expect.notes")


@pytest.mark.parametrize("notes", ["two", 1.5, -1, True, None])
def test_a_golden_input_with_no_number_makes_the_check_faulty(notes: object) -> None:
    assert score("### a — PASS (1.0/5)", {"notes": notes}, count="expect.notes").faulty


@pytest.mark.parametrize(("found", "value"), [(0, 0), (1, 0.5), (2, 1), (4, 0.5)])
def test_partial_gives_the_share_in_both_directions(found: int, value: float) -> None:
    assert score("### a — PASS (1.0/5)\n" * found, count=2, partial=True).value == value


def test_case_matters_unless_it_is_told_not_to() -> None:
    assert score("### a — pass (1.0/5)").value == 0
    assert score("### a — pass (1.0/5)", case_sensitive=False).value == 1


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("text", "no heading of level 3"),
        ("## a — PASS (1.0/5)", "the heading has level 2, 3 expected"),
        ("### a: PASS", "no heading of level 3 has the form asked for"),
        ("```markdown\n### a — PASS (1.0/5)\n```", "the whole answer is in a code block"),
        ("### a — PASS (1.0/5)\n\n### b — PASS (1.0/5)", "2 matching headings, 1 expected"),
    ],
)
def test_the_detail_says_why(text: str, detail: str) -> None:
    assert score(text).detail == detail


@pytest.mark.process  # an answer of this length is scored in a process of its own
def test_the_time_limit_is_for_all_headings_together() -> None:
    definition = HeadingCheck(check="heading", level=3, pattern="(x+x+)+y")
    result = build(definition, pattern_timeout=0.1).score(("### " + "x" * 1000 + "\n") * 50, {})
    assert result.faulty
    assert result.detail == "the pattern ran longer than 0.1 s"
