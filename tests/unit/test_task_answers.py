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

from core.checks import build, check_ids
from core.config.golden import GoldenInput
from core.config.project import shipped
from core.config.task import Task
from core.scoring.scorer import PlannedCheck, plan_all

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


def points(name: str, answer: Written) -> dict[str, tuple[float, str]]:
    """What each check says of the answer, by its id: the share it gives, and why it is not the whole."""
    golden, plans = planned(name)
    expect, captures = golden[answer.input].expect, dict[str, list[str]]()
    plan = [check for check in plans[answer.input] if check.definition.check not in NEEDS_A_MODEL]  # type: ignore[attr-defined]
    found: dict[str, tuple[float, str]] = {}
    for check in plan:
        result = build(check.definition, PATTERN_SECONDS).score(answer.answer, expect, captures)
        assert not result.faulty, (check.id, result.detail)
        found[check.id] = (result.value, result.detail)
        for group, values in result.captures.items() if check.part == "format" else ():
            captures.setdefault(group, []).extend(values)
    return found


def needs_a_process(task: Task) -> bool:
    return any(getattr(type(check), "ISOLATED", False) for check in [*task.format, *task.content])


CASES = [
    pytest.param(
        name,
        answer,
        id=f"{name}-{place}-{answer.input}-{answer.quality}",
        marks=[pytest.mark.process] if needs_a_process(shipped().task(name)) else [],
    )
    for name in TASKS
    for place, answer in enumerate(written(name), start=1)
]


@pytest.mark.parametrize(("name", "answer"), CASES)
def test_an_answer_fails_the_checks_that_it_must_fail_and_passes_all_others(name: str, answer: Written) -> None:
    found = points(name, answer)
    assert set(answer.part) <= set(answer.fails) <= set(found)
    failed = {check: told for check, told in found.items() if told[0] < 1}
    assert sorted(failed) == sorted(answer.fails), failed
    assert {check: pytest.approx(found[check][0], abs=0.01) for check in answer.part} == answer.part
    # A good answer fails nothing, and one that fails nothing is no bad one.
    assert answer.quality != "good" or not answer.fails
    assert answer.quality != "bad" or answer.fails


@pytest.mark.parametrize("name", TASKS)
def test_each_check_is_tried_both_ways(name: str) -> None:
    """Some answer passes and some fails it, over answers of each quality and over several inputs."""
    answers, task = written(name), shipped().task(name)
    definitions = [*task.format, *task.content]
    ids = [
        check for check, one in zip(check_ids(definitions), definitions, strict=True) if one.check not in NEEDS_A_MODEL
    ]
    failed = Counter(check for answer in answers for check in answer.fails)
    assert [check for check in ids if not 0 < failed[check] < len(answers)] == []
    assert {answer.quality for answer in answers} == {"good", "borderline", "bad"}
    assert len({answer.input for answer in answers}) >= FEWEST_INPUTS
    assert len({answer.answer for answer in answers}) == len(answers)
