"""What is wrong with the answers of a candidate, seen without a model: a table of detectors, each with its threshold.

A detector looks at one answer and at what was asked; a candidate has the symptom where it holds for enough of its answers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from core.scoring.thinking import seems_to_think_aloud

WORDS_IN_A_ROW = 5
"""So many words in the same order as in another text are taken for copied."""
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
ALIKE_SHARE = 0.8
ALIKE_INPUTS = 4
SHORT_SHARE = 0.5
TOKENS_ALIKE = 0.1
EXCERPT = 160

_WORD = re.compile(r"\w+")
# Signs of the frames of today's chat templates, and the names of roles that a server leaves of them when it drops its tokens.
_FRAME = re.compile(
    r"<\|(?:im_start|im_end|im_sep|eot_id|eom_id|start_header_id|end_header_id|begin_of_text|end_of_text|endoftext|end|return"
    r"|user|assistant|system|start|message)\|>|<(?:start|end)_of_turn>|</s>|\[/?INST\]|<｜[^｜\n]{1,40}｜>"
    r"|(?:\A|\n)(?:user|assistant|system)\n"
)
_PREAMBLE = re.compile(
    r"\s*\W{0,3}(?:"
    r"(?:sure|certainly|of course|absolutely|great|okay|ok|alright|got it)(?: thing)?[,!.][^\n]{0,300}"
    r"|(?:here(?:'s|’s| is| are)|below (?:is|are)|the following (?:is|are)|based on|as requested"
    r"|i(?:'d| would) be (?:happy|glad) to)\b[^\n]{0,200}:[*_ ]{0,3}"
    r")\n+\s*\S",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SeenAnswer:
    """An answer and what was asked for it. `finish`, `fault` and `thinking` are as `core.scoring.answers.Answer` has them;
    `thinking_asked`: the model was asked to think."""

    input_id: str
    repeat: int
    text: str
    system: str
    asked: str
    thinking: str | None = None
    finish: str = "stop"
    fault: str | None = None
    thinking_asked: bool = False
    completion_tokens: int = 0


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


@dataclass(frozen=True)
class Detector:
    """`seen` looks at one answer. A candidate has the symptom from this share of its answers on, and from two answers."""

    code: str
    seen: Callable[[SeenAnswer], bool]
    least_share: float = 0.1


def is_empty(answer: SeenAnswer) -> bool:
    return not answer.text.strip() and answer.finish != "length"


def is_cut(answer: SeenAnswer) -> bool:
    return answer.finish == "length"


def repeats_instructions(answer: SeenAnswer) -> bool:
    """Copies the system text: half of its runs of words, or as much of its beginning as the answer is long."""
    words, system = _words(answer.text), _words(answer.system)
    if _begins_with(system, words, least=4):
        return True
    return len(words) >= LEAST_COPIED_WORDS and _copied(words, system) >= COPIED_OF_SYSTEM


def repeats_input(answer: SeenAnswer) -> bool:
    """Gives the input back, whole or from its beginning on."""
    words, asked = _words(answer.text), _words(answer.asked)
    if len(words) >= 4 and words == asked:
        return True
    if len(words) < LEAST_COPIED_WORDS:
        return False
    there = _copied(words, asked)
    whole = there >= COPIED_OF_INPUT and _copied(asked, words) >= COPIED_OF_INPUT
    begun = len(words) >= BEGINNING_WORDS and words[:BEGINNING_WORDS] == asked[:BEGINNING_WORDS]
    return whole or (begun and there >= 0.95)


def leaks_thinking(answer: SeenAnswer) -> bool:
    return answer.fault == "thinking" or bool(not answer.thinking_asked and (answer.thinking or "").strip())


def thinks_aloud(answer: SeenAnswer) -> bool:
    return not leaks_thinking(answer) and seems_to_think_aloud(answer.text)


def shows_frame(answer: SeenAnswer) -> bool:
    """Holds a sign of a chat template's frame that nobody showed it: the model wrote beyond its turn."""
    shown = f"{answer.system}\n{answer.asked}"
    return any(sign[0] not in shown for sign in _FRAME.finditer(answer.text))


