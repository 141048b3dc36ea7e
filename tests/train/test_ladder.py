"""Memory that really runs out: the job steps down, begins anew in place, and ends with the numbers of a run that had enough.

On a CPU the limit is the kernel's: RLIMIT_DATA, set for the job's process, so that its allocations fail as a full machine's do.
The model is tiny but for the width of its MLP: a long example takes gigabytes of activations, and a second.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from core.config.recipe import Recipe
from core.config.task import Task
from core.events import EventReader
from core.files import read_json
from core.home import RunDir
from core.jobfile.spec import InputFile
from core.jobfile.train import TrainSpec
from core.process.identity import ProcessIdentity
from core.process.locks import held
from jobs.oom_fallbacks import Ladder
from jobs.ordering import StepOrder
from tests.support.greetings import GREETINGS
from tests.support.held_job import Hold, release
from tests.support.tiny_model import tiny_model
from tests.support.workshop import Workshop, events, wait_until

pytestmark = pytest.mark.train

BATCH = 4


@pytest.fixture(scope="module")
def wide(tinyshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return replace(tinyshop, model=tiny_model(tmp_path_factory.mktemp("wide"), hidden=32, intermediate=16384))


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


def one_long(wide: Workshop, recipe: Recipe, *, in_completion: bool = False) -> InputFile:
    """Short greetings, and a long one in the second step of the first epoch."""
    long = list(StepOrder([1] * len(GREETINGS), BATCH, recipe.seed))[-1]
    numbers = " ".join(str(number * 7 % 10) for number in range(1500 if in_completion else 300))
    lines = []
    for index, (name, greeting) in enumerate(GREETINGS):
        prompt = f"{name} {numbers}" if index == long and not in_completion else name
        completion = f"{greeting} {numbers}" if index == long and in_completion else greeting
        lines.append(json.dumps({"prompt": prompt, "completion": completion}))
    return wide.input_file(f"long-{in_completion}.jsonl", "\n".join(lines) + "\n")


def steps(run: RunDir, attempts: int) -> dict[int, dict[str, Any]]:
    return {event["step"]: event for attempt in range(1, attempts + 1) for event in events(run, attempt, "step")}


@dataclass(frozen=True)
class Measured:
    """A run with enough memory, and the most bytes it had mapped as data up to the end of each of its first two steps.

    Those are what RLIMIT_DATA counts (proc(5), VmData): far more than is resident, and no function of it.
    """

    run: RunDir
    mapped: dict[int, int]

    def limit(self, share: float) -> int:
        """Bytes that hold the short first step and not the long second one: 0 is what the first took, 1 the second."""
        first, second = self.mapped[1], self.mapped[2]
        assert second - first > 1_000_000_000  # many times what two processes differ in
        return first + round(share * (second - first))


@pytest.fixture(scope="module")
def enough(wide: Workshop, task: Task, quiet: Recipe) -> Measured:
    """Job 1: the run with enough memory. It stands still behind each step, and its heap never shrinks."""
    spec = TrainSpec(task=task, model=wide.model, recipe=quiet, train=one_long(wide, quiet))
    run = wide.submit(1, spec)
    process = wide.start(run, hold=Hold("step", "step", 1))
    mapped: dict[int, int] = {}
    for number in (1, 2, 3, 4):
        wait_until(lambda number=number: number in steps(run, 1), process)  # type: ignore[misc]
        found = re.search(r"^VmData:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        mapped[number] = int(found[1]) * 1024
        release(run.attempt(1))
    assert wide.ended(process) == 0, run.attempt(1).log.read_text()
    return Measured(run, mapped)


def test_a_run_out_of_memory_steps_down_and_ends_with_the_same_numbers(
    wide: Workshop, task: Task, quiet: Recipe, enough: Measured
) -> None:
    limit = enough.limit(2 / 3)  # also holds the long step in two halves
    spec = TrainSpec(task=task, model=wide.model, recipe=quiet, train=one_long(wide, quiet))
    run = wide.submit(2, spec)
    lease = wide.home.root / "lease"
    descriptor = os.open(lease, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    process = wide.start(run, hold=Hold("step", "step", 2), memory_bytes=limit, pass_fds=(descriptor,))
    os.close(descriptor)  # from here on only the job holds it
    identity = ProcessIdentity.of(process.pid)

    # The first step fits. The second does not: the same process, by pid and start time, begins anew and goes on behind it.
    wait_until(lambda: any(event["step"] == 2 for event in events(run, 1, "step")), process)
    assert identity is not None and identity.alive()
    assert held(lease)
    process.send_signal(signal.SIGKILL)
    assert wide.ended(process) == -signal.SIGKILL
    assert not held(lease)
    taken = events(run, 1, "ladder")
    assert taken[0]["changes"] == {"batch_size": [4, 2], "accumulation": [1, 2]}
    assert taken[0]["from_step"] == 1 and "allocate memory" in taken[0]["reason"]
    told = list(EventReader(run.attempt(1).events))
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    assert [event["step"] for event in events(run, 1, "step")] == [1, 2]

    # Another attempt begins on the rung that was reached.
    code = wide.ended(wide.start(run, 2, memory_bytes=limit))
    assert code == 0, run.attempt(2).log.read_text()
    further = events(run, 2, "ladder")
    assert [event["rung"] for event in taken + further] == list(range(1, len(taken + further) + 1))
    expected, found = steps(enough.run, 1), steps(run, 2)
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
    assert summary["peak_memory_bytes"] < read_json(enough.run.result)["summary"]["peak_memory_bytes"]


def test_out_of_memory_fail_ends_the_job(wide: Workshop, task: Task, quiet: Recipe, enough: Measured) -> None:
    failing = quiet.model_copy(update={"out_of_memory": "fail"})
    spec = TrainSpec(task=task, model=wide.model, recipe=failing, train=one_long(wide, quiet))
    run = wide.submit(3, spec)
    assert wide.ended(wide.start(run, memory_bytes=enough.limit(2 / 3))) == 1
    error = read_json(run.attempt(1).error_json)
    assert error["code"] == "out_of_memory" and "out_of_memory: ladder" in error["remedy"]
    assert not events(run, 1, "ladder") and not run.result.exists()


def test_shorter_examples_that_would_lose_answers_end_at_the_gate(
    wide: Workshop, task: Task, quiet: Recipe, enough: Measured
) -> None:
    """On the last rung but one, with a completion that is as long as the memory is short."""
    low = quiet.model_copy(
        update={"batch_size": 1, "activation_checkpointing": True, "optimizer": "adamw-8bit", "max_skipped": 0.0}
    )
    spec = TrainSpec(task=task, model=wide.model, recipe=low, train=one_long(wide, quiet, in_completion=True))
    run = wide.submit(4, spec)
    # Four short examples at once, and hardly more.
    code = wide.ended(wide.start(run, memory_bytes=enough.limit(0.1)))
    assert code == 3, run.attempt(1).log.read_text()
    (taken,) = events(run, 1, "ladder")
    assert list(taken["changes"]) == ["max_length"] and taken["changes"]["max_length"][0] == 4096
    error = read_json(run.attempt(1).error_json)
    assert error["code"] == "too_many_skipped" and error["message"].startswith(
        "the memory holds no longer examples, but 1"
    )
    assert read_json(run.path / "ladder.json")["rungs"] == []  # a retry on a larger GPU is not held to it
    assert not run.result.exists()


def test_fp32_moments_are_taken_over_by_the_8_bit_optimizer_in_the_middle_of_a_run(
    tinyshop: Workshop, task: Task, quiet: Recipe
) -> None:
    """On the rung above it: one example at a time, activations recomputed. Killed behind a checkpoint, then stepped down."""
    import torch

    from jobs.step.optimizer import CODED, SMALLEST

    changes = {"batch_size": 1, "accumulation": BATCH, "activation_checkpointing": True}
    # Rank 16: some of the adapter's tensors are large enough for 8 bits, and some are not.
    changes |= {"rank": 16, "alpha": 32, "lr": 3e-3, "schedule": "constant", "save_steps": 2}
    low = quiet.model_copy(update=changes)
    spec = TrainSpec(task=task, model=tinyshop.model, recipe=low, train=tinyshop.greetings())
    straight = tinyshop.submit(5, spec)
    assert tinyshop.finish(straight) == 0, straight.attempt(1).log.read_text()

    run = tinyshop.submit(6, spec)
    process = tinyshop.start(run, hold=Hold("checkpoint", "step", 2))
    wait_until(lambda: any(event["step"] == 2 for event in events(run, 1, "checkpoint")), process)
    process.send_signal(signal.SIGKILL)
    assert tinyshop.ended(process) == -signal.SIGKILL
    (checkpoint,) = run.checkpoints.glob("checkpoint-*")
    given = torch.load(checkpoint / "optimizer.pt", weights_only=True)["state"]
    assert checkpoint.name == "checkpoint-2" and all("exp_avg" in state for state in given.values())

    # What an out-of-memory error of the third step would have done.
    ladder = Ladder.open(run.path, read_json(checkpoint / "complete.json")["purpose"])
    reason = "can't allocate memory: you tried to allocate 1 byte more"
    rung = ladder.step_down(low, 64, reason=reason, from_step=2, attempt=1)
    assert rung is not None and rung.changes == {"optimizer": ("adamw", "adamw-8bit")}

    assert tinyshop.finish(run, 2) == 0, run.attempt(2).log.read_text()
    assert [event["detail"] for event in events(run, 2, "phase") if event["name"] == "training"] == ["from step 2"]
    expected, found = steps(straight, 1), {event["step"]: event for event in events(run, 2, "step")}
    assert list(expected) == [1, 2, 3, 4] and list(found) == [3, 4]
    # The third step's loss comes before the first update in 8 bits.
    assert found[3]["loss"] == expected[3]["loss"] and found[3]["grad_norm"] == expected[3]["grad_norm"]
    # Measured at the fourth: nothing; 0.19 and 0.15 away where the moments were lost.
    assert found[4]["loss"] == pytest.approx(expected[4]["loss"], abs=1e-3)
    assert found[4]["grad_norm"] == pytest.approx(expected[4]["grad_norm"], abs=1e-2)
    assert [found[number]["lr"] for number in found] == [expected[number]["lr"] for number in found]

    # Large tensors went on in 8 bits, small ones in fp32, all of them from their second step.
    taken = torch.load(run.checkpoints / "checkpoint-4" / "optimizer.pt", weights_only=True)["state"]
    large = {number for number, state in given.items() if state["exp_avg"].numel() >= SMALLEST}
    assert set(taken) == set(given) and 0 < len(large) < len(given)
    for number, state in taken.items():
        assert state["step"] == 4
        assert set(state) == {"step", *(CODED if number in large else ("exp_avg", "exp_avg_sq"))}

    summary, manifest = read_json(run.result)["summary"], read_json(run.attempt(2).manifest)
    used = {**low.model_dump(mode="json"), "optimizer": "adamw-8bit"}
    assert summary["recipe_used"] == manifest["recipe_used"] == used
    (told,) = summary["ladder"]
    assert manifest["ladder"] == [told] and told["changes"] == {"optimizer": ["adamw", "adamw-8bit"]}
    assert (told["rung"], told["reason"], told["from_step"], told["attempt"]) == (1, reason, 2, 1)
    assert summary["predicted_bytes"] is None and summary["steps"] == 4
