"""Training the real small model in real processes, and killing them."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from core.config.recipe import Recipe
from core.config.task import Task
from core.files import read_json, write_json
from core.home import RunDir
from core.jobfile.train import TrainSpec
from tests.train.conftest import Workshop, events, wait_until

pytestmark = pytest.mark.train


def losses(run: RunDir, attempts: int) -> dict[int, Any]:
    """Loss and gradient norm by step; a later attempt wins."""
    return {
        event["step"]: (event["loss"], event["grad_norm"], event["lr"])
        for attempt in range(1, attempts + 1)
        for event in events(run, attempt, "step")
    }


def test_a_run_that_was_stopped_killed_and_torn_ends_as_if_nothing_had_happened(
    workshop: Workshop, task: Task, recipe: Recipe
) -> None:
    spec = TrainSpec(task=task, model=workshop.model, recipe=recipe, train=workshop.greetings())
    straight = workshop.submit(1, spec)
    assert workshop.finish(straight) == 0, straight.attempt(1).log.read_text()
    expected = losses(straight, 1)
    assert list(expected) == [1, 2, 3, 4, 5, 6]

    # Asked to stop: it finishes its step, leaves a checkpoint, and says so by its exit code.
    broken = workshop.submit(2, spec)
    process = workshop.start(broken)
    wait_until(lambda: bool(events(broken, 1, "step")), process)
    write_json(broken.attempt(1).stop_request, {"why": "pause"})
    assert process.wait(60) == 75
    reached = events(broken, 1, "step")[-1]["step"]
    assert (broken.checkpoints / f"checkpoint-{reached}" / "complete.json").is_file()
    assert not broken.result.exists()

    # Killed after a checkpoint of a later step.
    process = workshop.start(broken, 2)
    wait_until(lambda: any(event["step"] >= 4 for event in events(broken, 2, "checkpoint")), process)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert events(broken, 2, "step")[0]["step"] == reached + 1
    assert not broken.result.exists()

    # The newest checkpoint is torn: the one before it is taken, and the run ends with the very same numbers.
    saved = sorted(broken.checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    torn = saved[-1] / "optimizer.pt"
    torn.write_bytes(torn.read_bytes()[:-100])
    assert workshop.finish(broken, 3) == 0, broken.attempt(3).log.read_text()
    assert [event["code"] for event in events(broken, 3, "warning")] == ["checkpoint_refused"]
    assert events(broken, 3, "step")[0]["step"] == int(saved[-2].name.split("-")[1]) + 1
    assert losses(broken, 3) == expected
    assert read_json(broken.result)["artefacts"][0]["sha256"] == read_json(straight.result)["artefacts"][0]["sha256"]


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (40, {"optimizer": "adamw-8bit"}),
        (42, {"method": "qlora-hqq", "hqq": {"bits": 4, "group_size": 64}}),
    ],
)
def test_bf16_adapters_go_on_bit_for_bit(
    workshop: Workshop, task: Task, recipe: Recipe, number: int, change: dict[str, Any]
) -> None:
    """What is missing to fp32 and moments in 8 bits are in the optimizer's state; the adapter alone would not do."""
    narrow = {"dtype": "bf16", "lora_dtype": "bf16", "rank": 16, "activation_checkpointing": True, **change}
    changed = Recipe.model_validate({**recipe.model_dump(), **narrow})
    spec = TrainSpec(task=task, model=workshop.model, recipe=changed, train=workshop.greetings())
    straight = workshop.submit(number, spec)
    assert workshop.finish(straight) == 0, straight.attempt(1).log.read_text()
    broken = workshop.submit(number + 1, spec)
    process = workshop.start(broken)
    wait_until(lambda: len(events(broken, 1, "step")) >= 2, process)
    write_json(broken.attempt(1).stop_request, {"why": "pause"})
    assert process.wait(60) == 75
    assert workshop.finish(broken, 2) == 0, broken.attempt(2).log.read_text()
    assert losses(broken, 2) == losses(straight, 1)
    assert events(broken, 2, "step")[0]["step"] > 2
    assert read_json(broken.result)["artefacts"][0]["sha256"] == read_json(straight.result)["artefacts"][0]["sha256"]


