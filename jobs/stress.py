"""The job `stress`: real trainings of a small model with random weights, one layout after the other, for some minutes.

A page fault of LoRA on RDNA 4 depends on where tensors lie, so that no product by itself shows it: a rank below the tile's
width, an odd number of tokens, an operand that ends where an allocation of the GPU's memory ends (ROCm issues 6600, 6647;
rocm-libraries xlengths and orders. That none of them faults proves nothing, and the result says so.
"""

from __future__ import annotations

import gc
import importlib
import time
from typing import TYPE_CHECKING, Any

from core.format import plural
from core.jobfile.stress import StressSpec
from jobs.context import JobContext, StopRequested
from jobs.device import job_device
from jobs.manifest import device_facts, extend_manifest, start_manifest
from jobs.stress_layouts import SHAPES, Layout, Shape, StressRun, layouts

if TYPE_CHECKING:
    import torch


def run(context: JobContext, spec: StressSpec) -> None:
    start_manifest(context)
    context.phase("loading torch")
    from jobs import models

    models.prepare_libraries()
    device = job_device(context)
    facts = device_facts()
    extend_manifest(context, device=facts)
    importlib.import_module("jobs.stress_training")  # it takes seconds, which are none of the test's
    shape = SHAPES[device.type]
    test = StressRun(context, spec.minutes * 60)
    for layout in layouts():
        test.begin(layout)
        before = test.steps
        train(test, layout, shape, device)
        test.layouts += test.steps > before
        if test.stopped is not None:
            raise StopRequested(test.stopped)
        if time.monotonic() >= test.ends_at and test.steps:
            break
    minutes = (time.monotonic() - test.began) / 60
    summary = {
        "steps": test.steps,
        "layouts": test.layouts,
        "minutes": round(minutes, 2),
        "device": {key: facts[key] for key in ("type", "name")},
        "rocm": facts.get("rocm"),
    }
    context.finish(told(test.steps, test.layouts, minutes, device.type), summary=summary)


def told(steps: int, layouts: int, minutes: float, device: str) -> str:
    """The result in a line, with what it is worth."""
    found = f"no fault in {plural(steps, 'step')} over {plural(layouts, 'layout')} in {minutes:.1f} min"
    if device == "cpu":
        return f"{found} on the CPU; this does not prove that there is none, and says nothing about a GPU"
    return f"{found}; this does not prove that there is none"


def train(test: StressRun, layout: Layout, shape: Shape, device: torch.device) -> None:
    """One training until its time is over; all its memory is given back, so that the next one's lies elsewhere."""
    import torch

    from jobs.stress_training import make_trainer

    trainer: Any = make_trainer(test, layout, shape, device)
    trainer.train()
    del trainer
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
