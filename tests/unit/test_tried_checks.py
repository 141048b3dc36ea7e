"""Checks that no completion of the training data passes, with captures and expectations made as they are for an answer."""

from __future__ import annotations

from typing import Any

import pytest

from core.authoring.tried_checks import IdleCheck, idle_checks
from core.checks import PythonCheck
from core.config.golden import GoldenInput
from core.config.task import Task
from core.data.examples import Example, Message

HEADING = {"check": "heading", "level": 3, "pattern": r"(?P<note>\S+) — (?P<verdict>\w+)"}
ANSWERS = ["### tea — PASS", "### bread — FAIL", "### soup — PASS"]
# Fourteen inputs that expect one of two verdicts, and each a note of its own.
GOLDEN = [
    GoldenInput(
        id=f"i{place}", input="x", expect={"verdict": ("PASS", "FAIL")[place % 2], "note": f"n{place}", "rows": 3}
    )
    for place in range(14)
]


def idle(
    check: dict[str, Any],
    answers: list[str] = ANSWERS,
    golden: list[GoldenInput] = GOLDEN,
    expect: list[dict[str, Any]] | None = None,
) -> list[IdleCheck]:
    task = Task.model_validate({"name": "t", "format": [HEADING], "content": [check]})
    said: list[Any] = [*expect] if expect is not None else [None] * len(answers)
    prompt = (Message("user", "x"),)
    examples = [Example(prompt, text, 1, "t.jsonl", expect=one) for text, one in zip(answers, said, strict=True)]
    return list(idle_checks(task, examples, golden))


@pytest.mark.parametrize(
    "check",
    [
        {"check": "captured_equals", "name": "verdict"},  # a completion has one of the two that inputs expect
        {"check": "captured_equals", "name": "note"},  # each input expects another: nothing is known of a completion
        {"check": "contains_any", "values": "expect.note"},
        {"check": "words", "max": 1, "of": "verdict"},
        {"check": "each_item", "of": "lines", "pattern": "—"},
    ],
)
def test_a_check_that_some_completion_passes_or_of_which_nothing_is_known_is_not_told(check: dict[str, Any]) -> None:
    assert idle(check) == []


@pytest.mark.parametrize(
    ("check", "reason"),
    [
        ({"check": "captured_equals", "name": "verdict"}, "Pass where PASS is expected"),
        ({"check": "table", "columns": ["A"], "rows": "expect.rows"}, "no table"),
        ({"check": "words", "min": 2, "of": "note"}, ""),
        ({"check": "each_item", "of": "list", "pattern": "."}, "no items"),
        ({"check": "json_schema", "schema": {}}, "no JSON document"),
        ({"check": "section_order", "sections": ["Goal"]}, ""),
        ({"check": "number_range", "name": "note", "min": 0}, "is no number"),
    ],
)
def test_a_check_that_no_completion_passes_is_told_with_the_first_reason(check: dict[str, Any], reason: str) -> None:
    (found,) = idle(check, ["### tea — Pass", "### bread — Fail"])
    assert (found.part, found.place, found.tried, found.best, found.faulty) == ("content", 0, 2, 0, False)
    assert reason in found.reason


def test_few_golden_inputs_say_nothing_of_other_answers() -> None:
    check = {"check": "captured_equals", "name": "verdict"}
    assert len(idle(check, ["### tea — Pass"], GOLDEN[:6])) == 1
    assert idle(check, ["### tea — Pass"], GOLDEN[:5]) == []


def test_what_a_line_of_the_data_expects_counts_before_what_golden_inputs_do() -> None:
    check = {"check": "captured_equals", "name": "note"}
    assert idle(check, expect=[{"note": "tea"}, {"note": "x"}, {"note": "x"}]) == []
    (found,) = idle(check, expect=[{"note": "x"}] * 3)
    assert (found.tried, found.reason) == (3, "tea where x is expected")


def test_the_best_share_is_told_of_a_check_that_is_passed_in_part_alone() -> None:
    (found,) = idle({"check": "contains_all", "values": ["PASS", "water"], "partial": True})
    assert (found.best, found.reason) == (0.5, "“water” missing")


def test_one_that_cannot_be_done_on_any_is_told_as_that() -> None:
    (found,) = idle({"check": "similarity", "to": "expect.reference"}, expect=[{"reference": 3}] * 3)
    assert found.faulty and "a text or a list of texts is expected" in found.reason


@pytest.mark.process
def test_a_function_is_given_the_prompt_of_each_completion() -> None:
    """One that reads no expectations is known to say what it would say of an answer."""
    for code, told in (("text[4:7] in asked", 0), ("text[4:7] not in asked", 1)):
        whole = f"def score(text, expect, captures, asked): return {code}"
        check = PythonCheck(check="python", file="checks/x.py", code=whole).model_dump(mode="json")
        task = Task.model_validate({"name": "t", "format": [check]})
        examples = [
            Example((Message("system", "s"), Message("user", f"{name}?")), f"### {name}", 1, "t.jsonl")
            for name in ("tea", "rye")
        ]
        assert len(list(idle_checks(task, examples, GOLDEN, run_code=True))) == told


def test_nothing_of_a_person_is_run_unasked() -> None:
    code = "raise SystemExit"
    check = PythonCheck(check="python", file="checks/x.py", code=code).model_dump(mode="json")
    assert idle(check) == []
