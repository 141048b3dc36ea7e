"""Training in real processes, stopping and killing them, and what is refused: on a tiny model, for which all is the same."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from typing import Any

import pytest

from core.config.recipe import Recipe
from core.config.task import Task
from core.files import read_json, write_json
from core.home import RunDir
from core.jobfile.train import TrainSpec
from tests.support.held_job import Hold
from tests.support.workshop import Workshop, events, losses, wait_until

pytestmark = pytest.mark.train
FIRST_STEP = Hold("step", "step", 1)


@pytest.fixture(scope="module")
def fresh(tinyshop: Workshop) -> Workshop:
    """The same home, with jobs as a runner starts them: in fresh interpreters that use every core."""
    return replace(tinyshop, forked=False, threads=None)


@pytest.fixture(scope="module")
def straight(fresh: Workshop, task: Task, recipe: Recipe) -> RunDir:
    """A run that nothing interrupts."""
    run = fresh.submit(1, TrainSpec(task=task, model=fresh.model, recipe=recipe, train=fresh.greetings()))
    assert fresh.finish(run) == 0, run.attempt(1).log.read_text()
    return run


def test_a_run_that_was_stopped_killed_and_torn_ends_as_if_nothing_had_happened(
    fresh: Workshop, task: Task, recipe: Recipe, straight: RunDir
) -> None:
    spec = TrainSpec(task=task, model=fresh.model, recipe=recipe, train=fresh.greetings())
    expected = losses(straight, 1)
    assert list(expected) == [1, 2, 3, 4, 5, 6]

    # Asked to stop: it finishes its step, leaves a checkpoint, and says so by its exit code.
    broken = fresh.submit(2, spec)
    process = fresh.start(broken, hold=FIRST_STEP)
    wait_until(lambda: bool(events(broken, 1, "step")), process)
    write_json(broken.attempt(1).stop_request, {"why": "pause"})
    assert fresh.ended(process) == 75
    reached = events(broken, 1, "step")[-1]["step"]
    assert reached == 2
    assert (broken.checkpoints / f"checkpoint-{reached}" / "complete.json").is_file()
    assert not broken.result.exists()

    # Killed after a checkpoint of a later step. How an interpreter begins has been seen: from here on forked ones do.
    quick = replace(fresh, forked=True)
    process = quick.start(broken, 2, hold=Hold("checkpoint", "step", 4))
    wait_until(lambda: any(event["step"] >= 4 for event in events(broken, 2, "checkpoint")), process)
    process.send_signal(signal.SIGKILL)
    assert quick.ended(process) == -signal.SIGKILL
    assert events(broken, 2, "step")[0]["step"] == reached + 1
    assert not broken.result.exists()

    # The newest checkpoint is torn: the one before it is taken, and the run ends with the very same numbers.
    saved = sorted(broken.checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    torn = saved[-1] / "optimizer.pt"
    torn.write_bytes(torn.read_bytes()[:-100])
    assert quick.finish(broken, 3) == 0, broken.attempt(3).log.read_text()
    assert [event["code"] for event in events(broken, 3, "warning")] == ["checkpoint_refused"]
    assert events(broken, 3, "step")[0]["step"] == int(saved[-2].name.split("-")[1]) + 1
    assert losses(broken, 3) == expected
    assert read_json(broken.result)["artefacts"][0]["sha256"] == read_json(straight.result)["artefacts"][0]["sha256"]


def test_what_a_training_leaves_behind(fresh: Workshop, recipe: Recipe, straight: RunDir) -> None:
    result = read_json(straight.result)
    (adapter,) = result["artefacts"]
    names = {path.name for path in (fresh.home.artefacts / adapter["sha256"] / "adapter").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}
    assert adapter["lineage"]["recipe"]["seed"] == recipe.seed
    manifest = read_json(straight.attempt(1).manifest)
    assert manifest["packages"]["torch"] and manifest["model"]["fingerprint"] == adapter["lineage"]["base_fingerprint"]
    step = events(straight, 1, "step")[2]
    assert step["total"] == 6 and step["tokens"] > 0 and step["peak_memory_bytes"] > 200_000_000
    log = straight.attempt(1).log.read_text()
    assert "step 3/6 loss " in log and "Traceback" not in log and "it/s" not in log
    assert len(log.splitlines()) < 30, log


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (40, {"optimizer": "adamw-8bit"}),
        (42, {"method": "qlora-hqq", "hqq": {"bits": 4, "group_size": 64}}),
    ],
)
def test_bf16_adapters_go_on_bit_for_bit(
    tinyshop: Workshop, task: Task, recipe: Recipe, number: int, change: dict[str, Any]
) -> None:
    """What is missing to fp32 and moments in 8 bits are in the optimizer's state; the adapter alone would not do."""
    narrow = {"dtype": "bf16", "lora_dtype": "bf16", "rank": 16, "activation_checkpointing": True, **change}
    changed = Recipe.model_validate({**recipe.model_dump(), **narrow})
    spec = TrainSpec(task=task, model=tinyshop.model, recipe=changed, train=tinyshop.greetings())
    straight = tinyshop.submit(number, spec)
    assert tinyshop.finish(straight) == 0, straight.attempt(1).log.read_text()
    assert read_json(straight.attempt(1).manifest)["dtype"] == "bfloat16"
    broken = tinyshop.submit(number + 1, spec)
    process = tinyshop.start(broken, hold=Hold("step", "step", 2))
    wait_until(lambda: len(events(broken, 1, "step")) >= 2, process)
    write_json(broken.attempt(1).stop_request, {"why": "pause"})
    assert tinyshop.ended(process) == 75
    assert tinyshop.finish(broken, 2) == 0, broken.attempt(2).log.read_text()
    assert losses(broken, 2) == losses(straight, 1)
    assert events(broken, 2, "step")[0]["step"] == 4
    assert read_json(broken.result)["artefacts"][0]["sha256"] == read_json(straight.result)["artefacts"][0]["sha256"]


