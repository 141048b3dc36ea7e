"""Signs of the frames that chat templates put around messages."""

from __future__ import annotations

import re

# Signs of the frames of today's chat templates, and the names of roles that a server leaves of them when it drops its tokens.
FRAME = re.compile(
    r"<\|(?:im_start|im_end|im_sep|eot_id|eom_id|start_header_id|end_header_id|begin_of_text|end_of_text|endoftext|end|return"
    r"|user|assistant|system|start|message|eos|pad|end_of_turn)\|>|<(?:start|end)_of_turn>|</s>|\[/?INST\]|<</?SYS>>"
    r"|<｜[^｜\n]{1,40}｜>|(?:\A|\n)[ \t]*(?:user|assistant|system)[ \t]*(?:\n|\Z)"
)
SECTION = re.compile(r"(?:\A|\n)#{2,4} ?(?:Instruction|Response|Input|Output|Human|Assistant|User|System)s?:")
"""Headings of the frames of Alpaca and Vicuna, with their colon."""
_TURN = re.compile(r"[ \t*_>]{0,4}(user|human|assistant|ai)[*_]{0,2}:", re.IGNORECASE)
_LABEL = re.compile(r"[ \t*_>-]{0,5}\w[\w ]{0,24}[*_]{0,2}:")


def turn_signs(text: str) -> frozenset[str]:
    """The roles whose turns a text writes out at the beginnings of lines: `USER: …`.

    A role between other labels is one of them (`Name: … / User: …`): it counts where two roles are there, in capitals, or
    behind a blank line and beside no other label.
    """
    lines = text.split("\n")
    signs = [(number, found[1]) for number, line in enumerate(lines) if (found := _TURN.match(line))]
    roles = frozenset(role.casefold() for _, role in signs)
    if len(roles) > 1:
        return roles
    return frozenset(
        role.casefold() for number, role in signs if (role.isupper() and role != "AI") or _alone(lines, number)
    )


def _alone(lines: list[str], number: int) -> bool:
    before, behind = lines[number - 1] if number else "", lines[number + 1] if number + 1 < len(lines) else ""
    return number > 0 and not before.strip() and not _LABEL.match(behind)