def test_what_a_training_leaves_behind(workshop: Workshop, task: Task, recipe: Recipe) -> None:
    """The files of the uninterrupted run above."""
    run = workshop.home.run_dir(1)
    result = read_json(run.result)
    (adapter,) = result["artefacts"]
    names = {path.name for path in (workshop.home.artefacts / adapter["sha256"] / "adapter").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}
    assert adapter["lineage"]["recipe"]["seed"] == recipe.seed
    assert result["summary"]["last_loss"] < result["summary"]["first_loss"]
    manifest = read_json(run.attempt(1).manifest)
    assert manifest["packages"]["torch"] and manifest["model"]["fingerprint"] == workshop.model.wheel.sha256
    step = events(run, 1, "step")[2]
    assert step["total"] == 6 and step["tokens"] > 0 and step["peak_memory_bytes"] > 500_000_000
    log = run.attempt(1).log.read_text()
    assert "step 3/6 loss " in log and "Traceback" not in log and "it/s" not in log
    assert len(log.splitlines()) < 30, log


def test_held_out_examples_are_evaluated_at_the_end_of_each_epoch(
    workshop: Workshop, task: Task, recipe: Recipe
) -> None:
    """With activations recomputed, which the person's larger models need."""
    changed = recipe.model_copy(
        update={"eval_fraction": 0.25, "activation_checkpointing": True, "epochs": 2.0, "save_steps": None}
    )
    run = workshop.submit(5, TrainSpec(task=task, model=workshop.model, recipe=changed, train=workshop.greetings()))
    assert workshop.finish(run) == 0, run.attempt(1).log.read_text()
    assert [event["step"] for event in events(run, 1, "step")] == [1, 2, 3, 4, 5, 6]  # 6 of the 8 examples, twice
    first, second = events(run, 1, "eval")
    assert (first["step"], second["step"]) == (3, 6) and second["loss"] < first["loss"]
    begun = [event["seq"] for event in events(run, 1, "phase") if event["name"] == "evaluating"]
    assert begun == [first["seq"] - 1, second["seq"] - 1], "it is said before, so that nobody takes it for a hang"
    assert "Traceback" not in run.attempt(1).log.read_text()


@pytest.mark.parametrize(
    ("change", "exit_code", "code"),
    [
        ({"max_length": 36}, 3, "too_many_skipped"),
        ({"targets": ["q_proj", "no_such_proj"]}, 2, "no_such_layer"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_its_reason(
    workshop: Workshop, task: Task, recipe: Recipe, change: dict[str, Any], exit_code: int, code: str
) -> None:
    changed = Recipe.model_validate({**recipe.model_dump(), **change})
    number = {"too_many_skipped": 10, "no_such_layer": 11}[code]
    spec = TrainSpec(task=task, model=workshop.model, recipe=changed, train=workshop.greetings())
    run = workshop.submit(number, spec)
    assert workshop.finish(run) == exit_code
    error = json.loads(run.attempt(1).error_json.read_text())
    assert error["code"] == code and error["exit_code"] == exit_code
    assert not run.result.exists()
    if code == "too_many_skipped":
        named = [event["message"] for event in events(run, 1, "warning") if event["code"] == "skipped"]
        assert [message.split(":")[0] for message in named] == ["skipped line 3", "skipped line 6"]


def test_a_golden_input_in_the_training_data_is_refused(workshop: Workshop, task: Task, recipe: Recipe) -> None:
    golden = workshop.golden("Zoe", "CHLOE!")
    spec = TrainSpec(task=task, model=workshop.model, recipe=recipe, train=workshop.greetings(), golden=golden)
    run = workshop.submit(20, spec)
    assert workshop.finish(run) == 3
    error = read_json(run.attempt(1).error_json)
    assert (error["code"], error["line"], error["file"]) == ("leak", 3, "/project/greet.jsonl")
