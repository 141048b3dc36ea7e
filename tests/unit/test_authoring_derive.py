"""Checks of structure that `new task --examples` makes: what all completions have in common, and nothing by chance."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from core.authoring.derive import checks, expectation, fields
from core.authoring.derive_structure import structure_checks
from core.authoring.lint import check_project
from core.authoring.scaffold import new_project, new_task
from core.checks import CheckDefinition, build, check_ids
from core.config.project import Project
from tests.support.answers_as_met import ANSWER
from tests.support.depth import example_count

ONE: TypeAdapter[Any] = TypeAdapter(CheckDefinition)
WORDS = ["chop", "stir", "wait", "serve", "cool", "rest"]


def made(completion: Callable[[int], str], count: int = 6) -> list[dict[str, Any]]:
    return [yaml.safe_load(line) for line in structure_checks([completion(number) for number in range(count)])]


def plan(number: int) -> str:
    steps = "\n".join(f"{place}. {WORDS[place]} it {'well ' * place}now" for place in range(1, 3 + number % 3))
    extra = "## Notes\nnone\n" if number == 3 else ""
    return f"# Dish {number}\n## Goal\neat\n## Steps\n{steps}\n{extra}## Risks\n- fire\n- salt\n"


def test_sections_that_all_have_in_one_order_and_items_become_checks_with_room() -> None:
    sections, items, words = made(plan)
    assert sections == {"check": "section_order", "sections": ["Goal", "Steps", "Risks"], "level": 2}
    # Two to four steps of 4 to 7 words: half and double of that.
    assert items == {"check": "each_item", "of": "ordered", "count": [1, 8], "words": [2, 14]}
    assert words["check"] == "words" and words["max"] % 10 == 0


def test_bold_lines_are_sections_where_there_are_no_headings() -> None:
    (sections, *_) = made(lambda number: f"**Goal:**\neat {number}\n\n**Steps:**\nchop\n")
    assert sections["sections"] == ["Goal", "Steps"] and "emphasis" in sections["forgive"] and "level" not in sections


def test_a_list_of_one_length_is_asked_for_exactly() -> None:
    items, _ = made(lambda number: f"- {WORDS[number]}\n- tea {number}\n- milk\n")
    assert (items["of"], items["count"]) == ("list", 3)


def test_items_without_a_word_are_counted_and_no_more() -> None:
    items, _ = made(lambda number: "- 🎯\n- —\n" + "- ✅\n" * number)
    assert items == {"check": "each_item", "of": "list", "count": [1, 14]}
    items, _ = made(lambda number: f"- a\n- {'b c ' * number}\n")
    assert items == {"check": "each_item", "of": "list", "count": 2, "words": [0, 20]}


@pytest.mark.parametrize(
    "completion",
    [
        lambda number: f"A reply of its own kind, number {number}.",
        lambda number: "## Goal\na\n## Steps\nb" if number % 2 else "## Steps\na\n## Goal\nb",
        lambda number: f"## Goal {number}\na\n## Steps {number}\nb",
        lambda number: "## Goal\n## Goal\n## Steps\n",
        lambda number: "- a\n- b" if number else "a, b",
        lambda number: f"- only {number}",
        lambda number: f"```\n## Goal\n## Steps\n{number}\n```",
        lambda number: "",
    ],
    ids=["prose", "two orders", "other names", "one twice", "one without", "one item", "a fence", "nothing"],
)
def test_what_not_all_have_in_common_is_none(completion: Callable[[int], str]) -> None:
    assert made(completion) == []


@settings(max_examples=example_count(60), deadline=None)
@given(st.lists(ANSWER, min_size=1, max_size=5), st.integers(0, 2))
def test_all_completions_pass_what_is_made_of_them(completions: list[str], sections: int) -> None:
    common = "".join(f"\n\n## Part {place}\n\n- a\n- b\n\n" for place in range(sections))
    texts = [f"{text}\n\n{common}" for text in completions]
    for line in structure_checks(texts):
        check = build(ONE.validate_python(yaml.safe_load(line)))
        assert [check.score(text, {}).value for text in texts] == [1.0] * len(texts)


TEXT = st.sampled_from(["PASS", "FAIL", " a ", ""]) | st.text(max_size=9)
FIGURE = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
WITHIN = st.lists(st.integers(), max_size=2) | st.dictionaries(st.text(max_size=3), st.none(), max_size=2)
VALUE = TEXT | FIGURE | WITHIN | st.booleans() | st.none()
KEY = st.text(max_size=6) | st.sampled_from(["", "*", "/", "~1", "a b", "Verdict"])


@settings(max_examples=example_count(60), deadline=None)
@given(st.data(), st.lists(KEY, min_size=1, max_size=3, unique=True))
def test_json_completions_pass_the_schema_that_is_made_of_them_and_show_their_values(
    data: st.DataObject, keys: list[str]
) -> None:
    objects = [
        {"verdict": "PASS" if place % 2 else "FAIL", **{key: data.draw(VALUE) for key in keys}} for place in range(6)
    ]
    texts = [json.dumps(item, indent=place % 3) for place, item in enumerate(objects)]
    found = fields(texts)
    (line,) = checks(found, texts)
    check = build(ONE.validate_python(yaml.safe_load(line)))
    for text in texts:
        result = check.score(text, {})
        assert result.value == 1, result.detail
        shown = {name: [value.strip() for value in values] for name, values in result.captures.items()}
        assert shown == {name: [value] for name, value in expectation(found, text).items()}


def test_the_task_that_is_written_holds_them_and_says_where_they_come_from(tmp_path: Path) -> None:
    new_project(tmp_path / "kitchen")
    project = Project.find(tmp_path / "kitchen")
    source = tmp_path / "plans.jsonl"
    lines = (
        {"prompt": f"Plan dish {number} for {WORDS[number % 6]}", "completion": plan(number)} for number in range(12)
    )
    source.write_text("\n".join(map(json.dumps, lines)))
    new_task(project, "plan", examples=source, hold_out=3)
    assert check_project(project) == []
    task = project.task("plan")
    assert check_ids(task.format) == ["section_order", "each_item of ordered", "words"]
    assert task.file is not None and "All 12 completions pass these checks" in task.file.read_text()
