"""`config check` tells of a check that no completion of the training data passes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.authoring.lint import check_project
from core.authoring.task_rows import task_rows
from core.authoring.tried_checks import IdleCheck, idle_checks
from core.config.project import Project
from core.config.task import Task
from tests.support.commands import called
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
    return [(one.code, one.line, one.message) for row in task_rows(project, own=True) for one in row.warnings]


@pytest.mark.parametrize("check", IDLE)
def test_a_check_that_no_completion_passes_is_told_with_its_line(folder: Path, check: str) -> None:  # noqa: F811
    (code, line, message), *others = warned(folder, check, ANSWERS)
    assert (code, line, others) == ("idle_check", 5, [])
    assert "any of 3 completions" in message and "\n" not in message


@pytest.mark.parametrize("check", USED)
def test_one_that_some_completion_passes_or_that_asks_for_an_expectation_is_not(folder: Path, check: str) -> None:  # noqa: F811
    assert warned(folder, check, ANSWERS) == []


def test_the_command_tells_all_once_and_tries_the_checks_of_a_task_once(
    folder: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warned(folder, IDLE[0], ANSWERS)
    (folder / "configs/tasks/broken.yaml").write_text("repeats: 0\nmargin: 2\n")
    tried: list[str] = []

    def counted(task: Task, *rest: Any, **keys: Any) -> Iterator[IdleCheck]:
        tried.append(task.name)
        return idle_checks(task, *rest, **keys)

    monkeypatch.setattr("core.authoring.lint.idle_checks", counted)
    code, out, _ = called(capsys, ["config", "check", "--project", str(folder), "--json"])
    said = json.loads(out)
    problems, warnings = ([(one["key"], one["line"]) for one in said[part]] for part in ("problems", "warnings"))
    assert (code, tried) == (2, ["t"])
    assert (problems, warnings) == ([("repeats", 1), ("margin", 2)], [("content[0]", 5)])
    assert [len(row["problems"]) + len(row["warnings"]) for row in said["tasks"]] == [2, 1]
