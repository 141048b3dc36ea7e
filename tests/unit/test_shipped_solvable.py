"""Every golden input of the tasks without training data has an answer that passes all checks: one made of what is expected."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import pytest

from core.config.golden import GoldenInput
from core.config.project import shipped
from tests.unit.test_shipped_checks import module
from tests.unit.test_task_answers import Written, needs_a_process, points

Expect = Mapping[str, Any]


def first(value: Any) -> str:
    """The first spelling of an expected value."""
    return str(value[0] if isinstance(value, list) else value)


def plain_words(text: str, forbidden: list[Any]) -> list[str]:
    """Words of the text itself that are no figures and nothing that must not come up, to fill sentences with."""
    banned = {word for one in forbidden for word in re.findall(r"\w+", str(one).casefold())}
    return [word for word in dict.fromkeys(re.findall(r"[^\W\d_]{3,}", text)) if word.casefold() not in banned] * 2


def spacer(item: GoldenInput) -> str:
    expect = item.expect
    rows = zip(expect["card"], expect["interval"], expect["next"], strict=True)
    table = "\n".join(f"| {card} | {interval} | {due} |" for card, interval, due in rows)
    return f"| Card | Interval | Next |\n|---|---|---|\n{table}\n\nDUE FIRST: {expect['first']}"


def analyst(item: GoldenInput) -> str:
    expect = item.expect
    change = expect["change"]
    change = change if isinstance(change, str) else f"{change:+.1f} %" if change else "0.0 %"
    lines = [f"TOTAL: {expect['total']}", f"CHANGE: {change}"]
    lines += [f"HIGHEST: {expect['highest']}", f"LOWEST: {expect['lowest']}", ""]
    rows = islice(module("analyst").figures_of(item.text(), expect["total"]).items(), expect["findings"])
    lines += [
        f"{number}. In this table {label} stands at {figure:g}." for number, (label, figure) in enumerate(rows, 1)
    ]
    return "\n".join([*lines, "", f"CAVEAT: {first(expect['caveat'])}"])


def summarizer(item: GoldenInput) -> str:
    expect = item.expect
    if not expect["points"]:
        return "No text."
    filler = plain_words(item.text(), expect["must_not"])
    facts = [first(fact) for fact in expect["facts"]]
    shares = [", ".join(facts[place::3]) for place in range(3)]
    bullets = [f"- {' '.join(filler[place * 9 : place * 9 + 9])} {share}." for place, share in enumerate(shares)]
    return f"{filler[0]}\n\n" + "\n".join(bullets) + f"\n\nIn short: {' '.join(filler[30:36])}."


def reflector(item: GoldenInput) -> str:
    expect = item.expect
    sections = dict.fromkeys(("Went well", "Went badly", "Pattern", "Next week"), "Nothing logged.")
    for name, key in (("Went well", "well"), ("Went badly", "badly")):
        if expect[key] != ["Nothing logged"]:
            sections[name] = f"- There were {', '.join(first(fact) for fact in expect[key])}."
    if expect["quotes"]:
        logged = module("reflector").entries_of(item.text())
        quotes = [f"> {day}: {' '.join(text.split()[1:7])}" for day, text in islice(logged.items(), 2)]
        sections["Pattern"] = f"It is about {first(expect['pattern'][0])}.\n" + "\n".join(quotes)
    if expect["step"] != ["Nothing logged"]:
        sections["Next week"] = f"- [ ] Think about {first(expect['step'][0])}."
    return "\n\n".join(f"## {name}\n{text}" for name, text in sections.items())


def quizzer(item: GoldenInput) -> str:
    expect, note = item.expect, item.text()
    words = note.split()[4 if note.startswith(("questions:", "topic:")) else 0 :]
    rows = [
        {
            "question": f"Something that is {first(fact['about'])}, as noted?",
            "right": first(fact["right"]),
            "wrong": ["x1", "x2", "x3"],
            "quote": " ".join(words[number : number + 4]),
        }
        for number, fact in enumerate(expect["facts"][: expect["questions"]])
    ]
    return json.dumps({"title": first(expect["title"]), "questions": rows}, ensure_ascii=False)


MAKERS: dict[str, Callable[[GoldenInput], str]] = {
    "spacer": spacer,
    "analyst": analyst,
    "summarizer": summarizer,
    "reflector": reflector,
    "quizzer": quizzer,
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.process] if needs_a_process(shipped().task(name)) else [])
        for name in MAKERS
    ],
)
def test_each_golden_input_can_be_answered(name: str) -> None:
    for item in shipped().golden(shipped().task(name)).inputs:
        text = MAKERS[name](item)
        found = points(name, Written(input=item.id, quality="good", answer=text))
        assert {check: told for check, told in found.items() if told[0] < 1} == {}, (item.id, text)
