"""Golden inputs of the shipped tasks without training data: what they expect is right, and can be had from the input."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest

from core.config.golden import GoldenInput
from core.config.project import shipped
from core.marking.expectations import asked_keys
from tests.unit.test_shipped_checks import module
from tests.unit.test_shipped_tasks import AWKWARD, golden

TASKS = ["spacer", "quizzer", "analyst", "reflector", "summarizer"]


@pytest.mark.parametrize("name", TASKS)
def test_both_uses_hold_awkward_inputs_and_the_long_one_is_long(name: str) -> None:
    inputs = golden(name)
    for use in (None, "confirm"):
        assert any(AWKWARD & set(item.tags) for item in inputs if item.use == use)
    lengths = {"long" in item.tags: len(item.text()) for item in sorted(inputs, key=lambda item: len(item.text()))}
    assert lengths[True] > 2 * lengths[False]


@pytest.mark.parametrize("name", shipped().task_names())
def test_what_an_input_expects_is_asked_for_and_is_no_copy_of_the_input(name: str) -> None:
    """An input that is added by marking has no key of its own that only the shipped ones know of."""
    asked = set(asked_keys(shipped().task(name)))
    for item in golden(name):
        assert set(item.expect) - asked <= EXPLAINING.get(name, set())
        assert not item.text() or item.text() not in item.expect.values()


EXPLAINING = {"spacer": {"reviews"}}
"""Keys that no check reads: what the others are worked out of, below."""


@pytest.mark.parametrize("name", ["quizzer", "reflector", "summarizer"])
def test_what_is_looked_for_can_be_had_from_the_input(name: str) -> None:
    for item in golden(name):
        text, expect = item.text().casefold(), item.expect
        nothing = {"empty", "format", "own-output"} & set(item.tags)
        match name:
            case "quizzer":
                assert bool(expect["facts"]) == (expect["questions"] > 0) == (not nothing)
                assert len(expect["facts"]) >= expect["questions"]
                wanted = [fact["right"] for fact in expect["facts"]]
            case "summarizer":
                wanted = [] if nothing else [_list(fact) for fact in expect["facts"]]
                assert expect["points"] == (0 if nothing else 3)
            case "reflector":
                wanted = []
                empty = [key for key in ("well", "badly", "pattern", "step") if expect[key] == ["Nothing logged"]]
                assert len(empty) == expect["nothing"] and expect["quotes"] == (0 if "pattern" in empty else 2)
                assert (len(empty) == 4) == bool(nothing)
        for spellings in wanted:
            assert any(spelling.casefold() in text for spelling in spellings), (item.id, spellings)


def _list(value: list[str] | str) -> list[str]:
    return [value] if isinstance(value, str) else value


TIMES = {"again": 0, "hard": 1, "good": 2, "easy": 3}


@pytest.mark.parametrize("item", [pytest.param(item, id=item.id) for item in golden("spacer")])
def test_what_a_deck_expects_follows_from_the_rule(item: GoldenInput) -> None:
    """The rule of the system prompt over `reviews`: (last review, interval, grade) of each card, nothing where one is amiss."""
    due: list[tuple[date, int, str]] = []
    rows: list[tuple[str, int | str, str]] = []
    for place, (name, review) in enumerate(zip(item.expect["card"], item.expect["reviews"], strict=False)):
        assert name in item.text()
        rows.append((name, "?", "?"))
        if review:
            last, interval, grade = review
            assert str(interval) in item.text()
            new = 1 if grade == "again" else min(180, interval * TIMES[grade])
            following = date.fromisoformat(last) + timedelta(days=new)
            due.append((following, place, name))
            rows[-1] = (name, new, following.isoformat())
    expect = item.expect
    assert expect["cards"] == len(expect["card"]) == max(1, len(rows))
    assert list(zip(expect["card"], expect["interval"], expect["next"], strict=True)) == (rows or [("none", "?", "?")])
    first = min(due, default=None)
    assert expect["first"] == ("none" if first is None else f"{first[2]}, {first[0]:%A} {first[0].isoformat()}")


ROWS = {
    "ferry": 5,
    "miele": 5,
    "waiting-room": 6,
    "choir-attendance": 5,
    "first-is-zero": 5,
    "cash-of-the-workshop": 5,
    "three-columns": 4,
    "power-meter": 4,
    "rain-on-the-roof": 5,
    "chess-club": 4,
    "loans-of-all-branches": 22,
}
"""How many rows of a table count, as counted by hand; other inputs have no table."""


@pytest.mark.parametrize("item", [pytest.param(item, id=item.id) for item in golden("analyst")])
def test_what_a_table_expects_follows_from_its_figures(item: GoldenInput) -> None:
    expect = item.expect
    figures = list(module("analyst").figures_of(item.text(), expect["total"]).items())
    assert len(figures) == ROWS.get(item.id, 0)
    assert expect["findings"] == (3 if figures else 0)
    if not figures:
        assert {expect[name] for name in ("total", "change", "highest", "lowest")} == {"n/a"}
        return
    values = [figure for _, figure in figures]
    text = re.sub(r"(?<=\d)[ ,](?=\d{3}\b)", "", item.text()).replace(",", ".")
    place = 0
    for label, figure in figures:  # in the order of the input, each figure behind its label
        place = text.index(f"{figure:g}", text.index(label, place) + len(label))
    assert expect["total"] == pytest.approx(sum(values))
    change = (values[-1] - values[0]) / values[0] * 100 if values[0] else None
    assert expect["change"] == ("n/a" if change is None else pytest.approx(change, abs=0.05))
    for name, choose in (("highest", max), ("lowest", min)):
        label, figure = choose(figures, key=lambda row: row[1])
        assert expect[name] == f"{label}, {figure:g}"
