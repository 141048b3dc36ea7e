"""Answers that give back what the model was shown: the instructions, the input, an example."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from rapidfuzz.distance import Indel

from core.failure_modes.taken_apart import TakenApart
from core.failure_modes.words import begins_with, copied_share, known_runs, known_words, longest_copied, runs_of

LEAST_COPIED_WORDS = 15
COPIED_OF_SYSTEM = 0.5
"""Share of an answer's runs of words that stand in the instructions; a format that these spell out is far below it."""
STRETCH_OF_SYSTEM = 12
"""Words of the instructions' prose in one piece: a sentence of rules, more than a phrase that an answer may share with them."""
LEAST_SAID_WORDS = 12
COPIED_OF_INPUT = 0.7
"""Of the answer in the input and of the input in the answer: a summary may quote, and leaves most of its input out."""
ALIKE_TO_INPUT = 0.8
"""Likeness of answer and input, word by word (2 · the longest common subsequence / both lengths), from which on the one is the
other with small changes. A summary that only leaves words out reaches it where it keeps two thirds of them."""
ALIKE_BEGINNING = 0.85
"""The same for a beginning of the input of so many words, or for an input of a line."""
BEGINNING_WORDS = 20
LEAST_SHORT = 6
STRETCH_OF_INPUT = 40
"""Words of the input in one piece that are nearly all of an answer. A sentence that a summary takes over is shorter."""
NEARLY_ALL = 0.9
LEAST_EXAMPLE_RUNS = 5
COPIED_OF_EXAMPLE = 0.5
"""Share of an answer's own runs of words (those that no form accounts for) that only one of the examples has."""
LEAST_OF_ONLY_EXAMPLE = 8
COPIED_OF_ONLY_EXAMPLE = 0.6
"""The same where nothing but that example tells what the form is."""

_WILL = re.compile(
    r"[\s\W]{0,6}(?:i(?:'ll|’ll| will| am| must| should| need to| have to| can)|you (?:are|will|should|must|have)"
    r"|we)\b",
    re.IGNORECASE,
)
_FIGURE = re.compile(r"\d+")
_LABELLED = re.compile(r"[*_]{0,2}\w[\w ]{0,24}[*_]{0,2}: \S.{0,60}")
_OF_A_FORM = re.compile(r"\s*(?:#|\||```|[{<\[]|[*_]{0,2}\w[\w ]{0,24}[*_]{0,2}:\s)")
# A form as instructions spell it out, with its places left to be filled: <title>, [name], {score}, NAME, X/5, PASS or FAIL, …
_PLACE = re.compile(
    r"<[A-Za-z][^<>\n]{0,40}>|\[[A-Za-z][^\]\n]{0,40}\]|\{[A-Za-z][^{}\n]{0,40}\}|\b[XN]\.?[XN]?/\d|…|\.\.\."
    r"|\b[A-Z]{2,}(?: or |/|\|)[A-Z]{2,}\b|\b(?:NAME|TITLE|TOPIC|SCORE|NUMBER|TEXT|DATE|REASON|VERDICT|ANSWER)\b"
    r"|: ?(?:string|number|boolean|integer)\b|\bYYYY\b"
)


def echoes_instructions(look: TakenApart) -> bool:
    """Copies the system text: as much of its beginning as the answer is long, half of the answer's runs of words, a long
    stretch, or a form whose places are not filled; or says that it will do what the system text says.

    Words that good answers of the task have as well count as the form.
    """
    system = look.seen.system
    if not system.strip() or not look.words:
        return False
    if begins_with(known_words(system), look.words, least=4):
        return True
    form = frozenset().union(*(known_runs(text) for text in look.good)) if look.good else frozenset()
    copied = known_runs(system) - form
    if len(look.words) >= LEAST_COPIED_WORDS and copied_share(look.runs, copied) >= COPIED_OF_SYSTEM:
        return True
    if longest_copied(look.runs, known_runs(_prose(system)) - form) >= STRETCH_OF_SYSTEM:
        return True
    return _says_it_will(look) or _unfilled(look)


def _says_it_will(look: TakenApart) -> bool:
    """The instructions in the first or second person: "I will read the message and answer with one word"."""
    if len(look.words) < LEAST_SAID_WORDS or not _WILL.match(look.head):
        return False
    threes = runs_of(look.words, 3)
    return copied_share(threes, set(runs_of(known_words(look.seen.system), 3))) >= COPIED_OF_SYSTEM


def _unfilled(look: TakenApart) -> bool:
    """A line with an unfilled place stands in the answer as it stands in the instructions."""
    forms, labelled = _form_lines(look.seen.system)
    if not forms and not labelled:
        return False
    good = {_line(line) for text in look.good for line in text.split("\n")}
    lines = [_line(line) for line in look.lines[:400]]
    if any(line in forms and line not in good for line in lines):
        return True
    copied = sum(_FIGURE.sub("0", line) in labelled and line not in good for line in lines)
    return copied >= 2 and 2 * copied >= len(lines)


