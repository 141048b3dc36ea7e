"""The template of a model that is installed in Ollama, read so that another one of the family is served with the same."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import InputError
from core.serving.errors import ServerError
from core.serving.ollama import Ollama
from core.text import one_line

BARE = "{{ .Prompt }}"
"""What `show` says of a model that has no template."""


@dataclass(frozen=True)
class InstalledTemplate:
    """`model` is the name it was read from, `template` a Go template, `stops` what ends its answers."""

    model: str
    template: str
    stops: tuple[str, ...]

    @property
    def capabilities(self) -> frozenset[str]:
        """About as Ollama infers them: from the names of fields, of which it wants `.Thinking` within a range over messages and
        between two texts."""
        fields = {"thinking": r"\.Thinking\b", "tools": r"\.Tools\b", "insert": r"\.Suffix\b"}
        return frozenset(name for name, pattern in fields.items() if re.search(pattern, self.template))


def installed_template(ollama: Ollama, model: str) -> InstalledTemplate:
    """The template of an installed model. InputError where the server does not answer, has no such model, or the model has no
    Go template of its own to take."""
    try:
        info = ollama.show(model)
    except ServerError as error:
        unknown = error.status == 404
        raise InputError(
            f"Ollama has no model `{model}`"
            if unknown
            else f"Ollama does not say what template `{model}` has: {error}",
            code="no_installed_template",
            key="template_from",
            remedy=f"`ollama pull {model}`, or name another model"
            if unknown
            else "start Ollama, or leave `template_from` out",
        ) from error
    what = None
    if info.remote is not None:
        what = f"does not run here, but at {one_line(info.remote, limit=80)}"
    elif info.renderer is not None:
        what = f"has its prompts made by Ollama itself ({one_line(info.renderer, limit=80)})"
    elif "{%" in info.template:
        what = "runs by the jinja of its file"
    elif info.template.strip() in ("", BARE):
        what = "has no template"
    if what is not None:
        raise InputError(
            f"`{model}` {what}: there is no Go template to take",
            code="no_installed_template",
            key="template_from",
            remedy="name a model of Ollama's library, e.g. qwen3:8b",
        )
    return InstalledTemplate(model, info.template, info.parameters.get("stop", ()))
