"""A training in the test's own process, for what only its objects can tell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.config.recipe import Recipe
from core.config.task import Task
from core.data.examples import load_examples
from core.data.render import fit_all
from core.jobfile.spec import InputFile
from core.jobfile.train import TrainSpec
from jobs.context import JobContext
from tests.support.workshop import Workshop

if TYPE_CHECKING:
    from jobs.training import Training


def training(workshop: Workshop, task: Task, recipe: Recipe, number: int, data: InputFile) -> Training:
    """Job `number`, loaded and ready to run; its events go where those of a process would."""
    import torch

    from jobs import models

    models.prepare_libraries()
    from jobs.training import Training

    spec = TrainSpec(task=task, model=workshop.model, recipe=recipe, train=data)
    run = workshop.submit(number, spec)
    attempt = run.attempt(1)
    attempt.path.mkdir()
    base = models.locate(spec.model, workshop.home)
    tokenizer = models.load_tokenizer(base, workshop.home)
    device = models.choose_device()
    if workshop.threads is not None:
        torch.set_num_threads(workshop.threads)
    examples, _ = load_examples(Path(data.path), task)
    fitted = fit_all(tokenizer, examples, task.thinking, recipe.max_length).fitted
    model = models.load_model(base, workshop.home, device, torch.float32)
    context = JobContext.open(run, attempt)
    return Training(context, spec, recipe, "test", model, tokenizer, fitted, [], device=device, dtype=torch.float32)
