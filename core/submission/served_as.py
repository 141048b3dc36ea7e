"""What the Modelfile beside a GGUF file is written from: the task as it is now, and the template that a model's entry names."""

from __future__ import annotations

from core.config.model import ModelEntry
from core.config.project import Project
from core.errors import NotFoundError
from core.jobfile.convert import ConvertSpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.served_as import OfficialTemplate, ServedAs
from core.jobfile.spec import Spec
from core.serving.ollama import Ollama
from core.shipping.installed import installed_template


def served_as(project: Project, task: str | None, model: ModelEntry | None) -> ServedAs:
    """How a model for a task is to be served. A task that the project has no longer is left out.

    Raises `InputError` where the task's file cannot be read, and where the template of `template_from` cannot be had.
    """
    official = None
    if model is not None and model.template_from is not None:
        with Ollama(project.settings.ollama.url) as ollama:
            found = installed_template(ollama, model.template_from)
        official = OfficialTemplate(model=found.model, template=found.template, stops=found.stops)
    try:
        return ServedAs(task=None if task is None else project.task(task), official=official)
    except NotFoundError:
        return ServedAs(official=official)


def to_serve(spec: Spec, served: ServedAs) -> Spec:
    """The job with this, where it makes a GGUF file; what is made for no task is served for none."""
    if not isinstance(spec, ConvertSpec | QuantizeSpec):
        return spec
    if spec.task is None:
        served = ServedAs(official=served.official)
    return spec.model_copy(update={"served": served})
