"""What stands in an answer and belongs to no answer: words to the person, thinking, fences, signs of a chat template."""

from __future__ import annotations

import re
from functools import lru_cache

from core.failure_modes.echo import echoes_instructions
from core.failure_modes.ending import announcement_alone
from core.failure_modes.frames import FRAME, SECTION, turn_signs
from core.failure_modes.phrases import (
    ABOUT_THE_TASK,
    ASKS_FENCE,
    ASKS_TO_THINK,
    DIALOGUE,
    FORBIDS_FENCE,
    HEDGES,
    HESITATES,
    LEFT_TAG,
    ONE_LINE,
    PREAMBLE,
    SCRATCH,
    TAKEN_BACK,
    THOUGHTS,
    TO_THE_PERSON,
)
from core.failure_modes.taken_apart import TakenApart
from core.thinking import seems_to_think_aloud

OPENING = 150
"""Characters within which who thinks aloud speaks of the task."""
MOST_ANNOUNCED = 40
LEAST_BEHIND = 3
"""Words that stand behind an announcement; with less behind it, it is not a preamble but an answer that stopped."""
_NO_PROGRAM = "text txt plain plaintext markdown md json json5 jsonc yaml yml xml html csv output answer mermaid"
FENCED_LANGUAGES = frozenset({"", *_NO_PROGRAM.split()})
"""Of blocks that stand around what is no program: in a block of Python, Python may have been asked for."""


def has_preamble(look: TakenApart) -> bool:
    """Speaks to the person, announces the answer or says the request again, and then answers; on the same line or before it.

    Not where good answers of the task begin in the same way, nor where it thinks aloud.
    """
    text = look.text
    before = look.fenced.before if look.fenced is not None else ""
    found = _preamble(text)
    if found is None and stands_in_a_fence(look):
        # One line that ends in a colon, and then the block: it can say whatever it likes.
        line = before.strip()
        return line.endswith(":") and len(line.split()) <= MOST_ANNOUNCED and not line.startswith(("#", "|"))
    if found is None or announcement_alone(look) or echoes_instructions(look) or thinks_aloud(look):
        return False
    rest = text[found:]
    if len(re.findall(r"\w+", rest[:400])) < LEAST_BEHIND and not before:
        return False
    return not any(_preamble(good) is not None for good in look.good)


def _preamble(text: str) -> int | None:
    """Where what is said to the person ends; None where an answer does not begin with such words."""
    head = text[:1_500]
    found = PREAMBLE.match(head)
    if found is None:
        return None
    line_ends = head.find("\n", len(head) - len(head.lstrip()))
    behind_line = line_ends >= 0 and head[line_ends:].strip() != ""
    if found.end() > (line_ends if line_ends >= 0 else len(head)):
        return None
    if behind_line:
        rest = head[found.end() : line_ends].strip(" *_`")
        # What follows on the line is part of the announcement only while it is short.
        if TO_THE_PERSON.match(head) or not rest or head[found.end() - 1] in ".!" or ONE_LINE.match(head):
            return line_ends if not rest or TO_THE_PERSON.match(head) else found.end()
        return None
    one = ONE_LINE.match(head)
    if one is not None:
        return one.end()
    return None if TO_THE_PERSON.match(head) is None else _first_sentence(head)


def _first_sentence(head: str) -> int | None:
    """Of an address within one line: the end of its sentence or of its announcement."""
    ends = re.search(r"[:：]\s|[!.]\s+(?=\S)", head)
    return None if ends is None else ends.end()


def leaks_thinking(look: TakenApart) -> bool:
    """Thinking that tags part from the answer, where nobody asked for thinking, or a block that never ends.

    An empty block is none, nor are tags that the task speaks of.
    """
    seen = look.seen
    if seen.fault == "thinking" or (not seen.thinking_asked and (seen.thinking or "").strip()):
        return True
    split = look.split
    if split.open or (split.thinking or "").strip():
        return split.open or not seen.thinking_asked
    scratch = SCRATCH.match(look.head)
    if scratch is not None and f"<{scratch[1]}>".casefold() not in look.shown().casefold():
        return True
    left = LEFT_TAG.search(look.head)
    return left is not None and left[0].casefold() not in look.shown().casefold()


def thinks_aloud(look: TakenApart) -> bool:
    """Thinks without tags: begins as models begin to think aloud, speaks of the user and of how it will answer, tries and takes
    back. Not where the task asks for steps or thoughts, nor where good answers do so.

    One sign alone could be that of an answer ("First, I need to buy flour"; "Wait for the dough"): two are needed, but for the
    openings of `core.thinking`.
    """
    if leaks_thinking(look) or ASKS_TO_THINK.search(look.seen.system):
        return False
    head = look.head[:6_000]
    if seems_to_think_aloud(head):
        tag = re.match(r"\s*(<\w+>)", head)
        if tag is not None and tag[1].casefold() in look.shown().casefold():
            return False
        return not any(seems_to_think_aloud(good) for good in look.good)
    if (label := THOUGHTS.match(head)) is not None:
        return label[0].strip(" *_#\n").casefold() not in look.shown().casefold()
    back, about = len(TAKEN_BACK.findall(head)), len(ABOUT_THE_TASK.findall(head))
    if about and "user" in look.shown().casefold():
        about = 0  # users are what the task is about
    if back and any(TAKEN_BACK.search(good) for good in look.good):
        return False
    first = head.split("\n\n")[0]
    if len(re.findall(r"[.!?…](?:\s|\Z)", first)) >= 2 and not re.search(r"\byour?\b", first, re.IGNORECASE):
        about += (
            ABOUT_THE_TASK.search(first[:OPENING]) is not None
        )  # several sentences about the task are no announcement
    hedges = len(HEDGES.findall(head)) if HESITATES.match(head) else 0
    opens = ABOUT_THE_TASK.search(head[:OPENING]) is not None
    return (
        back >= 2
        or about >= 3
        or (opens and about >= 2)
        or (back + about >= 2 and back > 0)
        or (back > 0 and hedges >= 2)
    )


def stands_in_a_fence(look: TakenApart) -> bool:
    """Most of the answer stands in a code block, closed or not, where neither the task nor a good answer has one.

    Blocks of a programming language are left alone: a program may have been asked for.
    """
    fenced = look.fenced
    if fenced is None or fenced.language not in FENCED_LANGUAGES or not fenced.inner.strip():
        return False
    if any(re.search(r"^\s*(?:```|~~~)", good, re.MULTILINE) for good in look.good):
        return False
    system = look.seen.system
    return not ASKS_FENCE.search(system) or FORBIDS_FENCE.search(system) is not None


def shows_frame(look: TakenApart) -> bool:
    """Holds a sign of a chat template's frame that nobody showed it, or a next turn of the conversation that it made up."""
    shown = look.shown()
    if look.text.strip() in shown:  # one word of the task that is the name of a role as well
        return False
    for text in {look.head, look.tail}:
        if any(sign[0] not in shown for sign in FRAME.finditer(text)):
            return True
        if any(sign[0].strip() not in shown for sign in SECTION.finditer(text)):
            return True
    made_up = turn_signs(look.head) | turn_signs(look.tail)
    return (
        bool(made_up)
        and not DIALOGUE.search(look.seen.system)
        and not (turn_signs(shown) | _roles_of(look.good)) & made_up
    )


@lru_cache(maxsize=64)
def _roles_of(texts: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*map(turn_signs, texts)) if texts else frozenset()
