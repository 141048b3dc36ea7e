"""docs/checks.md says of every check what the code does: its keys, what it forgives, and examples that can be read."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import TypeAdapter

from core.checks import REGISTRY, CheckDefinition
from core.checks.base import BaseDefinition
from core.checks.each_item import EachItemCheck
from core.checks.forgiveness import FORGIVEN, ForgivingDefinition
from core.checks.heading import HeadingCheck
from core.checks.lengths import WordsCheck
from core.checks.normal_form import PARTS
from core.checks.numbers import read_number
from core.checks.section_order import SectionOrderCheck
from core.checks.table import TableCheck

PAGE = Path(__file__).resolve().parents[2] / "docs" / "checks.md"
KINDS = {get_args(kind.model_fields["check"].annotation)[0]: kind for kind in REGISTRY}
EXAMPLES: TypeAdapter[list[Any]] = TypeAdapter(list[CheckDefinition])
COLUMNS: list[type[ForgivingDefinition]] = [HeadingCheck, SectionOrderCheck, TableCheck, EachItemCheck, WordsCheck]


@cache
def chapters() -> dict[str, str]:
    """The text below each heading, by each name in it."""
    found: dict[str, str] = {}
    for part in PAGE.read_text("utf-8").split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        for name in re.findall(r"`(\w+)`", title) or [title]:
            assert name not in found, f"two chapters explain {name}"
            found[name] = text
    return found


@pytest.mark.parametrize("check", KINDS)
def test_every_key_of_a_check_is_explained_below_its_name(check: str) -> None:
    kind, text = KINDS[check], chapters()[check]
    keys = {field.alias or name for name, field in kind.model_fields.items()} - set(BaseDefinition.model_fields)
    told = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.+?) \|", text, re.MULTILINE))))
    assert keys - {"check"} <= told
    assert "*Partial*" in text and re.search(r"\*Not\sseen\*", text)


@pytest.mark.parametrize("check", KINDS)
def test_every_check_has_an_example_that_can_be_read(check: str) -> None:
    text = chapters()[check]
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.+?)```", text, re.DOTALL)]
    read = {"code": "def score(text, expect, captures): ..."}  # a task is read with the files that it names
    written = [{**read, **row} if row["check"] == "python" else row for block in blocks for row in block]
    examples = EXAMPLES.validate_python(written)
    assert examples and all(chapters()[example.check] == text for example in examples)


def test_numbers_are_read_as_the_page_says() -> None:
    row = re.compile(
        r"(?:^|(?<= ))\| (`[^|]+`) \| (-?−?[\d.]+)(?=;| \|)(?:; with `decimal: comma` ([\d.]+))?", re.MULTILINE
    )
    found = row.findall(chapters()["number_range"].partition("| written |")[2])
    assert len(found) == 10
    for texts, value, comma in found:
        for text in re.findall(r"`([^`]+)`", texts):
            assert read_number(text) == pytest.approx(float(value.replace("−", "-"))), text
            assert not comma or read_number(text, "comma") == pytest.approx(float(comma)), text


def test_the_keys_that_all_take_and_the_parts_of_the_normal_form_are_explained() -> None:
    text = chapters()["What all of them take"]
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == {*BaseDefinition.model_fields, *PARTS}


def test_what_is_forgiven_is_what_the_table_says() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| .+ \| (.) \| (.) \| (.) \| (.) \| (.) \|$", PAGE.read_text("utf-8"), re.MULTILINE
    )
    assert {name for name, *_ in rows} == set(FORGIVEN)
    for name, *marks in rows:
        for kind, mark in zip(COLUMNS, marks, strict=True):
            default = kind.model_fields["forgive"].default
            assert mark == ("–" if name not in kind.FORGIVES else "●" if name in default else "○"), (name, kind)


@pytest.mark.parametrize("check", [name for name, kind in KINDS.items() if issubclass(kind, ForgivingDefinition)])
def test_the_default_of_forgive_is_the_one_told(check: str) -> None:
    default = KINDS[check].model_fields["forgive"].default
    assert f"| `forgive` | `[{', '.join(default)}]` |" in chapters()[check]
