"""The words for what the parity gate finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.format import listed, plural, share
from core.reasons import Reason
from core.text import printable

_WORDS = {
    "render_refused": "the served chat template refuses a conversation that training's takes: {said}",
    "doubled_bos": "the server puts a beginning-of-text token in front of the one that the template writes",
    "added_bos": "the server puts a beginning-of-text token in front, and training had none",
    "lost_bos": "training began with a beginning-of-text token, and the server sends none",
    "added_eos": "the server puts an end-of-text token behind the prompt",
    "tokens_differ": "the text is the same and its tokens are not: the file has another tokenizer, or lost tokens of it",
    "normal_form_differs": "training's tokenizer brings text to Unicode's form {form}, the server does not: letters with "
    "separate accents, say, get other tokens",
    "system_dropped": "the served prompt lacks the system prompt",
    "system_twice": "the served prompt has the system prompt twice",
    "default_system_differs": "without a system prompt of the task, the templates put in another one: trained {trained}, "
    "served {served}",
    "system_moved": "the served prompt has the system prompt inside the user's message: the template knows no system message",
    "no_template": "the served prompt has no frame around the messages: the server runs without the model's chat template",
    "thinking_differs": "thinking is rendered in another way: trained {trained}, served {served}",
    "trailing_whitespace": "the prompt ends in other white space: trained {trained}, served {served}",
    "whitespace_differs": "the prompts differ in white space",
    "other_template": "the served chat template is another one",
    "text_differs": "the served prompt changes the text of a message",
    "file_without_template": "the GGUF file has no chat template",
    "training_marks": "the chat template of the GGUF file holds marks of training (`{{% generation %}}`)",
    "stop_token_lost": "the stop token is lost: `{text}` ends a turn in training, and nothing ends an answer there when served",
    "stop_word_added": "the server ends answers at {words} as well, which end no turn in training",
    "prompt_over_window": "a prompt of {tokens} tokens ({name}) does not fit into the window of {window} tokens",
    "prompt_count": "the server counted {served} tokens of a prompt that has {trained}",
    "end_in_answer": "an answer ran over `{text}`, which ends a turn",
    "switch_differs": "with thinking {thinking}, which this task does not ask for, the prompts differ",
    "few_shot_expected": "training put up to {examples} in front of {share} of its prompts, and no server adds any: each "
    "request has to send as many, as turns between system prompt and input (`@few_shot={count}` in a bake-off)",
    "few_shot_for_training": "training put up to {examples} in front of {share} of its prompts: that was for training only, "
    "and requests need none",
    "answer_not_ended": "the answer that was asked for reached its limit of {tokens} tokens: whether answers end is not known",
}
_REMEDIES = {
    "system_twice": "take the system prompt out of one of its two places: a TEMPLATE that has all messages needs no `.System`",
    "default_system_differs": "give the task a system prompt, or serve the template that trained the model",
    "normal_form_differs": "compose texts (NFC) before they are sent, where they come from a Mac's file names, say",
    "stop_word_added": "take those stop words out of the Modelfile, unless they are wanted",
    "prompt_over_window": "raise `context_length` in the task's sampling, or shorten the input",
    "doubled_bos": "set `tokenizer.ggml.add_bos_token` of the file to false, or take the token out of its template",
    "added_bos": "set `tokenizer.ggml.add_bos_token` of the file to false",
    "lost_bos": "convert the model again: its tokenizer's settings were lost",
    "added_eos": "set `tokenizer.ggml.add_eos_token` of the file to false",
    "tokens_differ": "convert the model again from the folder that was trained, with its own tokenizer files",
    "system_dropped": "serve the model with the template that trained it, or set `system_role: user` in the task and retrain",
    "stop_token_lost": "convert the model again with its generation_config.json, or send `{text}` as a stop word",
    "training_marks": "save the model with the template that is to serve it, and convert it again",
    "prompt_count": "something between client and model changes the prompt: look at the server's log",
}


_CONVERT_AGAIN = "convert the model again with the chat template that trained it"

PLAIN = ("text", "form", "name", "said")
"""Values that are quoted by their sentence, or by nothing."""


def finding_words(reason: Reason) -> str:
    """One finding or cause, as a clause."""
    values = {key: value if key in PLAIN else _quoted(value) for key, value in reason.values.items()}
    if reason.code.startswith("few_shot"):
        count, part = reason.values["count"], reason.values["share"]
        assert isinstance(count, int) and isinstance(part, int | float)  # as the gate leaves them
        values |= shots_values(count, part)
    return _WORDS[reason.code].format(**values)


def shots_values(count: int, part: float) -> dict[str, str]:
    """`2 answered examples` and `98 %`, for a text about the examples that training put in front of its prompts."""
    return {"examples": plural(count, "answered example"), "share": share(part)}


def remedy_words(reason: Reason, made_from: int | None = None) -> str:
    """What to do about it, as a clause. `made_from` is the training or merge that the file is made from, None where unknown."""
    if is_of_template(reason):
        command = "" if made_from is None else f" (`bakehouse export {made_from} --to gguf --again`)"
        return f"{_CONVERT_AGAIN}{command}"
    values = {key: printable(str(value)) for key, value in reason.values.items()}
    return _REMEDIES[reason.code].format(**values)


def is_of_template(reason: Reason) -> bool:
    """Whether a file with the trained chat template is the remedy."""
    return reason.code not in _REMEDIES


def case_words(case: Mapping[str, Any]) -> str:
    """A line of the log about one conversation, as `ParityCase.to_json` has it."""
    where = f"{case['name']}, thinking {case['thinking']}"
    if case["same"]:
        return f"{where}: {case['tokens']} tokens, the same"
    return (
        f"{where}: differs from token {case['first_difference'] + 1} on: {causes_words(case)}; "
        f"trained {_quoted(case['trained'])}, served {_quoted(case['served'])}"
    )


def causes_words(case: Mapping[str, Any]) -> str:
    """What differs in a conversation, as `ParityCase.to_json` has it."""
    return "; ".join(finding_words(Reason.from_json(one)) for one in (case["cause"], *case.get("also", ())))


def _quoted(value: Any) -> str:
    if isinstance(value, list):
        return listed([_quoted(one) for one in value])
    if not isinstance(value, str):
        return str(value)
    return repr(printable(value, keep="\n")) if value else "nothing"
