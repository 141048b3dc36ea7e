"""The check `captured_equals`: captures against what the golden input expects."""

from __future__ import annotations

from typing import Any

import pytest

from core.checks import CapturedEqualsCheck, build
from core.checks.base import CheckResult


def score(captured: list[str], expected: Any, **keys: Any) -> CheckResult:
    definition = CapturedEqualsCheck(check="captured_equals", name="verdict", **keys)
    return build(definition).score("text", {"verdict": expected}, {"verdict": captured})


def test_a_scalar_is_a_list_of_one() -> None:
    assert score(["PASS"], "PASS").value == 1
    assert score(["PASS"], ["PASS"]).value == 1
    assert score(["PASS", "PASS"], "PASS").value == 0


def test_lists_are_compared_in_document_order() -> None:
    assert score(["PASS", "FAIL"], ["PASS", "FAIL"]).value == 1
    assert score(["FAIL", "PASS"], ["PASS", "FAIL"]).value == 0


def test_space_around_does_not_matter() -> None:
    assert score([" PASS\n"], " PASS ").value == 1


def test_case_matters_unless_it_is_told_not_to() -> None:
    assert score(["pass"], "PASS").value == 0
    assert score(["pass"], "PASS", case_sensitive=False).value == 1


@pytest.mark.parametrize(
    ("captured", "expected", "value"),
    [
        ("4.20", 4.2, 1),
        ("4", 4.0, 1),
        ("04", 4, 1),
        ("4.3", 4.2, 0),
        ("four", 4, 0),
        ("nan", 4, 0),
        ("", 0, 0),
        ("4.20", "4.2", 0),
    ],
)
def test_numbers_are_compared_as_numbers(captured: str, expected: object, value: float) -> None:
    assert score([captured], expected).value == value


def test_a_tolerance_lets_numbers_be_near() -> None:
    assert score(["4.0"], 4.5, tolerance=0.5).value == 1
    assert score(["3.9"], 4.5, tolerance=0.5).value == 0


def test_a_truth_value_is_its_word() -> None:
    assert score(["true"], True).value == 1
    assert score(["1"], True).value == 0


def test_nothing_captured_scores_nothing() -> None:
    for partial in (False, True):
        result = score([], "PASS", partial=partial)
        assert (result.value, result.faulty, result.detail) == (0, False, "no verdict found")


@pytest.mark.parametrize("expected", [[], None, {"a": 1}, [None], [["PASS"]]])
def test_an_expectation_that_can_never_be_met_makes_the_check_faulty(expected: object) -> None:
    result = score(["PASS"], expected)
    assert (result.value, result.faulty) == (0, True)
    assert "expect.verdict" in result.detail


def test_a_golden_input_without_the_key_makes_the_check_faulty() -> None:
    result = build(CapturedEqualsCheck(check="captured_equals", name="verdict")).score("", {}, {"verdict": ["PASS"]})
    assert (result.faulty, result.detail) == (True, "the golden input has no expect.verdict")


@pytest.mark.parametrize(
    ("captured", "expected", "share"),
    [
        (["a", "b"], ["a", "x"], 0.5),
        (["a"], ["a", "b", "c", "d"], 0.25),
        (["a", "b", "c", "d"], ["a"], 0.25),
        (["x"], ["a"], 0),
    ],
)
def test_partial_gives_the_share_of_places_over_the_longer_list(
    captured: list[str], expected: list[str], share: float
) -> None:
    assert score(captured, expected, partial=True).value == share
    assert score(captured, expected).value == 0


def test_the_detail_says_why() -> None:
    assert score(["FAIL"], "PASS").detail == "FAIL where PASS is expected"
    assert score(["PASS", "FAIL"], ["PASS", "PASS", "PASS"]).detail == "2 × verdict, 3 expected"
    assert len(score(["x\n" * 5000], "PASS").detail) < 100


def test_text_that_looks_like_a_number_is_compared_as_text() -> None:
    assert score(["4.20"], "4.2").value == 0