def test_held_out_examples_are_evaluated_at_the_end_of_each_epoch(
    tinyshop: Workshop, task: Task, recipe: Recipe
) -> None:
    """With activations recomputed, which the person's larger models need."""
    changed = recipe.model_copy(
        update={"eval_fraction": 0.25, "activation_checkpointing": True, "epochs": 2.0, "lr": 1e-2, "save_steps": None}
    )
    run = tinyshop.submit(5, TrainSpec(task=task, model=tinyshop.model, recipe=changed, train=tinyshop.greetings()))
    assert tinyshop.finish(run) == 0, run.attempt(1).log.read_text()
    assert [event["step"] for event in events(run, 1, "step")] == [1, 2, 3, 4, 5, 6]  # 6 of the 8 examples, twice
    first, second = events(run, 1, "eval")
    assert (first["step"], second["step"]) == (3, 6) and second["loss"] < first["loss"]
    begun = [event["seq"] for event in events(run, 1, "phase") if event["name"] == "evaluating"]
    assert begun == [first["seq"] - 1, second["seq"] - 1], "it is said before, so that nobody takes it for a hang"
    assert "Traceback" not in run.attempt(1).log.read_text()


@pytest.mark.parametrize(
    ("number", "change", "exit_code", "code"),
    [
        (10, {"max_length": 36}, 3, "too_many_skipped"),
        (11, {"targets": ["q_proj", "no_such_proj"]}, 2, "no_such_layer"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_its_reason(
    tinyshop: Workshop, task: Task, recipe: Recipe, number: int, change: dict[str, Any], exit_code: int, code: str
) -> None:
    changed = Recipe.model_validate({**recipe.model_dump(), **change})
    spec = TrainSpec(task=task, model=tinyshop.model, recipe=changed, train=tinyshop.greetings())
    run = tinyshop.submit(number, spec)
    assert tinyshop.finish(run) == exit_code
    error = json.loads(run.attempt(1).error_json.read_text())
    assert error["code"] == code and error["exit_code"] == exit_code
    assert not run.result.exists()
    if code == "too_many_skipped":
        named = [event["message"] for event in events(run, 1, "warning") if event["code"] == "skipped"]
        assert [message.split(":")[0] for message in named] == ["skipped line 3", "skipped line 6"]


def test_a_golden_input_in_the_training_data_is_refused(tinyshop: Workshop, task: Task, recipe: Recipe) -> None:
    golden = tinyshop.golden("Zoe", "CHLOE!")
    spec = TrainSpec(task=task, model=tinyshop.model, recipe=recipe, train=tinyshop.greetings(), golden=golden)
    run = tinyshop.submit(20, spec)
    assert tinyshop.finish(run) == 3
    error = read_json(run.attempt(1).error_json)
    assert (error["code"], error["line"], error["file"]) == ("leak", 3, "/project/greet.jsonl")
