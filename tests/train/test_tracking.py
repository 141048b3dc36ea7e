"""Trackers: what they write is what the events say, in the attempt's folder; an absent one is told of at once."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest

from core.config.recipe import Recipe
from core.config.task import Task
from core.files import read_json
from core.jobfile.train import TrainSpec
from tests.support.workshop import Workshop, events

pytestmark = pytest.mark.train


def test_tensorboard_is_told_what_the_events_say(tinyshop: Workshop, task: Task, recipe: Recipe) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracked = recipe.model_copy(update={"report_to": "tensorboard", "eval_fraction": 0.25, "epochs": 1.0})
    fresh = replace(tinyshop, forked=False)  # where it writes is settled before the libraries are imported
    run = fresh.submit(1, TrainSpec(task=task, model=tinyshop.model, recipe=tracked, train=tinyshop.greetings()))
    assert fresh.finish(run) == 0, run.attempt(1).log.read_text()
    written = EventAccumulator(str(run.attempt(1).path / "tensorboard"))
    written.Reload()
    steps = events(run, 1, "step")
    assert len(steps) == 3
    for tag, field in (("train/loss", "loss"), ("train/learning_rate", "lr"), ("train/grad_norm", "grad_norm")):
        told = [(scalar.step, scalar.value) for scalar in written.Scalars(tag)]
        assert told == [(event["step"], pytest.approx(event[field], rel=1e-6)) for event in steps], tag
    (held_out,) = events(run, 1, "eval")
    assert [(scalar.step, scalar.value) for scalar in written.Scalars("eval/loss")] == [
        (held_out["step"], pytest.approx(held_out["loss"], rel=1e-6))
    ]
    # Nothing of it stands elsewhere.
    assert {path.name for path in run.path.iterdir()} == {"job.yaml", "checkpoints", "attempt-1", "result.json"}


def test_a_tracker_that_is_not_installed_is_told_of_before_anything_is_loaded(
    tinyshop: Workshop, task: Task, recipe: Recipe
) -> None:
    absent = next((name for name in ("mlflow", "trackio", "wandb") if find_spec(name) is None), None)
    if absent is None:
        pytest.skip("every tracker is installed here")
    tracked = recipe.model_copy(update={"report_to": absent})
    run = tinyshop.submit(2, TrainSpec(task=task, model=tinyshop.model, recipe=tracked, train=tinyshop.greetings()))
    assert tinyshop.finish(run) == 2
    error = read_json(run.attempt(1).error_json)
    assert (error["code"], error["key"]) == ("tracker_not_installed", "report_to")
    assert error["remedy"] == f"{sys.executable} -m pip install {absent}"
    assert [event["name"] for event in events(run, 1, "phase")] == ["reading the data"]
