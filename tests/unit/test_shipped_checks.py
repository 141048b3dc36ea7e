"""The functions that check answers of the shipped tasks, tried on fluent, wrong and differently worded ones."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import pytest

from core.config.project import shipped

NOTE = "The kiln fires at 1,240 °C for “nine” hours.\nCones by Orton — bought at Lund's in 2019."
FACTS = [
    {"about": ["fires", "hot"], "right": ["1,240", "1240"]},
    {"about": ["long", "hours"], "right": ["nine", "9"]},
    {"about": ["cones", "bought"], "right": ["Orton", "2019", "Lund's"]},
]


@cache
def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, shipped().root / f"configs/checks/{name}.py")
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def share(
    check: Callable[..., Any],
    text: str,
    expect: dict[str, Any],
    captures: dict[str, list[str]] | None = None,
    **asked: str,
) -> float:
    found = check(text, expect, captures or {}, **asked)
    value = float(found[0] if isinstance(found, tuple) else found)
    assert 0 <= value <= 1
    return value


def quiz(*questions: tuple[str, str, list[str], str]) -> str:
    rows = [{"question": q, "right": r, "wrong": w, "quote": quote} for q, r, w, quote in questions]
    return json.dumps({"title": "kiln", "questions": rows})


HOT = ("How hot is it?", "1240 °C", ["900 °C", "1,100 °C", "1,300 °C"], "fires at 1,240 °C")
LONG = ("How long does it fire?", "For nine hours", ["two hours", "12 hours", "19 hours"], 'for "nine" hours. cones')
CONES = ("Whose cones are bought?", "Orton's", ["Seger", "Lund", "Nobody"], "Cones by Orton - bought at Lund’s")


@pytest.mark.parametrize(
    ("questions", "facts", "quotes", "options"),
    [
        ([HOT, LONG, CONES], 1, 1, 1),
        ([HOT, LONG], 2 / 3, 1, 1),
        ([HOT, HOT, LONG], 2 / 3, 2 / 3, 1),
        ([HOT, LONG, CONES, ("Who is it?", "Me", ["a", "b", "c"], "nobody knows")], 3 / 4, 3 / 4, 1),
        ([(HOT[0], "1,240 °C", ["about 1,240 °C", "2", "3"], HOT[3]), LONG, CONES], 2 / 3, 1, 1),
        ([(HOT[0], "11,240", HOT[2], HOT[3]), LONG, CONES], 2 / 3, 1, 1),
        ([(HOT[0], "1,240.5", HOT[2], HOT[3]), LONG, CONES], 2 / 3, 1, 1),
        ([(HOT[0], "nine", HOT[2], HOT[3]), LONG, CONES], 2 / 3, 1, 1),
        ([(HOT[0], HOT[1], ["1240  °c", "2", "3"], HOT[3]), LONG, CONES], 2 / 3, 1, 2 / 3),
        ([(HOT[0], HOT[1], ["2", "2", "3"], HOT[3]), LONG, CONES], 1, 1, 2 / 3),
        ([(*HOT[:3], "fires at 1,250 °C"), LONG, CONES], 1, 2 / 3, 1),
        ([(*HOT[:3], ""), LONG, CONES], 1, 2 / 3, 1),
        ([], 0, 0, 1),
    ],
)
def test_a_quiz_is_held_to_its_note(questions: list[Any], facts: float, quotes: float, options: float) -> None:
    found, expect = module("quizzer"), {"facts": FACTS, "questions": 3}
    text = quiz(*questions)
    assert share(found.facts_asked, text, expect) == pytest.approx(facts)
    assert share(found.quotes_in_note, text, expect, asked=NOTE) == pytest.approx(quotes)
    assert share(found.four_options, text, expect) == pytest.approx(options)


def test_a_question_leaves_its_fact_to_another_that_has_no_other() -> None:
    facts = [{"about": ["a", "b"], "right": ["x"]}, {"about": ["a"], "right": ["x"]}]
    text = quiz(("a?", "x", ["1", "2", "3"], "q"), ("b?", "x", ["1", "2", "3"], "q"))
    assert share(module("quizzer").facts_asked, text, {"facts": facts, "questions": 2}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "3",
        "null",
        '{"questions": 3}',
        '{"questions": [3]}',
        '{"questions": [{"question": 1}]}',
        "[" * 100_000,
        '{"questions": {"a": 1}}',
        '{"questions": [{"question":"","right":"","quote":"","wrong":[[]]}]}',
    ],
)
def test_what_is_no_quiz_scores_nothing_and_breaks_nothing(text: str) -> None:
    for facts in (FACTS, []):
        expect = {"facts": facts, "questions": 3}
        assert share(module("quizzer").quotes_in_note, text, expect, asked=NOTE) == 0
        for name in ("facts_asked", "four_options"):
            assert share(getattr(module("quizzer"), name), text, expect) == 0


LOG = "Mon 2 Nov: read mail first.\nTuesday - slept; Wed was no better\n wed. swam, mon amour. Thu: swam again"
QUOTES = [
    ([("Mon", "read mail first"), ("Tue", "slept; wed was")], 1),
    ([("Mon", "Read  mail first…"), ("Wed", "swam, mon amour")], 1),
    ([("Wed", "swam, mon amour"), ("Thu", "swam again")], 1),
    ([("Tue", "read mail first"), ("Wed", "swam, mon amour")], 0.5),
    ([("Mon", "read mail first"), ("Mon", "read mail")], 0.5),
    ([("Mon", "read the mail first"), ("Wed", "swam, mon amour")], 0.5),
    ([("Mon", "read mail first. slept"), ("Sun", "swam again")], 0),
    ([("Mon", "read mail first")], 0.5),
    ([("Mon", "read mail first"), ("Tue", "slept"), ("Wed", "swam")], 1),
    ([], 0),
]


@pytest.mark.parametrize(("quotes", "value"), QUOTES)
def test_a_quote_stands_in_the_entry_of_its_day(quotes: list[tuple[str, str]], value: float) -> None:
    captures = {"day": [day for day, _ in quotes], "quote": [quote for _, quote in quotes]}
    check = module("reflector").quotes_of_their_days
    assert share(check, "", {"quotes": 2}, captures, asked=LOG) == value
    assert share(check, "", {"quotes": 0}, captures, asked="") == (not quotes)


@pytest.mark.parametrize(
    "log",
    [
        "lundi : lu le courrier.\nmercredi : nagé.",
        "Montag - lu le courrier. Mittwoch. nagé.",
        "lunes: lu le courrier\nmié: nagé",
        "mån 2 nov: lu le courrier\nons: nagé",
    ],
)
def test_a_day_is_found_by_its_name_in_the_language_of_the_log(log: str) -> None:
    captures = {"day": ["Mon", "Wed"], "quote": ["lu le courrier", "nagé"]}
    check = module("reflector").quotes_of_their_days
    assert share(check, "", {"quotes": 2}, captures, asked=log) == 1
    assert share(check, "", {"quotes": 2}, captures | {"day": ["Mon", "Tue"]}, asked=log) == 0.5


TABLE: dict[str, Any] = {"findings": 1, "total": 1500, "change": -50.0}
ROWS = "North,800\nNorth Sea,300\nSouth,400\nof 2,000 seats in 1 234 ports, 7,1999 old ones"
FINDINGS = [
    ("North has the most with 800.", 1),
    ("The largest is North: 800 of 1500 seats", 1),
    ("All three together have 1,500.", 1),
    ("From first to last it fell by 50 %.", 1),
    ("It shrank to half: -50.0 %.", 1),
    ("Of 2000 seats 800 are in North.", 1),
    ("There are 1,234 ports and 3 regions.", 1),
    ("Old are 1999 of them.", 1),
    ("South (400) lies between North Sea (300) and North (800).", 1),
    ("North sea is the smallest, with 300.", 1),
    ("South has 400, more than North Sea.", 1),
    ("South has the most with 400.", 0),
    ("North has the fewest, 800.", 0),
    ("North Sea has 800 seats.", 0),
    ("South has 300 seats.", 0),
    ("From first to last it rose by 50 %.", 0),
    ("North has 53.3 % of all.", 0),
    ("North and South have 1,200.", 0),
    ("North is far ahead of the others.", 0),
]


@pytest.mark.parametrize(("finding", "value"), FINDINGS)
def test_a_finding_is_held_to_its_table(finding: str, value: float) -> None:
    check = module("analyst").findings_true
    assert share(check, f"TOTAL: 1500\n\n1. {finding}\n\nCAVEAT: none", TABLE, asked=ROWS) == value
    assert share(check, f"1. {finding}", {**TABLE, "findings": 2}, asked=ROWS) == value / 2
    assert share(check, f"1. {finding}", {**TABLE, "findings": 0}, asked=ROWS) == 0
    assert share(check, "CAVEAT: 7", {**TABLE, "findings": 0}, asked=ROWS) == 1


LAYOUTS = [
    ("| a | n |\n|---|---|\n| Oak | 3 |\n| Ash | 4.5 |\n| sum | 7.5 |", 7.5, {"Oak": 3, "Ash": 4.5}),
    ("Oak;3,5\nAsh;\u22124\n", -0.5, {"Oak": 3.5, "Ash": -4}),
    ("Oak: 1,200 kg\nAsh: 300 kg (of 7)", 1500, {"Oak": 1200, "Ash": 300}),
    ("In May we felled: Oak 3, Ash 4, Elm 0. None in June.", 7, {"Oak": 3, "Ash": 4, "Elm": 0}),
    ('{"felled": {"Oak": 3, "Ash": 4}}', 7, {"Oak": 3, "Ash": 4}),
    ("Oak 7b    1 200\nAsh 8     300", 1500, {"Oak 7b": 1200, "Ash 8": 300}),
    # Rows that do not add up are not what is meant.
    ("Oak: 3\nAsh: 4", 8, {}),
    ("Oak: 3\nAsh: 4", "n/a", {}),
    ("", 0, {}),
]


@pytest.mark.parametrize(("table", "total", "rows"), LAYOUTS)
def test_the_rows_of_a_table_are_read_in_any_layout(table: str, total: float | str, rows: dict[str, float]) -> None:
    assert module("analyst").figures_of(table, total) == rows


def test_labels_are_left_alone_where_the_table_cannot_be_read() -> None:
    check = module("analyst").findings_true
    assert share(check, "1. South has 800 seats.", TABLE, asked=ROWS) == 0
    assert share(check, "1. South has 800 seats.", {**TABLE, "total": 1600}, asked=ROWS) == 1
    assert share(check, "1. South has 801 seats.", {**TABLE, "total": 1600}, asked=ROWS) == 0


TEXT = "A fifth: on 3 May twelve boats left with 1.2.3; 1,204 litres of milk at 2,5 % came ten minutes past 9:12. Neunzehn."
SUMMARIES = [
    ("Twelve boats left on 3 May.", 1),
    ("12 boats and 1204 litres, also 1 204 or 1.204", 1),
    ("At 9:12, ten minutes (10) late, with 2.5 %, 19 cows", 1),
    ("No figures at all.", 1),
    ("That is 20 %.", 1),
    ("Version 1.2.3", 1),
    ("Version 1.2.4", 0),
    ("That is 25 %.", 0),
    ("13 boats on 3 May", 0.5),
    ("1,205 litres", 0),
    ("120 litres", 0),
    ("In 2026 12 boats", 0.5),
]


@pytest.mark.parametrize(("summary", "value"), SUMMARIES)
def test_figures_of_a_summary_stand_in_its_text(summary: str, value: float) -> None:
    check = module("summarizer").figures_of_text
    assert share(check, "7", {"points": 3}, {"_statement": [summary, "In short"]}, asked=TEXT) == value
    assert share(check, summary, {"points": 3}, asked=TEXT) == 0
    for points in (0, 3):
        found = share(check, "No text.", {"points": points}, {"_statement": ["No text."]}, asked=TEXT)
        assert found == (not points)
