"""Right answers have no failure mode: what the shipped tasks train on, and good answers to their golden inputs."""

from __future__ import annotations

import pytest

from core.config.project import shipped
from core.data.examples import load_examples
from core.failure_modes import SeenAnswer, find
from core.scoring.seen_answers import asked_text, references_of
from tests.unit.test_task_answers import TASKS, planned, written

TRAINED = [name for name in TASKS if shipped().task(name).data.train is not None]


@pytest.mark.parametrize("name", TRAINED)
def test_what_a_shipped_task_trains_on_has_no_failure_mode(name: str) -> None:
    """As the only thing that is known of the task: nothing tells the detectors what its good answers look like."""
    task = shipped().task(name)
    examples, _ = load_examples(shipped().resolve(task.data.train or ""), task)
    assert len(examples) >= 60
    seen = [
        SeenAnswer(str(number), 1, one.completion, task.system, one.last_user) for number, one in enumerate(examples)
    ]
    assert [(answer.input_id, find(answer)) for answer in seen if find(answer)] == []


@pytest.mark.parametrize("name", TASKS)
def test_a_good_answer_to_a_golden_input_has_no_failure_mode(name: str) -> None:
    golden, _ = planned(name)
    task = shipped().task(name)
    for one in written(name):
        if one.quality == "good":
            item = golden[one.input]
            seen = SeenAnswer(item.id, 1, one.answer, task.system, asked_text(item), references=references_of(item))
            assert find(seen) == (), f"{one.input}: {one.answer}"
