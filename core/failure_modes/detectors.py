"""The detectors, one for each failure mode."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from core.failure_modes.frames import FRAME
from core.failure_modes.seen import Mode, SeenAnswer, excerpt
from core.failure_modes.words import begins_with, copied_share, runs_of, words_of
from core.thinking import seems_to_think_aloud

LEAST_COPIED_WORDS = 15
COPIED_OF_SYSTEM = 0.5
"""Share of an answer's runs of words that stand in the instructions; a format that these spell out is far below it."""
COPIED_OF_INPUT = 0.7
"""Of the answer in the input and of the input in the answer: a summary may quote, and leaves most of its input out."""
BEGINNING_WORDS = 20
LONGEST_LOOP = 40
LEAST_LOOPED = 24
LOOPED_SHARE = 0.3
LOOPS = 3
"""How often a stretch comes again behind the first time, at the least."""
NO_LOOP = 0.8
"""Share of different runs of words above which a text has no loop of that size."""
MOST_WORDS = 1500
"""Of the end of an answer, where loops are."""
LONG_WORD = 8
"""Characters that a mean word and what stands behind it have at the most, in a script with blanks."""
_PREAMBLE = re.compile(
    r"\s*\W{0,3}(?:"
    r"(?:sure|certainly|of course|absolutely|great|okay|ok|alright|got it)(?: thing)?[,!.][^\n]{0,300}"
    r"|(?:here(?:'s|’s| is| are)|below (?:is|are)|the following (?:is|are)|based on|as requested"
    r"|i(?:'d| would) be (?:happy|glad) to)\b[^\n]{0,200}:[*_ ]{0,3}"
    r")\n+\s*\S",
    re.IGNORECASE,
)


def is_empty(answer: SeenAnswer) -> bool:
    return not answer.text.strip() and answer.finish != "length"


def is_cut(answer: SeenAnswer) -> bool:
    return answer.finish == "length"


def repeats_instructions(answer: SeenAnswer) -> bool:
    """Copies the system text: half of its runs of words, or as much of its beginning as the answer is long."""
    words, system = words_of(answer.text), words_of(answer.system)
    if begins_with(system, words, least=4):
        return True
    return len(words) >= LEAST_COPIED_WORDS and copied_share(words, system) >= COPIED_OF_SYSTEM


def repeats_input(answer: SeenAnswer) -> bool:
    """Gives the input back, whole or from its beginning on."""
    words, asked = words_of(answer.text), words_of(answer.asked)
    if len(words) >= 4 and words == asked:
        return True
    if len(words) < LEAST_COPIED_WORDS:
        return False
    there = copied_share(words, asked)
    whole = there >= COPIED_OF_INPUT and copied_share(asked, words) >= COPIED_OF_INPUT
    begun = len(words) >= BEGINNING_WORDS and words[:BEGINNING_WORDS] == asked[:BEGINNING_WORDS]
    return whole or (begun and there >= 0.95)


def leaks_thinking(answer: SeenAnswer) -> bool:
    return answer.fault == "thinking" or bool(not answer.thinking_asked and (answer.thinking or "").strip())


def thinks_aloud(answer: SeenAnswer) -> bool:
    return not leaks_thinking(answer) and seems_to_think_aloud(answer.text)


def shows_frame(answer: SeenAnswer) -> bool:
    """Holds a sign of a chat template's frame that nobody showed it: the model wrote beyond its turn."""
    shown = f"{answer.system}\n{answer.asked}"
    return any(sign[0] not in shown for sign in FRAME.finditer(answer.text))


def loops(answer: SeenAnswer) -> bool:
    """Says the same words over and over: at least four times, and over a third of the answer."""
    words = words_of(answer.text)
    if len(words) * LONG_WORD < len(answer.text):  # a script without blanks between its words
        words = [sign for sign in answer.text if sign.isalnum()]
    words = words[-MOST_WORDS:]
    wanted = max(LEAST_LOOPED, LOOPED_SHARE * len(words))
    if len(words) < LEAST_LOOPED or len(set(runs_of(words, 4))) > NO_LOOP * (len(words) - 3):
        return False
    for period in range(1, min(LONGEST_LOOP, len(words) // 2) + 1):
        run = 0
        for at in range(period, len(words)):
            run = run + 1 if words[at] == words[at - period] else 0
            if run >= LOOPS * period and run + period >= wanted:
                return True
    return False


def has_preamble(answer: SeenAnswer) -> bool:
    """Speaks to the person before the answer begins: "Sure! Here is …"."""
    return _PREAMBLE.match(answer.text) is not None and not seems_to_think_aloud(answer.text)


DETECTORS: Mapping[str, Callable[[SeenAnswer], bool]] = {
    "echo_instructions": repeats_instructions,
    "echo_input": repeats_input,
    "frame_shown": shows_frame,
    "cut": is_cut,
    "empty": is_empty,
    "thinking_leaked": leaks_thinking,
    "thinking_aloud": thinks_aloud,
    "repetition": loops,
    "preamble": has_preamble,
}
CODES: tuple[str, ...] = tuple(DETECTORS)
"""Of every failure mode."""


def find(seen: SeenAnswer) -> tuple[Mode, ...]:
    """The failure modes of an answer, in the order of `CODES`; none where nothing was seen."""
    shown = seen.text if seen.text.strip() else seen.thinking or ""
    return tuple(Mode(code, excerpt(code, shown)) for code, holds in DETECTORS.items() if holds(seen))
