"""The words for what is known of a served model's chat template."""

from __future__ import annotations

from core.reasons import Reason

_UNPROVED = {
    "thinks_always": "the chat template opens thoughts in every prompt",
    "no_end_of_turn": "the chat template writes nothing that ends a turn of the model",
    "no_chat_template": "there is no chat template",
}
_THINK = {None: "", True: ", thinking on", False: ", thinking off"}
WHAT_TO_DO = (
    "Name an installed model that has the right template with `template_from:` in the model's entry of models.yaml, "
    "or serve the file with llama-server, which uses the file's own template."
)


def unknown_template_words(reason: Reason) -> str:
    """Why a chat template is of no family that Bakehouse has a Go TEMPLATE for."""
    values = reason.values
    if reason.code == "template_differs":
        think = _THINK.get(values.get("think"), "")  # type: ignore[arg-type]
        said = f"{values['conversation']} comes out differently from {values['family']}{think}"
        return f"the chat template is of no family that is known here ({said})"
    if reason.code == "template_dated":
        return "the chat template writes the date of the day into its prompts, which no TEMPLATE of Ollama's can follow"
    if reason.code == "no_template":
        return "the file has no chat template"
    if reason.code == "no_jinja2":
        return "the chat template could not be looked at: the Python package jinja2 is not installed where jobs run"
    if reason.code == "bad_template":
        return "the chat template cannot be read"
    return _UNPROVED.get(str(values.get("why")), "the chat template does not take every kind of conversation")
