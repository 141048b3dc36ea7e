"""The answers that are marked by hand with their failure modes, and the detectors held to the marks."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.marked_answers import FOLDER, MARKED, asked_tasks, marked_answers

ANSWERS = marked_answers()


def test_every_mark_is_of_a_code_that_the_definitions_have() -> None:
    defined = [line.split("`")[1] for line in (FOLDER / "README.md").read_text().splitlines() if line.startswith("**`")]
    assert tuple(defined) == MARKED
    assert {code for answer in ANSWERS for code in answer.modes} == set(MARKED)


def test_every_answer_is_to_an_input_of_its_task_and_stands_once() -> None:
    tasks = asked_tasks()
    assert [answer.id for answer in ANSWERS if answer.input not in tasks[answer.task].inputs] == []
    assert [answer.id for answer in ANSWERS if answer.shots > len(tasks[answer.task].examples)] == []
    assert [name for name, times in Counter(answer.id for answer in ANSWERS).items() if times > 1] == []


@pytest.mark.parametrize("code", MARKED)
def test_each_code_is_marked_in_both_parts(code: str) -> None:
    uses = {answer.use for answer in ANSWERS if code in answer.modes}
    assert uses == {"tune", "confirm"}
