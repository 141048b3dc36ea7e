"""The checks of the shipped tasks, tried both ways on answers written by hand: what each must pass and what it must fail.

`task_answers/TASK.yaml` holds them: `input` (the id of a golden input), `quality` (good, borderline or bad), `answer`, `fails`
(every check that must not give the whole point; all others must) and, where a check gives a part of it, `part` (check: share).
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from core.checks import check_ids
from core.config.golden import GoldenInput
from core.config.project import shipped
from core.config.task import Task
from core.scoring.scorer import PlannedCheck, Scorer, needs_judge, plan_all
from tests.support.invented_answers import answer

FOLDER = Path(__file__).parent / "task_answers"
TASKS = sorted(file.stem for file in FOLDER.glob("*.yaml"))
NEEDS_A_MODEL = {"judge"}
"""Checks that ask a model: what they say of an answer is no property of the task's files."""
FEWEST_INPUTS = 4
PATTERN_SECONDS = 5.0


class Written(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    input: str
    quality: Literal["good", "borderline", "bad"]
    answer: str
    fails: list[str] = Field(default=[])
    part: dict[str, float] = Field(default={})


@cache
def written(name: str) -> list[Written]:
    return [Written.model_validate(row) for row in yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))]


@cache
def planned(name: str) -> tuple[dict[str, GoldenInput], dict[str, list[PlannedCheck]]]:
    task = shipped().task(name)
    golden = {item.id: item for item in shipped().golden(task).inputs}
    return golden, plan_all(task, golden.values())


def points(name: str, one: Written) -> dict[str, tuple[float, str]]:
    """What each check says of the answer, by its id, as the scorer has it: the share it gives, and why it is not the whole."""
    golden, plans = planned(name)
    scorer = Scorer(shipped().task(name), [golden[one.input]], PATTERN_SECONDS)
    found = scorer.score(answer("by hand", name, one.input, 1, one.answer))
    assert found is not None and found.fault is None, found
    told = {
        check[0]: (value, found.details.get(at, ""))
        for at, (check, value) in enumerate(zip(found.checks, found.points, strict=True))
    }
    assert not [found.checks[at] for at in found.faulty if not needs_judge(plans[one.input][at])], found.details
    return {check.id: told[check.id] for check in plans[one.input] if not needs_judge(check)}


def needs_a_process(task: Task) -> bool:
    return any(getattr(type(check), "ISOLATED", False) for check in [*task.format, *task.content])


CASES = [
    pytest.param(
        name,
        one,
        id=f"{name}-{place}-{one.input}-{one.quality}",
        marks=[pytest.mark.process] if needs_a_process(shipped().task(name)) else [],
    )
    for name in TASKS
    for place, one in enumerate(written(name), start=1)
]


@pytest.mark.parametrize(("name", "one"), CASES)
def test_an_answer_fails_the_checks_that_it_must_fail_and_passes_all_others(name: str, one: Written) -> None:
    found = points(name, one)
    assert set(one.part) <= set(one.fails) <= set(found)
    failed = {check: told for check, told in found.items() if told[0] < 1}
    assert sorted(failed) == sorted(one.fails), failed
    assert {check: pytest.approx(found[check][0], abs=0.01) for check in one.part} == one.part
    # A good answer fails nothing, and one that fails nothing is no bad one.
    assert one.quality != "good" or not one.fails
    assert one.quality != "bad" or one.fails


@pytest.mark.parametrize("name", TASKS)
def test_each_check_is_tried_both_ways(name: str) -> None:
    """Some answer passes and some fails it, over answers of each quality and over several inputs."""
    answers, task = written(name), shipped().task(name)
    definitions = [*task.format, *task.content]
    ids = [
        name
        for name, check in zip(check_ids(definitions), definitions, strict=True)
        if check.check not in NEEDS_A_MODEL
    ]
    failed = Counter(check for one in answers for check in one.fails)
    assert [check for check in ids if not 0 < failed[check] < len(answers)] == []
    assert {one.quality for one in answers} == {"good", "borderline", "bad"}
    assert len({one.input for one in answers}) >= FEWEST_INPUTS
    assert len({one.answer for one in answers}) == len(answers)
