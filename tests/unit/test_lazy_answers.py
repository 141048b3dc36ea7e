"""No shipped task can be got by an answer that takes no work: echoes, skeletons, and the answer to another input."""

from __future__ import annotations

from functools import cache
from statistics import fmean

import pytest

from core.config.golden import GoldenInput
from core.config.project import shipped
from core.config.task import Task
from core.scoring.scorer import Scorer, part_score, plan_all
from tests.support.invented_answers import answer
from tests.unit.test_task_answers import NEEDS_A_MODEL, TASKS, needs_a_process, written

# Means over the inputs that hold something to work on.
MOST_FORMAT, MOST_CONTENT = 0.6, 0.4
# A verdict out of two is right by chance in half of the cases, and most inputs hold one note.
BY_CHANCE = {"judge": 0.6}


def by_process(name: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.process] if needs_a_process(shipped().task(name)) else []


ALL = [pytest.param(name, marks=by_process(name)) for name in TASKS]
LEARNT = [pytest.param(name, marks=by_process(name)) for name in TASKS if shipped().task(name).data.train is not None]


@cache
def task_of(name: str) -> Task:
    task = shipped().task(name)
    content = [check for check in task.content if check.check not in NEEDS_A_MODEL]
    return task.model_copy(update={"content": content})


def inputs(name: str) -> list[GoldenInput]:
    """Those that are not awkward because they hold nothing."""
    nothing = {"empty", "format", "own-output"}
    return [item for item in shipped().golden(task_of(name)).inputs if not nothing & set(item.tags)]


def parts(name: str, item: GoldenInput, text: str) -> tuple[float, float]:
    """The scores of format and content."""
    task = task_of(name)
    found = Scorer(task, [item], 5.0).score(answer("lazy", name, item.id, 1, text))
    assert found is not None and not found.faulty, found
    values = {check[0]: value for check, value in zip(found.checks, found.points, strict=True)}
    form, content = part_score(task, "format", values), part_score(task, "content", values)
    assert form is not None and content is not None
    return form, content


def means(name: str, texts: dict[str, str]) -> tuple[float, float]:
    """The mean scores of format and content, of one text for each input."""
    found = [parts(name, item, texts[item.id]) for item in inputs(name) if texts.get(item.id)]
    return fmean(form for form, _ in found), fmean(content for _, content in found)


@pytest.mark.parametrize("name", ALL)
def test_an_echo_of_the_input_or_of_the_instructions_scores_low(name: str) -> None:
    system = task_of(name).system
    for texts in ({item.id: item.text() for item in inputs(name)}, {item.id: system for item in inputs(name)}):
        form, content = means(name, texts)
        assert form <= MOST_FORMAT and content <= MOST_CONTENT, (form, content)


@pytest.mark.parametrize("name", ALL)
def test_one_good_answer_does_not_do_for_all_inputs(name: str) -> None:
    """Neither that to some input, whatever the form is worth, nor that to an input with nothing in it."""
    for good in (one for one in written(name) if one.quality == "good"):
        _, content = means(name, {item.id: good.answer for item in inputs(name) if item.id != good.input})
        assert content <= BY_CHANCE.get(name, MOST_CONTENT), (good.input, content)


@pytest.mark.parametrize("name", LEARNT)
@pytest.mark.parametrize(
    "text", ["", "I'm ready to help. What's your question?", "The text is in English. " * 40, "- one\n" * 40]
)
def test_what_a_base_model_writes_passes_no_format_check(name: str, text: str) -> None:
    """A check that only forbids something would flatter a model that has nothing of the form."""
    task = task_of(name)
    for item in inputs(name):
        found = Scorer(task, [item], 5.0).score(answer("lazy", name, item.id, 1, text))
        assert found is not None
        forms = {check.id for check in plan_all(task, [item])[item.id] if check.part == "format"}
        points = {check[0]: value for check, value in zip(found.checks, found.points, strict=True)}
        assert {check: points[check] for check in forms if points[check] > 0} == {}, item.id
