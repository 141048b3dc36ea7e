"""The Modelfile that is written beside a GGUF file, and what is said in it for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.config.task import Task
from core.data.shots import TrainedShots
from core.errors import InputError
from core.files import write_atomic
from core.jobfile.served_as import OfficialTemplate, ServedAs
from core.models.gguf import GgufHeader
from core.reasons import Reason
from core.shipping.choice import jinja_runs
from core.shipping.families import Family, recognise
from core.shipping.gguf_template import template_of
from core.shipping.installed import InstalledTemplate
from core.shipping.jinja import JinjaTemplate
from core.shipping.modelfile import NAME, Modelfile, quoted
from core.wording.parity import shots_values
from core.wording.shipping import WHAT_TO_DO, unknown_template_words
from jobs.context import JobContext

BESIDE = f"A {NAME} for Ollama is written beside it"


def write_modelfile(
    context: JobContext, file: Path, header: GgufHeader, served: ServedAs, shots: TrainedShots | None = None
) -> dict[str, Any]:
    """Write the Modelfile into the folder of the file. What is returned is for its lineage: which template it gives. `shots`:
    the answered examples that training put in front of its prompts.

    A template of no known family is warned of; the Modelfile then gives none, and says what to do.
    """
    jinja, found = look_at_template(file, header)
    official = served.official
    if isinstance(found, Reason) and official is None:
        context.warn("unknown_template", f"{unknown_template_words(found)}. {BESIDE} without a TEMPLATE. {WHAT_TO_DO}")
    written = modelfile_of(file.name, jinja, found, served, shots)
    if written.left_out:
        parts = ", ".join(written.left_out)
        context.warn("modelfile_left_out", f"{BESIDE}; Ollama would not read these parts of it as they are: {parts}")
    write_atomic(file.with_name(NAME), written.text())
    if official is not None:
        return {"template": {"from": official.model}}
    return {"template": {"family": found.name} if isinstance(found, Family) else {"unknown": found.to_json()}}


def look_at_template(file: Path, header: GgufHeader) -> tuple[JinjaTemplate | None, Family | Reason]:
    """The file's own template, and the family that it is of or why that is not known."""
    try:
        jinja = template_of(file, header)
    except InputError as error:
        return None, Reason(error.code)
    except ModuleNotFoundError:  # a quantisation needs no package: where it runs there may be none
        return None, Reason("no_jinja2")
    return jinja, Reason("no_template") if jinja is None else recognise(jinja)


def modelfile_of(
    name: str,
    jinja: JinjaTemplate | None,
    found: Family | Reason,
    served: ServedAs,
    shots: TrainedShots | None = None,
) -> Modelfile:
    task, official = served.task, served.official
    if official is not None:
        template, stops = official.template, official.stops
    elif isinstance(found, Family):
        template, stops = found.go_template, found.stops
    else:
        template, stops = None, ()
    notes = [
        f"For Ollama, in the folder of this file:  ollama create NAME -f {NAME}",
        *_of_template(jinja, found, official),
        *(_of_task(task, found) if task is not None else ()),
        *(_of_shots(shots, served) if shots is not None else ()),
    ]
    return Modelfile(name, template, tuple(stops), task.sampling if task else None, notes=tuple(notes))


def _of_template(jinja: JinjaTemplate | None, found: Family | Reason, official: OfficialTemplate | None) -> list[str]:
    if official is not None:
        given = InstalledTemplate(official.model, official.template, official.stops)
        beaten = jinja is not None and jinja_runs(jinja.capabilities(), given.capabilities)
        return [
            f"TEMPLATE is that of the installed model {official.model}, as it was when this was written.",
            *(
                ["Ollama from 0.30 on uses the file's own template instead: that one has more capabilities."]
                if beaten
                else []
            ),
        ]
    if isinstance(found, Family):
        return [
            f"TEMPLATE ({found.label}) renders what the file's own template does. Some versions of Ollama use the one,",
            "some the other; both give the model the prompts that it was trained on.",
        ]
    return [f"No TEMPLATE is given: {unknown_template_words(found)}.", WHAT_TO_DO]


def _of_task(task: Task, found: Family | Reason) -> list[str]:
    lines = [f"The parameters are those of the task {task.name}."]
    if isinstance(found, Family) and found.capabilities:
        lines.append(
            f"The task has thinking {task.thinking}: send `think: {str(task.thinking == 'on').lower()}` with each request."
        )
    if not task.system.strip():
        return lines
    if task.system_role == "user":
        return [
            *lines,
            "The task's system prompt stands at the head of the first user message: SYSTEM would be something else.",
        ]
    value = quoted(task.system)
    if value is None:
        return [
            *lines,
            "Send the task's system prompt with each request: Ollama would not read its text from here as it is.",
        ]
    return [
        *lines,
        "The task's system prompt comes with each request. To have it where a request has none, take the # away:",
        f"SYSTEM {value}",
    ]


def _of_shots(shots: TrainedShots, served: ServedAs) -> list[str]:
    """No MESSAGE lines that count: Ollama puts them in front of all messages of a request, where training had the system prompt
    first. They are right for requests without one."""
    said = shots_values(shots.count, shots.share)
    trained = f"Training put up to {said['examples']} in front of {said['share']} of its prompts"
    if not shots.expected:
        return [f"{trained}, and trained without on the others: requests need none."]
    lines = [
        f"{trained}: send as many with each request,",
        "as user and assistant turns between the system prompt and the input. MESSAGE would put them in front of the",
        "request's own system prompt.",
    ]
    written = [(turn.role, quoted(turn.content)) for example in served.examples for turn in example]
    if not written or any(value is None for _, value in written):
        return lines
    return [
        *lines,
        "For requests that have none, take the # away:",
        *(f"MESSAGE {role} {value}" for role, value in written),
    ]
