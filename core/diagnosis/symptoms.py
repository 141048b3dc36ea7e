"""What is wrong with the answers of a candidate: the failure modes that enough of its answers have, and what only all of them
together show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from core import failure_modes
from core.failure_modes import Mode, SeenAnswer, excerpt
from core.failure_modes.words import WORDS_IN_A_ROW, words_of

LEAST_SHARE = 0.1
"""Of a candidate's answers that have a failure mode, from which on the candidate has the symptom; it takes two answers, too."""
LEAST_SHARES = {"frame_shown": 0.05, "preamble": 0.25}
"""Of those that are judged otherwise: a frame never belongs into an answer, a word to the person now and then may."""
ALIKE_SHARE = 0.8
ALIKE_INPUTS = 4
SHORT_SHARE = 0.5
TOKENS_ALIKE = 0.1


@dataclass(frozen=True)
class Symptom:
    """Something that `count` of `of` answers of a candidate have, the first of them as an example."""

    code: str
    count: int
    of: int
    input_id: str
    repeat: int
    excerpt: str

    @property
    def share(self) -> float:
        return self.count / self.of

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "share": self.share}


SHORT_AND_ALIKE = "short_and_alike"
CODES: tuple[str, ...] = (*failure_modes.CODES, SHORT_AND_ALIKE)
"""Of every symptom."""


def find_symptoms(answers: Sequence[SeenAnswer], usual_tokens: float | None = None) -> tuple[Symptom, ...]:
    """The symptoms of one candidate's answers to one task, the most frequent first.

    Answers that a server did not give are left out by whoever calls. `usual_tokens` is the median length of what other
    stages of the same model answer, None where there are none.
    """
    seen: dict[str, list[tuple[SeenAnswer, Mode]]] = {code: [] for code in failure_modes.CODES}
    for answer in answers:
        for mode in failure_modes.find(answer):
            seen[mode.code].append((answer, mode))
    found = []
    for code, those in seen.items():
        if len(those) >= max(1, min(2, len(answers)), LEAST_SHARES.get(code, LEAST_SHARE) * len(answers)):
            first, mode = those[0]
            found.append(Symptom(code, len(those), len(answers), first.input_id, first.repeat, mode.excerpt))
    if (alike := short_and_alike(answers, usual_tokens)) is not None:
        first = alike[0]
        shown = excerpt(SHORT_AND_ALIKE, first.text)
        found.append(Symptom(SHORT_AND_ALIKE, len(alike), len(answers), first.input_id, first.repeat, shown))
    return tuple(sorted(found, key=lambda one: -one.count))


def short_and_alike(answers: Sequence[SeenAnswer], usual_tokens: float | None) -> list[SeenAnswer] | None:
    """The answers to different inputs that are the same but for figures, or all of one length that is half the others' or less.

    None where they are neither. One word for every input may be right: all can want the same. So it counts where other stages
    of the model answer at more length, or where the same answer is a sentence.
    """
    given = [answer for answer in answers if answer.text.strip()]
    if len({answer.input_id for answer in given}) < ALIKE_INPUTS:
        return None
    middle = median(answer.completion_tokens for answer in given)
    is_short = usual_tokens is not None and middle <= SHORT_SHARE * usual_tokens
    by_text: dict[str, list[SeenAnswer]] = {}
    for answer in given:
        by_text.setdefault(re.sub(r"\d+", "0", " ".join(words_of(answer.text))), []).append(answer)
    text, same = max(by_text.items(), key=lambda item: len(item[1]))
    if len(same) >= ALIKE_SHARE * len(given) and len({one.input_id for one in same}) >= ALIKE_INPUTS:
        return same if is_short or len(text.split()) >= WORDS_IN_A_ROW else None
    near = [one for one in given if abs(one.completion_tokens - middle) <= TOKENS_ALIKE * middle]
    return near if is_short and len(near) >= ALIKE_SHARE * len(given) else None
