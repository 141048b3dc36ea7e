"""What a golden input expects by a right answer: as the checks of the task read it."""

from __future__ import annotations

from typing import Any

import pytest

from core.config.golden import GoldenInput
from core.config.project import shipped
from core.config.task import Task
from core.marking.expectations import asked_keys, captured, expectation, still_missing
from core.scoring.scorer import score_answer
from tests.support.invented_answers import answer

HEADING = {
    "check": "heading",
    "level": 3,
    "pattern": r"^(?P<note>.+): (?P<verdict>PASS|FAIL)$",
    "count": "expect.notes",
}
TABLE = {"check": "table", "columns": ["Criterion", "Score"], "rows": "expect.rows", "count": "expect.notes"}
REGEX = {"check": "regex", "pattern": r"(?m)^(?P<key>\w+): (?P<price>[\d.]+)$"}
ONE_NOTE = "### gate: PASS\n\n| Criterion | Score |\n|---|---|\n| Order | 3 |\n| Use | 4 |\n"
TWO_NOTES = ONE_NOTE + "\n" + ONE_NOTE.replace("gate: PASS", "rope: FAIL")


def task(format: list[dict[str, Any]], content: list[dict[str, Any]]) -> Task:
    return Task.model_validate({"name": "t", "format": format, "content": content})


def equals(name: str) -> dict[str, Any]:
    return {"check": "captured_equals", "name": name}


@pytest.mark.parametrize(
    ("of_task", "text", "values", "missing"),
    [
        # One captured value is itself, several are a list; a count that nothing captures is the number that passes.
        (
            task([HEADING, TABLE], [equals("note"), equals("verdict")]),
            ONE_NOTE,
            {"note": "gate", "verdict": "PASS", "notes": 1, "rows": 2},
            (),
        ),
        (
            task([HEADING, TABLE], [equals("note"), equals("verdict")]),
            TWO_NOTES,
            {"note": ["gate", "rope"], "verdict": ["PASS", "FAIL"], "notes": 2, "rows": 2},
            (),
        ),
        # Whole numbers are numbers, since checks count by them; others stay as they are written.
        (task([REGEX], [equals("key"), equals("price")]), "flour: 12", {"key": "flour", "price": 12}, ()),
        (task([REGEX], [equals("price")]), "flour: 1.10", {"price": "1.10"}, ()),
        (task([REGEX], [equals("price")]), "flour: 007", {"price": "007"}, ()),
        # Only what checks ask for; what no answer shows is left to the person.
        (task([REGEX], [equals("key")]), "flour: 12", {"key": "flour"}, ()),
        (task([REGEX], [equals("key")]), "no line of that form", {}, ("key",)),
        (task([REGEX], [{"check": "contains_any", "values": "expect.words"}]), "flour: 12", {}, ("words",)),
    ],
)
def test_the_captures_of_the_right_answer_become_what_is_expected(
    of_task: Task, text: str, values: dict[str, Any], missing: tuple[str, ...]
) -> None:
    found = expectation(of_task, text)
    assert dict(found.values) == values and found.missing == missing
    assert set(asked_keys(of_task)) == {*values, *missing}
    assert still_missing(of_task, found.values) == missing
    if not missing:
        item = GoldenInput(id="x", input="", expect=values)
        scores = score_answer(of_task, item, answer("a", "t", "x", 1, text))
        assert all(score.value == 1.0 and not score.faulty for score in scores)


def test_answers_are_read_before_anything_is_expected_of_them() -> None:
    """A check that counts by `expect.KEY` captures nothing of an input without expectations: it cannot be done."""
    of_task = task([HEADING], [equals("note")])
    assert captured(of_task, TWO_NOTES) == {"note": ["gate", "rope"], "verdict": ["PASS", "FAIL"]}


def test_every_golden_input_of_a_shipped_task_expects_what_its_checks_ask_for() -> None:
    project = shipped()
    tasks = project.tasks()
    assert len(tasks) > 1
    for one in tasks:
        assert asked_keys(one)
        assert {item.id: still_missing(one, item.expect) for item in project.golden(one).inputs} == {
            item.id: () for item in project.golden(one).inputs
        }