@lru_cache(maxsize=256)
def _form_lines(system: str) -> tuple[frozenset[str], frozenset[str]]:
    """Lines of a form with places to be filled, of three words at the least; and its lines of a label with words behind it,
    which a filled form has otherwise: `Q1: question`."""
    lines = [line.strip() for line in system[:40_000].split("\n")]
    places = (
        line for line in lines if _PLACE.search(line) and len(line.split()) >= 3 and re.match(r"[#|*>{\[<\-\w]", line)
    )
    return frozenset(map(_line, places)), frozenset(
        _FIGURE.sub("0", _line(line)) for line in lines if _LABELLED.fullmatch(line)
    )


@lru_cache(maxsize=256)
def _prose(system: str) -> str:
    """The rules of the instructions, without the lines of a form that they spell out."""
    lines = (line for line in system[:40_000].split("\n") if not _OF_A_FORM.match(line))
    return "\n".join(lines)


def _line(line: str) -> str:
    return " ".join(line.strip(" \t`>").split()).casefold()


def echoes_input(look: TakenApart) -> bool:
    """Gives the input back: whole, most of it, or its beginning, and says little else.

    Not where a good answer to the input does so as well: where a text is to be corrected, or to be put in order.
    """
    words, asked = look.words, look.asked_words
    if not words or not asked:
        return False
    runs, there = look.runs, known_runs(look.seen.asked)
    if len(words) >= 4 and tuple(words) == asked:
        return not _takes_over(look)
    if len(words) < LEAST_COPIED_WORDS:
        return len(words) >= LEAST_SHORT and _alike(words, asked) >= ALIKE_BEGINNING and not _takes_over(look)
    of_answer = copied_share(runs, there)
    of_input = copied_share(list(there), set(runs))
    whole = of_answer >= COPIED_OF_INPUT and of_input >= COPIED_OF_INPUT
    whole = whole or _alike(words, asked) >= ALIKE_TO_INPUT
    begun = len(words) >= BEGINNING_WORDS and _alike(words, asked[: len(words) + 3]) >= ALIKE_BEGINNING
    stretch = max(STRETCH_OF_INPUT, NEARLY_ALL * len(words))
    piece = of_answer >= NEARLY_ALL and longest_copied(runs, there) >= stretch
    return (whole or begun or piece) and not _takes_over(look)


def _alike(words: Sequence[str], asked: Sequence[str]) -> float:
    """Likeness in [0, 1], word by word; 0 below `ALIKE_TO_INPUT`."""
    return float(Indel.normalized_similarity(words, asked, score_cutoff=ALIKE_TO_INPUT))


def _takes_over(look: TakenApart) -> bool:
    """Whether a good answer to this input, or those of the task to theirs, give the input back."""
    there = known_runs(look.seen.asked)
    for text in look.seen.references:
        alike = _alike(known_words(text), look.asked_words) >= ALIKE_TO_INPUT
        if alike or copied_share(list(known_runs(text)), there) >= COPIED_OF_INPUT:
            return True
    shown = [
        copied_share(list(known_runs(example.answer)), known_runs(example.asked)) for example in look.seen.examples
    ]
    return bool(shown) and min(shown) >= COPIED_OF_INPUT


def echoes_example(look: TakenApart) -> bool:
    """Gives the answer, or the input, of one of its examples back: half of what the answer says for itself is of that example.

    What other good answers, the instructions and the input have as well is the form. One example alone tells little of the
    form, so that more has to be copied then.
    """
    examples = look.seen.examples
    if not examples or len(look.words) < 4:
        return False
    asked = known_runs(look.seen.asked) | known_runs(look.seen.system)
    for number, example in enumerate(examples):
        others = [one.answer for at, one in enumerate(examples) if at != number]
        others += [text for text in (*look.seen.usual, *look.seen.references) if text not in (example.answer, *others)]
        form = asked.union(*(known_runs(text) for text in others))
        own = [run for run in look.runs if run not in form]
        same_text = tuple(look.words) in (known_words(example.answer), known_words(example.asked))
        if same_text and len(own) >= LEAST_EXAMPLE_RUNS:
            return True
        needed = COPIED_OF_EXAMPLE if others else COPIED_OF_ONLY_EXAMPLE
        least = LEAST_EXAMPLE_RUNS if others else LEAST_OF_ONLY_EXAMPLE
        for source in (example.answer, example.asked):
            copied = sum(run in known_runs(source) for run in own)
            if copied >= least and copied >= needed * len(own):
                return True
    return False
