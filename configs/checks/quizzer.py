"""Checks of the task `quizzer`: what no schema says of a quiz. A document that is no quiz scores 0."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

Outcome = bool | tuple[float, str]


def four_options(text: str, expect: Mapping[str, Any], captures: Mapping[str, Sequence[str]]) -> Outcome:
    """The right answer and the three wrong ones of a question are four different answers."""
    questions = _questions(text)
    if questions is None:
        return 0.0, "no quiz"
    same = sum(len({_plain(option) for option in (one["right"], *one["wrong"])}) < 4 for one in questions)
    return (1 - same / len(questions), f"{same} × fewer than four different options") if same else True


def facts_asked(text: str, expect: Mapping[str, Any], captures: Mapping[str, Sequence[str]]) -> Outcome:
    """Each question asks for a fact of its own out of `expect.facts`, and its right answer is that fact's.

    A fact is {about: words of which the question has one, right: spellings of which the answer has one}. The share is over
    the questions that are there or asked for, whichever are more.
    """
    questions, facts = _questions(text), expect["facts"]
    if questions is None:
        return 0.0, "no quiz"
    if not facts:
        return (0.0, "questions about what is no note") if questions else True
    taken: dict[int, int] = {}
    good = sum(_finds_fact(place, questions, facts, taken, set()) for place in range(len(questions)))
    most = max(len(questions), expect["questions"])
    return True if good == most else (good / most, f"{good} of {most} questions ask for a fact with its right answer")


def quotes_in_note(text: str, expect: Mapping[str, Any], captures: Mapping[str, Sequence[str]], asked: str) -> Outcome:
    """Each quote stands in the note, whatever its blanks, dashes and quotation marks, and no two are the same."""
    questions, note = _questions(text), _plain(asked)
    if questions is None:
        return 0.0, "no quiz"
    if not questions:
        return (0.0, "no quotes") if expect["questions"] else True
    quotes = {_plain(one["quote"]).strip(' ."…') for one in questions}
    good = sum(quote != "" and quote in note for quote in quotes)
    return (
        True
        if good == len(questions)
        else (good / len(questions), f"{good} of {len(questions)} quotes stand in the note")
    )


def _finds_fact(
    place: int, questions: list[Any], facts: Sequence[Mapping[str, Any]], taken: dict[int, int], seen: set[int]
) -> bool:
    """Whether the question gets a fact of its own, others moved to another one if need be (augmenting paths)."""
    for number, fact in enumerate(facts):
        if number in seen or not _asks(questions[place], fact):
            continue
        seen.add(number)
        if number not in taken or _finds_fact(taken[number], questions, facts, taken, seen):
            taken[number] = place
            return True
    return False


def _asks(question: Mapping[str, Any], fact: Mapping[str, Any]) -> bool:
    said = [spelling for spelling in fact["right"] if _has(question["right"], spelling)]
    also_right = any(_has(option, spelling) for option in question["wrong"] for spelling in said)
    return bool(said) and not also_right and any(_has(question["question"], word) for word in fact["about"])


def _has(text: str, words: str) -> bool:
    return re.search(rf"(?<![\w]){re.escape(_plain(words))}(?!\w|[.,]\d)", _plain(text)) is not None


def _questions(text: str) -> list[Any] | None:
    """The questions of a quiz; None where the text is none."""
    fenced = re.fullmatch(r"\s*```(?:json)?\n(.*?)```\s*", text, re.DOTALL)
    try:
        found = json.loads(fenced[1] if fenced else text)
        questions = found["questions"]
        whole = [
            one
            for one in questions
            if all(isinstance(one[key], str) for key in ("question", "right", "quote"))
            and all(isinstance(option, str) for option in one["wrong"])
        ]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return whole if isinstance(questions, list) and len(whole) == len(questions) else None


def _plain(text: str) -> str:
    signs = str.maketrans("‘’“”„«»–—−\u00a0\u202f", '\'\'"""""---  ')
    return " ".join(unicodedata.normalize("NFC", text).translate(signs).casefold().split())
