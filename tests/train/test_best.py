"""The adapter that was best on held-out examples is the one that is kept, however often the run is killed."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from core.config.recipe import Recipe
from core.config.task import Task
from core.files import read_json
from core.home import RunDir
from core.jobfile.train import TrainSpec
from core.own_paths import read_result
from tests.support.held_job import Hold
from tests.support.workshop import Workshop, events, wait_until

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def spec(tinyshop: Workshop, task: Task, recipe: Recipe) -> TrainSpec:
    """A learning rate that soon does harm: the held-out loss falls, then rises."""
    changes = {"eval_fraction": 0.25, "eval_steps": 2, "early_stopping": 2, "epochs": 10.0, "lr": 0.06}
    harmful = recipe.model_copy(update={**changes, "schedule": "constant", "max_grad_norm": 100.0})
    return TrainSpec(task=task, model=tinyshop.model, recipe=harmful, train=tinyshop.greetings())


@pytest.fixture(scope="module")
def straight(tinyshop: Workshop, spec: TrainSpec) -> RunDir:
    run = tinyshop.submit(1, spec)
    assert tinyshop.finish(run) == 0, run.attempt(1).log.read_text()
    return run


def evaluations(run: RunDir, attempts: int = 1) -> dict[int, Any]:
    return {
        event["step"]: (event["loss"], event["best"])
        for attempt in range(1, attempts + 1)
        for event in events(run, attempt, "eval")
    }


def test_a_run_stops_early_and_keeps_its_best_adapter(tinyshop: Workshop, spec: TrainSpec, straight: RunDir) -> None:
    seen = evaluations(straight)
    losses = {step: loss for step, (loss, _) in seen.items()}
    summary = read_json(straight.result)["summary"]
    best = min(losses, key=lambda step: losses[step])
    assert (summary["best_step"], summary["best_loss"]) == (best, losses[best])
    assert list(losses) == list(range(2, best + 5, 2))  # every second step, two evaluations beyond the best
    assert [flag for _, flag in seen.values()] == [
        loss == min(list(losses.values())[: index + 1]) for index, loss in enumerate(losses.values())
    ]
    assert summary["stopped_early"] and summary["steps"] == best + 4 < 30
    assert f"held-out loss {losses[best]:.4f} at step {best}, the best so far" in straight.attempt(1).log.read_text()

    # The artefact has the loss that was told: computed anew, from the files, by another way.
    (artefact,) = (read_result(straight) or {})["artefacts"]
    assert artefact["lineage"]["step"] == best
    assert held_out_loss(tinyshop, spec, artefact["path"]) == pytest.approx(losses[best], abs=1e-4)


def held_out_loss(tinyshop: Workshop, spec: TrainSpec, adapter: str) -> float:
    """Mean loss of the held-out completion tokens, an example at a time."""
    from pathlib import Path

    import torch

    from core.data.examples import load_examples
    from core.data.render import fit_all
    from jobs import models
    from jobs.adapters import load_adapter
    from jobs.ordering import held_out_lines

    base = models.locate(spec.model, tinyshop.home)
    tokenizer = models.load_tokenizer(base, tinyshop.home)
    model = models.load_model(base, tinyshop.home, torch.device("cpu"), torch.float32)
    model = load_adapter(model, Path(adapter))
    examples, _ = load_examples(Path(spec.train.path), spec.task)
    fitted = fit_all(tokenizer, examples, "off", spec.recipe.max_length).fitted
    lines = held_out_lines(fitted, spec.recipe)
    assert len(lines) == 2
    total, count = 0.0, 0
    for item in fitted:
        if item.line in lines:
            ids = torch.tensor([[*item.prompt_ids, *item.completion_ids]])
            with torch.inference_mode():
                predicted = model(ids).logits[0, len(item.prompt_ids) - 1 : -1].log_softmax(-1)
            total -= predicted.gather(1, torch.tensor(item.completion_ids)[:, None]).sum().item()
            count += len(item.completion_ids)
    return total / count


def test_a_run_killed_around_its_best_ends_as_if_nothing_had_happened(
    tinyshop: Workshop, spec: TrainSpec, straight: RunDir
) -> None:
    best = read_json(straight.result)["summary"]["best_step"]
    run = tinyshop.submit(2, spec)
    process = tinyshop.start(run, hold=Hold("eval", "step", best))
    wait_until(lambda: best in evaluations(run), process)
    process.send_signal(signal.SIGKILL)
    assert tinyshop.ended(process) == -signal.SIGKILL
    assert [path.name for path in (run.checkpoints / "best").glob("checkpoint-*")] == [f"checkpoint-{best}"]

    # Killed again behind the best, which is by now older than every checkpoint that is kept.
    process = tinyshop.start(run, 2, hold=Hold("checkpoint", "step", best + 3))
    wait_until(lambda: any(event["step"] == best + 3 for event in events(run, 2, "checkpoint")), process)
    process.send_signal(signal.SIGKILL)
    assert tinyshop.ended(process) == -signal.SIGKILL
    assert best + 2 in evaluations(run, 2)
    assert min(int(path.name.split("-")[1]) for path in run.checkpoints.glob("checkpoint-*")) > best

    assert tinyshop.finish(run, 3) == 0, run.attempt(3).log.read_text()
    assert evaluations(run, 3) == evaluations(straight)
    assert adapter(run) == adapter(straight)
    keys = ("best_step", "best_loss", "stopped_early", "steps")
    assert [read_json(run.result)["summary"][key] for key in keys] == [
        read_json(straight.result)["summary"][key] for key in keys
    ]

    # Killed between its end and its result: nothing is trained any more.
    run.result.unlink()
    assert tinyshop.finish(run, 4) == 0, run.attempt(4).log.read_text()
    assert not events(run, 4, "step") and not events(run, 4, "eval")
    assert adapter(run) == adapter(straight)
    assert read_json(run.result)["summary"]["stopped_early"]


def adapter(run: RunDir) -> str:
    (artefact,) = read_json(run.result)["artefacts"]
    return str(artefact["sha256"])
