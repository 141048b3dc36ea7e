"""What the form of a new run begins with."""

from __future__ import annotations

import math

from core.config.shipped import DEMO_RECIPE, PLAIN_RECIPE
from core.store.jobs import JobRow
from tui.model.snapshot import Snapshot
from tui.queries.catalogue import Catalogue, Choice

SMALL = 500_000_000
"""Parameters of a model that a CPU trains in minutes."""


def last_run(snapshot: Snapshot) -> JobRow | None:
    return next((job for job in snapshot.jobs if job.kind == "train"), None)


def has_gpu(snapshot: Snapshot) -> bool:
    return snapshot.sample is not None and snapshot.sample.job_gpu is not None


def default_task(catalogue: Catalogue) -> str | None:
    """The first that there is training data for: a task need not have any."""
    return next((item.name for item in catalogue.tasks if item.name in catalogue.lessons), None)


def default_model(catalogue: Catalogue, snapshot: Snapshot) -> str | None:
    """The model that was last trained, else one that is on the disk, else the smallest; without a GPU a small one."""
    job = last_run(snapshot)
    if job is not None and job.model is not None:
        return job.model

    def order(item: Choice) -> tuple[bool, bool, float]:
        large = not has_gpu(snapshot) and (item.parameters or math.inf) >= SMALL
        return large, "on disk" not in item.note, item.parameters or math.inf

    models = sorted(catalogue.models, key=order)
    return models[0].name if models else None


def default_recipe(catalogue: Catalogue, snapshot: Snapshot, model: str) -> str:
    """The plain LoRA one for a GPU; without one what a CPU can do in minutes, as far as the model is small."""
    chosen = next((item for item in catalogue.models if item.name == model), None)
    small = chosen is not None and (chosen.parameters or math.inf) < SMALL
    return DEMO_RECIPE if small and not has_gpu(snapshot) else PLAIN_RECIPE