def loops(answer: SeenAnswer) -> bool:
    """Says the same words over and over: at least four times, and over a third of the answer."""
    words = _words(answer.text)
    if len(words) * LONG_WORD < len(answer.text):  # a script without blanks between its words
        words = [sign for sign in answer.text if sign.isalnum()]
    words = words[-MOST_WORDS:]
    wanted = max(LEAST_LOOPED, LOOPED_SHARE * len(words))
    if len(words) < LEAST_LOOPED or len(set(_runs(words, 4))) > NO_LOOP * (len(words) - 3):
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


DETECTORS: tuple[Detector, ...] = (
    Detector("instructions_repeated", repeats_instructions),
    Detector("input_repeated", repeats_input),
    Detector("frame_shown", shows_frame, least_share=0.05),
    Detector("cut", is_cut),
    Detector("empty", is_empty),
    Detector("thinking_leaked", leaks_thinking),
    Detector("thinking_aloud", thinks_aloud),
    Detector("loops", loops),
    Detector("preamble", has_preamble, least_share=0.25),
)
SHORT_AND_ALIKE = "short_and_alike"
CODES: tuple[str, ...] = (*(one.code for one in DETECTORS), SHORT_AND_ALIKE)
"""Of every symptom."""


def find_symptoms(answers: Sequence[SeenAnswer], usual_tokens: float | None = None) -> tuple[Symptom, ...]:
    """The symptoms of one candidate's answers to one task, the most frequent first.

    Answers that a server did not give are left out by whoever calls. `usual_tokens` is the median length of what other
    stages of the same model answer, None where there are none.
    """
    found = []
    for detector in DETECTORS:
        seen = [answer for answer in answers if detector.seen(answer)]
        if len(seen) >= min(2, len(answers)) and len(seen) >= detector.least_share * len(answers) and seen:
            found.append(_symptom(detector.code, seen, len(answers)))
    if (alike := short_and_alike(answers, usual_tokens)) is not None:
        found.append(_symptom(SHORT_AND_ALIKE, alike, len(answers)))
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
        by_text.setdefault(re.sub(r"\d+", "0", " ".join(_words(answer.text))), []).append(answer)
    text, same = max(by_text.items(), key=lambda item: len(item[1]))
    if len(same) >= ALIKE_SHARE * len(given) and len({one.input_id for one in same}) >= ALIKE_INPUTS:
        return same if is_short or len(text.split()) >= WORDS_IN_A_ROW else None
    near = [one for one in given if abs(one.completion_tokens - middle) <= TOKENS_ALIKE * middle]
    return near if is_short and len(near) >= ALIKE_SHARE * len(given) else None


def _symptom(code: str, seen: Sequence[SeenAnswer], of: int) -> Symptom:
    first = seen[0]
    shown = first.text if first.text.strip() else first.thinking or ""
    return Symptom(code, len(seen), of, first.input_id, first.repeat, _excerpt(code, shown))


def _excerpt(code: str, text: str) -> str:
    """Of a loop, a cut or a frame the end tells more than the beginning."""
    if code == "frame_shown" and (sign := _FRAME.search(text)) is not None:
        return text[max(0, sign.start() - EXCERPT // 2) :][:EXCERPT]
    return text[-EXCERPT:] if code in ("loops", "cut") else text[:EXCERPT]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _runs(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + length]) for at in range(len(words) - length + 1)]


def _copied(words: Sequence[str], source: Sequence[str]) -> float:
    """The share of the runs of words that stand in the source as well."""
    runs, there = Counter(_runs(words, WORDS_IN_A_ROW)), set(_runs(source, WORDS_IN_A_ROW))
    total = sum(runs.values())
    return sum(count for run, count in runs.items() if run in there) / total if total else 0.0


def _begins_with(source: Sequence[str], words: Sequence[str], least: int) -> bool:
    return len(words) >= min(least, max(3, len(source))) and list(source[: len(words)]) == list(words)
