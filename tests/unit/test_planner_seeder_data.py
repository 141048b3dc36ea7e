"""The training data of `planner` and `seeder`: dates in order, figures that stand in the prompt, counts that are right."""

from __future__ import annotations

import datetime
import re
from collections import Counter

import pytest

from core.checks import build
from core.config.project import shipped
from tests.unit.test_shipped_tasks import MONTHS, examples

NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
LONGEST_PAUSE_DAYS = 250
"""Between two steps of a plan: the year of a step is the first in which it is not before the one above."""
NOTHING = "# Plan: none\nDue: none\n\n## Steps\n- none\n\n## Limits\n- none\n\n## Tried\n- none\n\n"  # and a question
PLANS = [pytest.param(*row, id=f"line-{line}") for line, row in enumerate(examples("planner"), start=1)]
SEEDS = [pytest.param(*row, id=f"line-{line}") for line, row in enumerate(examples("seeder"), start=1)]


def day(text: str, after: datetime.date) -> datetime.date:
    """`4 May` in the first year that is not before `after`."""
    number, month = text.split()
    for year in (after.year, after.year + 1):
        found = datetime.date(year, MONTHS.index(month) + 1, int(number))
        if found >= after:
            return found
    raise AssertionError(text)


def below(completion: str, heading: str) -> list[str]:
    """The items below a heading, without their marks; none where it says `none`."""
    section = completion.split(f"## {heading}\n", 1)[1].split("\n\n", 1)[0]
    return [line.removeprefix("- ") for line in section.splitlines() if line != "- none"]


@pytest.mark.parametrize(("prompt", "completion"), PLANS)
def test_a_plan_is_of_its_goal(prompt: str, completion: str) -> None:
    if "\nASK: " in completion:
        assert completion.startswith(NOTHING) and re.fullmatch(r"ASK: [^\n]+\?", completion.removeprefix(NOTHING))
        return
    today = re.match(r"today: \w+ (\d+ \w+) (\d{4})\n", prompt)
    assert today is not None
    reached = day(today[1], datetime.date(int(today[2]), 1, 1))
    due = re.search(r"^Due: (\S+)$", completion, flags=re.MULTILINE)
    steps = re.findall(r"^(\d)\. by (\d+ \w+): \S", completion, flags=re.MULTILINE)
    assert due is not None and [int(number) for number, _ in steps] == list(range(1, len(steps) + 1))
    for _, written in steps:
        before, reached = reached, day(written, reached)
        assert (reached - before).days < LONGEST_PAUSE_DAYS
    if due[1] != "none":
        date = datetime.date.fromisoformat(due[1])
        assert reached <= date
        assert re.search(rf"(?<!\d){date.day}(?!\d)", prompt), "the day of the date that the person named"
    named = [*below(completion, "Limits"), *(line.split(" → ")[0] for line in below(completion, "Tried"))]
    assert [number for line in named for number in NUMBER.findall(line) if number not in prompt] == []


@pytest.mark.parametrize(("prompt", "completion"), SEEDS)
def test_a_note_is_of_its_source(prompt: str, completion: str) -> None:
    head, *notes = completion.split("\n\n")
    number, *source = head.splitlines()
    assert number == f"SEEDS: {len(notes)}"
    given = re.match(r"source: (.+)", prompt)
    assert source == ([f"source: {given[1] if given else 'unknown'}"] if notes else [])
    titles = []
    for place, note in enumerate(notes, start=1):
        heading, _, _, claim = note.splitlines()
        assert [number for number in NUMBER.findall(claim) if number not in prompt] == []
        titles.append(heading.removeprefix(f"## {place}/{len(notes)} "))
        assert not titles[-1].startswith("#") and titles[-1] != claim.removeprefix("claim: ").rstrip(".")
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    ("number", "headings", "right"),
    [
        ("1", ["1/1"], True),
        ("3", ["1/3", "2/3", "3/3"], True),
        ("4", ["1/4", "2/4", "3/4", "4/4"], True),
        ("2", ["1/2"], False),
        ("2", ["2/2"], False),
        ("2", ["2/2", "1/2"], False),
        ("2", ["1/2", "2/2", "2/2"], False),
        ("2", ["1/2", "2/2", "3/2"], False),
        ("2", ["1/2", "2/2", "1/1"], False),
        ("3", ["1/2", "2/2"], False),
        ("2", ["1/3", "2/3", "3/3"], False),
        ("3", ["1/3", "3/3"], False),
        ("5", ["1/5", "2/5", "3/5", "4/5", "5/5"], False),
        ("0", ["1/1"], False),
        ("", ["1/1"], False),
    ],
)
def test_notes_are_numbered_up_to_the_number_at_the_start(number: str, headings: list[str], right: bool) -> None:
    note = "## {} Eels climb grass\nkind: fact\ntags: eels, rivers\nclaim: Young eels climb wet grass beside a weir."
    answer = "\n\n".join([f"SEEDS: {number}\nsource: Weir keeper", *map(note.format, headings)])
    check = next(check for check in shipped().task("seeder").format if check.id == "numbered")
    assert (build(check, 5.0).score(answer, {}).value == 1) == right


def test_the_data_is_varied() -> None:
    plans, seeds = examples("planner"), examples("seeder")
    asked = sum("\nASK: " in completion for _, completion in plans)
    assert 0.1 <= asked / len(plans) <= 0.25
    undated = sum("\nDue: none\n" in completion and "\nNEXT: " in completion for _, completion in plans)
    assert undated >= 5
    assert {len(below(completion, "Tried")) for _, completion in plans} >= {0, 1, 2}
    counts = Counter(completion.splitlines()[0].removeprefix("SEEDS: ") for _, completion in seeds)
    assert set(counts) == {"0", "1", "2", "3", "4"} and 0.1 <= counts["0"] / len(seeds) <= 0.25
    kinds = Counter(re.findall(r"^kind: (\w+)$", "\n".join(answer for _, answer in seeds), flags=re.MULTILINE))
    assert min(kinds[kind] for kind in ("fact", "method", "view", "question")) >= 10
    for found in (plans, seeds):
        sentences = Counter(
            line
            for _, answer in found
            for line in re.findall(r"^(?:claim|NEXT): .+|^\d\. .+", answer, flags=re.MULTILINE)
        )
        assert [line for line, count in sentences.items() if count > 1] == []
