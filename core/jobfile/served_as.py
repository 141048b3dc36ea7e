"""How a GGUF file is to be served, as far as that was known at submission: what its Modelfile is written from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from core.config.task import Task
from core.jobfile.bakeoff import ExampleTurn


class OfficialTemplate(BaseModel):
    """The Go template of an installed model of Ollama, as it was at submission, with what ends an answer of that model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    template: str
    stops: tuple[str, ...] = ()


class ServedAs(BaseModel):
    """`task` is what the model is to do, None where it is made for none; `official` the template that its entry names.

    `examples` are those that requests have to send: nearly every prompt of the training had as many in front.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task | None = None
    official: OfficialTemplate | None = None
    examples: tuple[tuple[ExampleTurn, ...], ...] = ()
