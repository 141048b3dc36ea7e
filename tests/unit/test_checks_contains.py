"""The checks `contains_any`, `contains_all`, `not_contains`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.checks import ContainsAllCheck, ContainsAnyCheck, NotContainsCheck, build
from core.checks.base import CheckResult

KINDS = {"contains_any": ContainsAnyCheck, "contains_all": ContainsAllCheck, "not_contains": NotContainsCheck}


def score(check: str, text: str, values: object, expect: dict[str, Any] | None = None, **keys: Any) -> CheckResult:
    return build(KINDS[check].model_validate({"check": check, "values": values, **keys})).score(text, expect or {})


@pytest.mark.parametrize(
    ("check", "text", "value"),
    [
        ("contains_any", "tea", 1),
        ("contains_any", "water", 0),
        ("contains_all", "tea", 0),
        ("contains_all", "milk and tea", 1),
        ("not_contains", "water", 1),
        ("not_contains", "tea", 0),
    ],
)
def test_any_all_or_none_of_the_values_are_there(check: str, text: str, value: float) -> None:
    assert score(check, text, ["tea", "milk"]).value == value


def test_case_does_not_matter_unless_it_is_told_to() -> None:
    assert score("contains_any", "TEA", ["tea"]).value == 1
    assert score("contains_any", "TEA", ["tea"], case_sensitive=True).value == 0
    assert score("contains_any", "STRASSE", ["Straße"]).value == 1


def test_letters_are_equal_however_they_are_composed() -> None:
    assert score("contains_any", "cafe\u0301", ["caf\u00e9"], case_sensitive=True).value == 1


def test_values_are_no_patterns() -> None:
    assert score("contains_any", "abc", ["a.c"]).value == 0


@pytest.mark.parametrize("words", [["tea", "milk"], ("tea", "milk")])
def test_values_may_come_from_the_golden_input(words: object) -> None:
    assert score("contains_all", "tea, milk", "expect.words", {"words": words}).value == 1
    assert score("contains_all", "tea", "expect.words", {"words": words}).value == 0


def test_a_single_expected_value_is_a_list_of_one() -> None:
    assert score("contains_all", "it costs 14", "expect.price", {"price": 14}).value == 1


@pytest.mark.parametrize("words", [[], None, {"a": 1}, [""], [[]], ["a", [""]], [[["a"]]]])
def test_an_expectation_that_is_no_list_of_strings_makes_the_check_faulty(words: object) -> None:
    result = score("not_contains", "tea", "expect.words", {"words": words})
    assert (result.value, result.faulty) == (0, True)


def test_a_golden_input_without_the_key_makes_the_check_faulty() -> None:
    assert score("contains_any", "tea", "expect.words", {}).detail == "the golden input has no expect.words"


def test_partial_gives_the_share_that_is_right() -> None:
    values = ["tea", "milk", "salt", "oil"]
    assert score("contains_all", "tea", values, partial=True).value == 0.25
    assert score("not_contains", "tea", values, partial=True).value == 0.75
    assert score("contains_any", "tea", values, partial=True).value == 1


def test_the_detail_names_what_is_wrong() -> None:
    assert score("contains_any", "x", ["tea", "milk"]).detail == "none of “tea”, “milk”"
    assert score("contains_all", "tea", ["tea", "milk"]).detail == "“milk” missing"
    assert score("not_contains", "tea", ["tea", "milk"]).detail == "“tea” not wanted"
    assert score("contains_all", "x", ["a", "b", "c", "d", "e"]).detail == "“a”, “b”, “c” and 2 more missing"


@given(st.text(), st.lists(st.text(min_size=1), min_size=1))
def test_what_is_wanted_and_what_is_not_wanted_are_opposites(text: str, values: list[str]) -> None:
    found = score("contains_any", text, values).value
    assert found == 1 - score("not_contains", text, values).value
    assert score("contains_all", text, values).value <= found


@pytest.mark.parametrize(
    ("check", "text", "value"),
    [
        ("contains_all", "on May 3 with milk", 1),
        ("contains_all", "on 3 May", 0.5),
        ("contains_all", "milk, no day", 0.5),
        ("contains_all", "tea", 0),
        ("contains_any", "on 05-03", 1),
        ("contains_any", "in May", 0),
        ("not_contains", "on 05-03", 0.5),
        ("not_contains", "in May", 1),
    ],
)
def test_one_spelling_of_an_expected_value_is_enough(check: str, text: str, value: float) -> None:
    expect = {"facts": [["3 May", "May 3", "05-03"], "milk"]}
    assert score(check, text, "expect.facts", expect, partial=True).value == value


@pytest.mark.parametrize(
    ("text", "value", "there"),
    [
        ("12 cups", "12", True),
        ("cups: 12.", "12", True),
        ("(12)", "12", True),
        ("12,", "12", True),
        ("from 12, 13 and 14", "13", True),
        ("a12", "12", False),
        ("112", "12", False),
        ("12.5", "12", False),
        ("2.12", "12", False),
        ("1,012 and 12,012", "12", False),
        ("12’000", "12", False),
        ("12%", "12%", True),
        ("112%", "12%", False),
        ("+12", "12", True),
        ("+12", "+12", True),
        ("teas", "tea", False),
        ("Tea-room", "tea", True),
        ("thé vert", "th", False),
        ("steam, tea", "tea", True),
        ("12.5 and 12", "12", True),
        ("12th", "12", False),
        ("…", "…", True),
        ("a.c", "a.c", True),
        ("abc", "a.c", False),
    ],
)
def test_a_whole_value_stands_by_itself(text: str, value: str, there: bool) -> None:
    assert score("contains_all", text, [value], whole=True).value == there
    assert score("not_contains", text, [value], whole=True).value == (not there)
    assert value.casefold() not in text.casefold() or score("contains_all", text, [value]).value == 1


PLAN = "# Went well\n\nThe tea.\n\n## Aside\n\nMilk, too.\n\nRisks\n=====\n\nNone of sugar.\n"


@pytest.mark.parametrize(
    ("check", "section", "values", "value"),
    [
        ("contains_all", "went well", ["tea", "milk"], 1),
        ("contains_all", "Risks", ["tea", "sugar"], 0.5),
        ("contains_any", "Aside", ["tea"], 0),
        ("contains_any", "Risks", ["Risks"], 0),
        ("not_contains", "Risks", ["tea"], 1),
        ("not_contains", "Risks", ["sugar"], 0),
        ("contains_any", "Goals", ["tea"], 0),
        ("not_contains", "Goals", ["tea"], 0),
    ],
)
def test_only_what_stands_below_a_heading_is_looked_through(
    check: str, section: str, values: list[str], value: float
) -> None:
    assert score(check, PLAN, values, section=section, partial=True).value == value


def test_a_heading_that_is_not_forgiven_begins_no_section() -> None:
    assert score("contains_any", PLAN, ["sugar"], section="Risks", forgive=False).value == 0
    assert score("contains_any", "**Risks**\n\nsugar", ["sugar"], section="Risks", forgive=["emphasis"]).value == 1


@pytest.mark.parametrize(("check", "value"), [("contains_all", 1), ("contains_any", 1), ("not_contains", 0)])
def test_only_what_was_captured_under_a_name_is_looked_through(check: str, value: float) -> None:
    definition = KINDS[check].model_validate({"check": check, "values": ["tea"], "of": "drink", "whole": True})
    assert build(definition).score("water", {}, {"drink": ["milk", "some tea"]}).value == value
    assert build(definition).score("tea", {}, {"drink": ["milk te", "a"]}).value == 1 - value
    assert build(definition).score("tea", {}, {"food": ["tea"]}).value == 0


@pytest.mark.process  # an answer of this length is scored in a process of its own
@pytest.mark.parametrize("text", ["12." * 60_000, "1" * 199_000, "a" * 199_000])
def test_a_whole_value_is_found_in_linear_time(text: str) -> None:
    assert score("contains_all", text, ["1" * 30 + "2", "12.1"], whole=True).value == 0
