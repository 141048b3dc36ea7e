"""A training whose loss is no number any more tells so in its events, where the watchdog looks."""

from __future__ import annotations

import math
from typing import Any

import pytest

from core.config.recipe import Recipe
from core.config.settings import WatchSettings
from core.config.task import Task
from core.events import EventReader
from core.watchdog.run_watch import RunWatch
from tests.support.workshop import Workshop, events
from tests.train.inprocess import training

pytestmark = pytest.mark.train


def test_a_weight_that_is_no_number_shows_in_the_next_step_s_event_and_is_found_there(
    tinyshop: Workshop, task: Task, recipe: Recipe
) -> None:
    """What a faulty kernel does to a weight, done to one by hand after the second step."""
    import torch
    from transformers import TrainerCallback

    class Fault(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            if state.global_step == 2:
                weight = next(parameter for parameter in model.parameters() if parameter.requires_grad)
                with torch.no_grad():
                    weight[0, 0] = float("nan")

    made = training(tinyshop, task, recipe, 60, tinyshop.greetings())
    made.trainer.add_callback(Fault())
    made.run()

    run = made.context.run
    steps = events(run, 1, "step")
    finite = [math.isfinite(event["loss"]) for event in steps]
    assert finite == [True, True] + [False] * (len(steps) - 2) and len(steps) == 6
    assert steps[-1]["step"] == steps[-1]["total"], "what is to be done about it is not the training's to decide"
    watch = RunWatch(WatchSettings(), steps[0]["time"])
    for event in EventReader(run.attempt(1).events):
        watch.event(event)
    (finding,) = watch.check(steps[-1]["time"])
    assert (finding.code, finding.stop, finding.time) == ("nan", True, steps[2]["time"])
    assert finding.message == "the loss is nan at step 3"
