"""The check `regex`: patterns, their captures and their time limit."""

from __future__ import annotations

import time
from typing import Any

import pytest

from core.checks import RegexCheck, build
from core.checks.base import CheckResult
from tests.support.depth import at_most


def score(
    text: str, pattern: str, expect: dict[str, Any] | None = None, timeout: float = 1.0, **keys: Any
) -> CheckResult:
    return build(RegexCheck(check="regex", pattern=pattern, **keys), timeout).score(text, expect or {})


def test_a_pattern_is_searched_anywhere() -> None:
    assert score("one two", "two").value == 1
    assert score("one two", "three").detail == "pattern: no match"
    assert score("one two", "three", id="summary").detail == "summary: no match"


def test_lines_have_ends_of_their_own_only_with_multiline() -> None:
    text = "a\nSUMMARY: 1\nb"
    assert score(text, "^SUMMARY: .+$").value == 0
    assert score(text, "^SUMMARY: .+$", multiline=True).value == 1


def test_the_ends_of_lines_are_the_same_on_all_systems() -> None:
    assert score("a\r\nSUMMARY: 1\r\nb", r"^SUMMARY: \d$", multiline=True).value == 1


def test_flags_do_what_they_say() -> None:
    assert score("a\nb", "a.b").value == 0
    assert score("a\nb", "a.b", flags=["dotall"]).value == 1
    assert score("ab", "a b", flags=["verbose"]).value == 1
    assert score("é", r"\w", flags=["ascii"]).value == 0
    assert score("ABC", "b").value == 0
    assert score("ABC", "b", case_sensitive=False).value == 1


def test_with_a_count_there_must_be_exactly_so_many() -> None:
    assert score("aaa", "a", count=3).value == 1
    assert score("aaa", "a", count=2).detail == "pattern: 3 matches, expected 2"
    assert score("bbb", "a", count=0).value == 1
    assert score("aaa", "a", {"n": 3}, count="expect.n").value == 1
    assert score("aaa", "a", count=6, partial=True).value == 0.5


def test_named_groups_are_captured_in_order_and_those_that_took_no_part_add_nothing() -> None:
    result = score("a1 b a2", r"(?P<letter>[ab])(?P<digit>\d)?")
    assert result.captures == {"letter": ["a", "b", "a"], "digit": ["1", "2"]}


@pytest.mark.timed
@pytest.mark.parametrize(
    "pattern", ["(x+x+)+y", "(x*)*(x*)*y", "(?:x|xx|xxx)+?(?:x|xx)+?(?:x|xx)+?y", r"(x?){30}x{30}\1y"]
)
def test_a_catastrophic_pattern_runs_out_of_time_and_is_faulty(pattern: str) -> None:
    start = time.monotonic()
    result = score("x" * 5_000 + "z", pattern, timeout=0.2)
    assert time.monotonic() - start < at_most(2)
    assert result.value == 0
    if result.faulty:
        assert result.detail == "the pattern ran longer than 0.2 s"
    else:
        # The engine saw by itself that no y is there.
        assert result.detail == "pattern: no match"


def test_at_least_the_plainest_catastrophe_is_stopped_by_the_clock() -> None:
    assert score("x" * 5_000, "(x+x+)+y", timeout=0.1).faulty


@pytest.mark.process  # an answer of this length is scored in a process of its own
def test_a_pattern_that_matches_between_all_characters_is_faulty_and_fills_no_memory() -> None:
    result = score("a" * 100_000, "(?P<x>a?)", timeout=60)
    assert (result.value, result.faulty, result.captures) == (0, True, {})
    assert result.detail == "the pattern matches more than 10,000 times"


@pytest.mark.process  # an answer of this length is scored in a process of its own
@pytest.mark.timed
def test_a_pattern_that_is_slow_over_many_matches_is_stopped_too() -> None:
    start = time.monotonic()
    result = score(("x" * 400 + "z") * 400, "(x+x+)+y|z", timeout=0.3)
    assert result.faulty
    assert time.monotonic() - start < at_most(2)
