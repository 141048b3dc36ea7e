"""Memory that really runs out: the job steps down, begins anew in place, and ends with the numbers of a run that had enough.

On a CPU the limit is the kernel's: RLIMIT_DATA, set for the job's process, so that its allocations fail as a full machine's do.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from typing import Any

import pytest

from core.config.recipe import Recipe
from core.config.task import Task
from core.events import EventReader
from core.files import read_json
from core.home import RunDir
from core.locks import held
from core.queue.identity import ProcessIdentity
from core.queue.spec import InputFile, TrainSpec
from jobs.ordering import StepOrder
from tests.train.conftest import DEADLINE_SECONDS, GREETINGS, Workshop, events, wait_until

pytestmark = pytest.mark.train

BATCH = 4


@pytest.fixture(scope="module")
def quiet(recipe: Recipe) -> Recipe:
    """Nothing random, so that the numbers do not depend on micro-batches; four steps, the second and fourth long."""
    changes = {
        "dropout": 0.0,
        "neftune": None,
        "max_length": 4096,
        "epochs": 2.0,
        "batch_size": BATCH,
        "accumulation": 1,
    }
    return recipe.model_copy(update=changes)


def one_long(workshop: Workshop, recipe: Recipe, *, in_completion: bool = False) -> InputFile:
    """Short greetings, and a long one in the second step of the first epoch."""
    long = list(StepOrder([1] * len(GREETINGS), BATCH, recipe.seed))[-1]
    numbers = " ".join(str(number * 7 % 10) for number in range(1500 if in_completion else 220))
    lines = []
    for index, (name, greeting) in enumerate(GREETINGS):
        prompt = f"{name} {numbers}" if index == long and not in_completion else name
        completion = f"{greeting} {numbers}" if index == long and in_completion else greeting
        lines.append(json.dumps({"prompt": prompt, "completion": completion}))
    return workshop.input_file(f"long-{in_completion}.jsonl", "\n".join(lines) + "\n")


def steps(run: RunDir, attempts: int) -> dict[int, dict[str, Any]]:
    return {event["step"]: event for attempt in range(1, attempts + 1) for event in events(run, attempt, "step")}


def between(run: RunDir) -> int:
    """Bytes that hold the short first step of a run and not its long second one."""
    peaks = {event["step"]: event["peak_memory_bytes"] for event in events(run, 1, "step")}
    assert peaks[2] > 1.2 * peaks[1]
    return (peaks[1] + peaks[2]) // 2


@pytest.fixture(scope="module")
def enough(workshop: Workshop, task: Task, quiet: Recipe) -> RunDir:
    """Job 1: the run with enough memory."""
    spec = TrainSpec(task=task, model=workshop.model, recipe=quiet, train=one_long(workshop, quiet))
    run = workshop.submit(1, spec)
    assert workshop.finish(run) == 0, run.attempt(1).log.read_text()
    return run


def test_a_run_out_of_memory_steps_down_and_ends_with_the_same_numbers(
    workshop: Workshop, task: Task, quiet: Recipe, enough: RunDir
) -> None:
    limit = between(enough)
    spec = TrainSpec(task=task, model=workshop.model, recipe=quiet, train=one_long(workshop, quiet))
    run = workshop.submit(2, spec)
    lease = workshop.home.root / "lease"
    descriptor = os.open(lease, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    process = workshop.start(run, memory_bytes=limit, pass_fds=(descriptor,))
    os.close(descriptor)  # from here on only the job holds it
    identity = ProcessIdentity.of(process.pid)

    # The first step fits. The second does not: the same process, by pid and start time, begins anew and goes on behind it.
    wait_until(lambda: any(event["step"] == 2 for event in events(run, 1, "step")), process)
    assert identity is not None and identity.alive()
    assert held(lease)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert not held(lease)
    taken = events(run, 1, "ladder")
    assert taken[0]["changes"] == {"batch_size": [4, 2], "accumulation": [1, 2]}
    assert taken[0]["from_step"] == 1 and "allocate memory" in taken[0]["reason"]
    told = list(EventReader(run.attempt(1).events))
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    assert [event["step"] for event in events(run, 1, "step")] in ([1, 2], [1, 2, 3])

    # Another attempt begins on the rung that was reached.
    code = workshop.start(run, 2, memory_bytes=limit).wait(DEADLINE_SECONDS)
    assert code == 0, run.attempt(2).log.read_text()
    further = events(run, 2, "ladder")
    assert [event["rung"] for event in taken + further] == list(range(1, len(taken + further) + 1))
    expected, found = steps(enough, 1), steps(run, 2)
    assert list(found) == list(expected) == [1, 2, 3, 4]
    for number, step in expected.items():
        assert found[number]["loss"] == pytest.approx(step["loss"], abs=1e-4), number
        assert found[number]["grad_norm"] == pytest.approx(step["grad_norm"], rel=1e-3), number
        assert found[number]["lr"] == step["lr"]

    # What was changed is told wherever somebody looks.
    summary, manifest = read_json(run.result)["summary"], read_json(run.attempt(2).manifest)
    changed = {key: after for event in taken + further for key, (_, after) in event["changes"].items()}
    assert set(changed) <= {"batch_size", "accumulation", "activation_checkpointing"}
    used = summary["recipe_used"]
    assert used == manifest["recipe_used"] == {**quiet.model_dump(mode="json"), **changed}
    assert used["batch_size"] * used["accumulation"] == BATCH
    assert [rung["changes"] for rung in summary["ladder"]] == [event["changes"] for event in taken + further]
    assert manifest["ladder"] == summary["ladder"] and summary["predicted_bytes"] is None
    assert "rung 1 of the ladder: batch_size 4 → 2, accumulation 1 → 2; starting again from step 1" in (
        run.attempt(1).log.read_text()
    )
    # The peak is that of the process that finished, not of the one that had too much.
    assert summary["peak_memory_bytes"] < read_json(enough.result)["summary"]["peak_memory_bytes"]


def test_out_of_memory_fail_ends_the_job(workshop: Workshop, task: Task, quiet: Recipe, enough: RunDir) -> None:
    failing = quiet.model_copy(update={"out_of_memory": "fail"})
    spec = TrainSpec(task=task, model=workshop.model, recipe=failing, train=one_long(workshop, quiet))
    run = workshop.submit(3, spec)
    assert workshop.start(run, memory_bytes=between(enough)).wait(DEADLINE_SECONDS) == 1
    error = read_json(run.attempt(1).error_json)
    assert error["code"] == "out_of_memory" and "out_of_memory: ladder" in error["remedy"]
    assert not events(run, 1, "ladder") and not run.result.exists()


def test_shorter_examples_that_would_lose_answers_end_at_the_gate(
    workshop: Workshop, task: Task, quiet: Recipe
) -> None:
    """On the last rung but one, with a completion that is as long as the memory is short."""
    low = quiet.model_copy(
        update={"batch_size": 1, "activation_checkpointing": True, "optimizer": "adamw-8bit", "max_skipped": 0.0}
    )
    spec = TrainSpec(task=task, model=workshop.model, recipe=low, train=one_long(workshop, quiet, in_completion=True))
    run = workshop.submit(4, spec)
    # What is there before the first step, and hardly more.
    assert workshop.start(run, memory_bytes=1_500_000_000).wait(DEADLINE_SECONDS) == 3, run.attempt(1).log.read_text()
    (taken,) = events(run, 1, "ladder")
    assert list(taken["changes"]) == ["max_length"] and taken["changes"]["max_length"][0] == 4096
    error = read_json(run.attempt(1).error_json)
    assert error["code"] == "too_many_skipped" and error["message"].startswith(
        "the memory holds no longer examples, but 1"
    )
    assert read_json(run.path / "ladder.json")["rungs"] == []  # a retry on a larger card is not held to it
    assert not run.result.exists()
