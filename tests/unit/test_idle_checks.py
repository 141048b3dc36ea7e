"""`config check` tells of a check that no completion of the training data passes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.authoring.lint import check_project, check_warnings
from core.config.project import Project
from tests.unit.test_authoring_lint import folder  # noqa: F401 - a fixture

ANSWERS = [
    "### tea — PASS\n\nSUMMARY: one cup",
    "### bread — FAIL\n\nSUMMARY: two loaves",
    "### soup — PASS\n\nSUMMARY: hot",
]
IDLE = [
    "{check: regex, pattern: '^TITLE: .+$', multiline: true}",
    "{check: regex, pattern: '^Summary: .+$', multiline: true}",
    "{check: heading, level: 2, pattern: '.+'}",
    "{check: heading, level: 3, pattern: '(?P<verdict>MAYBE)'}",
    "{check: table, columns: [A, B]}",
    "{check: contains_all, values: [tea, bread]}",
    "{check: not_contains, values: [SUMMARY]}",
]
USED = [
    "{check: regex, pattern: '^SUMMARY: two', multiline: true}",
    "{check: heading, level: 3, pattern: '.+ — (?P<verdict>PASS|FAIL)'}",
    "{check: contains_any, values: [soup]}",
    "{check: not_contains, values: [tea]}",
    "{check: regex, pattern: '^TITLE', multiline: true, count: expect.titles}",
    "{check: captured_equals, name: verdict}",
]


def warned(root: Path, check: str, answers: list[str]) -> list[tuple[str, int | None, str]]:
    text = (
        "data: {train: data/t.jsonl}\nformat:\n  - {check: heading, level: 3, pattern: '— (?P<verdict>.+)'}\ncontent:\n"
    )
    (root / "configs/tasks/t.yaml").write_text(f"{text}  - {check}\n")
    lines = [json.dumps({"prompt": "p", "completion": answer}) for answer in answers]
    (root / "data/t.jsonl").write_text("\n".join(lines) + "\n")
    project = Project.find(root)
    assert check_project(project) == []
    return [(one.code, one.line, one.message) for one in check_warnings(project)]


@pytest.mark.parametrize("check", IDLE)
def test_a_check_that_no_completion_passes_is_told_with_its_line(folder: Path, check: str) -> None:  # noqa: F811
    (code, line, message), *others = warned(folder, check, ANSWERS)
    assert (code, line, others) == ("idle_check", 5, [])
    assert "any of 3 completions" in message and "\n" not in message


@pytest.mark.parametrize("check", USED)
def test_one_that_some_completion_passes_or_that_asks_for_an_expectation_is_not(folder: Path, check: str) -> None:  # noqa: F811
    assert warned(folder, check, ANSWERS) == []
