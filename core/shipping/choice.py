"""Which chat template a served model is given, so that it is certain which one runs.

What Ollama does with the TEMPLATE of a model and the jinja of its GGUF file was observed with 0.24.0 and 0.33.0-rc2. Up to 0.29
TEMPLATE runs; without one, one that Ollama knows for a few jinja texts, else the bare last message. From 0.30 on TEMPLATE runs
unless the file's jinja has more capabilities (thinking, tools). So a TEMPLATE is sent that renders what the file's own does:
then it does not matter which of them runs. Where there is none that does, the other one is left out.

A model without a TEMPLATE gets one of Ollama's where the file's jinja is near one that Ollama knows, by its letters. That need
not be the right one: Phi-3's jinja is taken for Zephyr's (0.33.0-rc2). So a jinja that is to run is moved away from each of
them, by a comment in front of it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from core.data.template_proof import prove
from core.errors import InputError
from core.reasons import Reason
from core.serving.ollama_prompts import version_number
from core.shipping.families import Family
from core.shipping.installed import InstalledTemplate
from core.shipping.jinja import JinjaTemplate

RUNS_JINJA = (0, 30, 0)
"""The first version of Ollama that can take the template of the GGUF file."""
Runs = Literal["template", "jinja", "renderer"]
APART = (
    "{# The prompts of this model are made by this template, as it was trained. Without this remark, which says nothing to it, "
    "Ollama may take the text for that of another model. #}"
)
"""More letters than Ollama's measure of nearness: fewer than 100 edits between two texts (its `template/template.go`)."""


@dataclass(frozen=True)
class TemplateChoice:
    """`send` is the TEMPLATE that the model is created with, None for none; `keep_jinja` whether the file keeps its own, and
    `apart` whether with the comment that moves it away from those that Ollama knows.

    `runs` says which of them a server of that version takes. `same`: both render the same, so that the model is right whichever
    runs. Where that is not so, and where `certain` is false, only the server's render proves it.
    """

    send: str | None
    keep_jinja: bool
    runs: Runs
    stops: tuple[str, ...]
    same: bool
    certain: bool
    apart: bool = False

    def in_file(self, own: str | None) -> str | None:
        """The template that the file has to have so that this one runs, `own` being the one that it has. Another than that
        takes a copy of the file."""
        if own is None or not self.keep_jinja:
            return None
        return APART + own if self.apart and not own.startswith(APART) else own


def choose(
    version: str,
    jinja: JinjaTemplate | None,
    found: Family | Reason | None,
    official: InstalledTemplate | None = None,
) -> TemplateChoice:
    """What an Ollama of this version is given. `jinja` is the GGUF file's own template, `found` what `recognise` said of it
    (None without one), `official` the template of an installed model, where the model's entry names one.

    InputError `unknown_template` where no template is known that would run.
    """
    newer = version_number(version) >= RUNS_JINJA
    own = jinja.capabilities() if jinja is not None else frozenset[str]()
    if official is not None:
        # It need not render what the file's own does: so that it runs, the other one goes, whatever the server makes of both.
        keep = not newer or jinja is None
        return TemplateChoice(official.template, keep, "template", official.stops, same=False, certain=True)
    if isinstance(found, Family):
        runs: Runs = "jinja" if newer and jinja_runs(own, found.capabilities) else "template"
        return TemplateChoice(found.go_template, True, runs, found.stops, same=True, certain=True)
    if jinja is None:
        raise _unknown("the GGUF file has no chat template, and none is named for the model")
    if not newer:
        raise _unknown(
            f"the chat template is of no family that is known here, and Ollama {version} does not read jinja"
        )
    # Ollama knows Go templates for a few jinja texts. None of them thinks, and one has tools: with both capabilities the file's
    # own beats them, with none it has to be far from them. A comment before anything but a tag may take white space away.
    apart = not own and jinja.chat_template.startswith("{")
    ends = _end_of_turn(jinja)
    return TemplateChoice(None, True, "jinja", ends, same=False, certain=apart or len(own) > 1, apart=apart)


def jinja_runs(own: Collection[str], written: Collection[str]) -> bool:
    """Whether Ollama from 0.30 on takes the file's jinja, with the capabilities `own`, before a TEMPLATE with `written`."""
    return len(own) > len(written)


def ran(shown: str, choice: TemplateChoice, jinja: str | None, renderer: str | None = None) -> Runs | None:
    """Which template runs, by what `show` says is the model's; None for neither of the two.

    `renderer`: a part of the server that makes the prompts of some architectures (Gemma 4's from 0.30 on, Qwen3.5's later),
    whatever is sent. Whether they are the trained ones, only its render tells.
    """
    if renderer is not None:
        return "renderer"
    if choice.send is not None and shown.strip() == choice.send.strip():
        return "template"
    return "jinja" if jinja is not None and shown.strip() == jinja.strip() else None


def _end_of_turn(jinja: JinjaTemplate) -> tuple[str, ...]:
    """What ends an answer, where the template tells: a server looks for the model's tokens alone, which it need not be."""
    try:
        return (prove(jinja, "off").end,)
    except Exception:  # noqa: BLE001 - a template is a program of others: it can raise whatever Python can
        return ()


def _unknown(what: str) -> InputError:
    return InputError(
        what,
        code="unknown_template",
        remedy="name an installed model that has the right one with `template_from:` in the model's entry of models.yaml, or "
        "serve the file with llama-server, which reads jinja",
    )
