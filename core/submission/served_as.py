"""What the Modelfile beside a GGUF file is written from: the task as it is now, and the template that a model's entry names."""

from __future__ import annotations

import contextlib

from core.config.model import ModelEntry
from core.config.project import Project
from core.errors import BakehouseError, InputError, NotFoundError
from core.home import Home
from core.jobfile.bakeoff import ExampleTurn
from core.jobfile.convert import ConvertSpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.served_as import OfficialTemplate, ServedAs
from core.jobfile.spec import Spec
from core.jobfile.train import TrainSpec
from core.results.trainings import training_behind
from core.serving.ollama import Ollama
from core.shipping.installed import installed_template
from core.submission.few_shot import TOO_FEW, examples_as_trained


def served_as(
    project: Project, task: str | None, model: ModelEntry | None, training: TrainSpec | None = None
) -> ServedAs:
    """How a model for a task is to be served. A task that the project has no longer is left out. `training`: what it came of.

    Raises `InputError` where the task's file cannot be read, and where the template of `template_from` cannot be had.
    """
    official = None
    if model is not None and model.template_from is not None:
        with Ollama(project.settings.ollama.url) as ollama:
            found = installed_template(ollama, model.template_from)
        official = OfficialTemplate(model=found.model, template=found.template, stops=found.stops)
    try:
        known = None if task is None else project.task(task)
    except NotFoundError:
        return ServedAs(official=official)
    return ServedAs(task=known, official=official, examples=served_examples(project, task, training))


def served_examples(
    project: Project, task: str | None, training: TrainSpec | None
) -> tuple[tuple[ExampleTurn, ...], ...]:
    """The examples that requests have to send to what came of a training; empty where they need none, or where the task has
    not so many now. Raises `NotFoundError`, `InputError` where data or golden inputs cannot be read."""
    if training is None or task != training.task.name:
        return ()
    try:
        return tuple(map(tuple, examples_as_trained(project, training)))
    except InputError as error:
        if error.code not in TOO_FEW:
            raise
        return ()


def known_training(home: Home, reference: str | None) -> TrainSpec | None:
    """The training that a file came of (`job:12/gguf`), as far as its jobs are still on record."""
    with contextlib.suppress(BakehouseError, OSError):
        found = training_behind(home, reference)
        return None if found is None else found[1]
    return None


def to_serve(spec: Spec, served: ServedAs) -> Spec:
    """The job with this, where it makes a GGUF file; what is made for no task is served for none."""
    if not isinstance(spec, ConvertSpec | QuantizeSpec):
        return spec
    if spec.task is None:
        served = ServedAs(official=served.official)
    return spec.model_copy(update={"served": served})
