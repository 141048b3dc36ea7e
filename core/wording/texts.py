"""The words for what was found in the texts of training data, and for what a chat template does with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.data.text_faults import TextFinding
from core.reasons import Reason
from core.text import printable

NAMED_AT_MOST = 5

_TEXTS = {
    "end_in_completion": "the completion holds `{sign}`, which ends a turn",
    "control_in_completion": "the completion holds `{sign}`, a control token of the chat template",
    "foreign_end_in_completion": "the completion ends with `{sign}`, the end of a turn in another model's format: it would be "
    "learnt as text",
    "foreign_head_in_completion": "the completion begins with `{sign}`, the head of an answer in another format: it would be "
    "learnt as text",
    "foreign_head_in_message": "a {role} message ends with `{sign}`, the head of an answer in another format: it was formatted "
    "already",
    "foreign_turn_in_completion": "the completion holds `{sign}`, with which a question begins in another format: it may hold "
    "several turns",
    "prompt_in_completion": "the completion begins with the generation prompt `{sign}`",
    "thoughts_while_off": "the completion holds thoughts (`{sign}`), and the task has `thinking: off`",
    "thoughts_not_opened": "the completion closes thoughts (`{sign}`) that it does not open",
    "thoughts_not_closed": "the completion opens thoughts (`{sign}`) and does not close them",
    "message_lost": "the chat template does not write the text of a {role} message as it stands",
    "control_in_message": "a {role} message holds `{sign}`, a control token: the model reads it as such, here and when served",
}
_REMEDIES = {
    "end_in_completion": "remove it: the chat template writes the end of the turn itself",
    "control_in_completion": "remove it: the model would learn to write control tokens",
    "foreign_end_in_completion": "remove it: the chat template writes the end of the turn itself",
    "foreign_head_in_completion": "remove it: the chat template writes the head of an answer itself",
    "foreign_head_in_message": "give the bare text of the question: the chat template writes the frame around it",
    "foreign_turn_in_completion": "write the turns as messages, unless the text is meant as it stands",
    "prompt_in_completion": "remove it: the chat template writes the generation prompt itself",
    "thoughts_while_off": "remove the thoughts, or set `thinking: on` in the task",
    "thoughts_not_opened": "write the opening in front of the thoughts, or remove them",
    "thoughts_not_closed": "write the closing behind the thoughts, or remove the opening",
    "message_lost": "remove from the message what the template takes out or changes (`bakehouse audit --show 1`), or take "
    "another model",
    "control_in_message": "remove it unless it is meant",
}
_TEMPLATE = {
    "list_contents": "the chat template takes messages as lists of parts: they are given as such",
    "behind_the_end": "the chat template writes `{text}` behind the end of a turn: it is not learnt",
    "end_is_no_token": "`{text}`, which ends a turn, is no token of the tokenizer: the template was written for another one",
    "system_moved": "the chat template does not write the system message first",
    "no_thinking_switch": "`thinking: on` changes nothing: the chat template has no switch for thoughts",
}


def text_words(finding: TextFinding) -> str:
    """What was found, and at which lines: one line, safe for a terminal."""
    return f"{fault_words(finding.reason)} ({line_words(finding.lines, finding.examples)})"


def fault_words(fault: Reason) -> str:
    """What is wrong with a text: one line, safe for a terminal."""
    return _filled(_TEXTS, fault)


def fault_remedy(fault: Reason) -> str | None:
    return _REMEDIES.get(fault.code)


def template_words(note: Reason) -> str:
    """What the chat template does that a person may want to know: one line, safe for a terminal."""
    return _filled(_TEMPLATE, note)


def line_words(lines: Sequence[int], examples: int) -> str:
    """`line 3`; `lines 3, 4, 9 and 12 more`. `examples` is how many there are in all."""
    named = f"line{'s' if len(lines) > 1 else ''} {', '.join(str(line) for line in lines[:NAMED_AT_MOST])}"
    if len(lines) == 1:
        return named if examples == 1 else f"{examples:,} times in {named}"
    more = examples - NAMED_AT_MOST
    return f"{named} and {more:,} more" if len(lines) > NAMED_AT_MOST else named


def _filled(table: Mapping[str, str], reason: Reason) -> str:
    values: dict[str, Any] = dict(reason.values)
    try:
        said = table[reason.code].format(**values)
    except (KeyError, IndexError):
        said = " ".join([reason.code, *(f"{name}={value}" for name, value in values.items())])
    return printable(said)
