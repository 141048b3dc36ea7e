"""The screen of tasks: what each has, what is wrong with it, and the keys that lead on from there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.authoring.scaffold import new_project
from core.authoring.task_rows import task_rows
from core.config.project import Project, shipped
from core.home import Home
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.scene import scene
from tui.app import ConsoleApp
from tui.screens.new_bakeoff import NewBakeoff
from tui.screens.new_run import NewRun
from tui.screens.results import Results
from tui.screens.tasks import TasksScreen
from tui.widgets.task_rows import task_detail_rows, task_table_rows

BROKEN = """name: broken
system: Say the price.
golden: golden/broken.yaml
format:
  - {check: regex, pattern: '(?P<price>x'}
"""
IDLE = """name: idle
system: |
  Say the price,

  and no more.
golden: golden/idle.yaml
data: {train: configs/data/idle.train.jsonl}
format:
  - {check: regex, id: line, pattern: '^PRICE: (?P<price>.+)$'}
content:
  - {check: captured_equals, name: price}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A task that is none, and one whose check no training completion passes."""
    root = tmp_path / "project"
    new_project(root)
    for folder in ("configs/tasks", "configs/data", "golden"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "configs/tasks/broken.yaml").write_text(BROKEN)
    (root / "configs/tasks/idle.yaml").write_text(IDLE)
    inputs = [f"- {{id: i{n}, input: a chair for {n}, expect: {{price: '{n}'}}}}" for n in range(1, 8)]
    inputs[0] = inputs[0].removesuffix("}") + ", use: confirm}"
    (root / "golden/idle.yaml").write_text("\n".join(inputs) + "\n")
    (root / "configs/data/idle.train.jsonl").write_text('{"prompt": "a table for 9", "completion": "nine"}\n' * 2)
    return Project.find(explicit=root)


def test_a_row_says_what_a_task_has_and_what_is_wrong(project: Project) -> None:
    rows = {row.name: row for row in task_rows(project)}
    assert set(rows) == {"broken", "idle", *shipped().task_names()}
    idle = rows["idle"]
    assert (idle.inputs, idle.confirm, idle.sources, idle.examples) == (7, 1, 7, 2)
    assert (idle.format_checks, idle.content_checks, idle.shipped) == (("line",), ("price equals expect",), False)
    assert [one.code for one in idle.warnings] == ["idle_check"] and not idle.problems
    assert rows["broken"].problems and rows["broken"].inputs == 0
    assert rows["judge"].shipped and not rows["judge"].problems
    assert [row.name for row in task_rows(project, own=True)] == ["broken", "idle"]


@pytest.mark.parametrize("width", [50, 76, 116, 160])
def test_no_row_is_wider_than_its_room(project: Project, width: int) -> None:
    rows = task_rows(project, own=True)
    lines = task_table_rows(rows, {}, "idle", width)
    for row in rows:
        lines += task_detail_rows(row, None, width)
    assert all(line.width <= width for line in lines)


async def test_the_screen_shows_each_task_and_leads_to_training_and_bake_off(
    tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.model.background_reader.BackgroundReader._start_runner", lambda self: None)
    app = ConsoleApp(Home(tmp_path / "home").create(), lambda: project)
    app.feed.start()
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("T")
            screen = pilot.app.screen
            assert isinstance(screen, TasksScreen)
            await seen(pilot, lambda: "idle" in text_of(pilot, "#rows"), "the tasks")
            assert screen.selected == "broken", "the project's own tasks come first"
            while screen.selected != "idle":
                await pilot.press("j")
            shown = text_of(pilot, "#rows")
            assert "does not pass any of 2 completions" in shown and "and no more." in shown
            assert "n new run" in keys_of(pilot) and "B new bake-off" in keys_of(pilot)
            await pilot.press("n")
            assert isinstance(pilot.app.screen, NewRun) and pilot.app.screen.given_task == "idle"
            await pilot.press("escape")
            await pilot.press("B")
            assert isinstance(pilot.app.screen, NewBakeoff) and pilot.app.screen.begun.tasks == ["idle"]
            await pilot.press("escape")
            while screen.selected != "broken":
                await pilot.press("k")
            assert "B new bake-off" not in keys_of(pilot) and "can't be compiled" in text_of(pilot, "#rows")
    finally:
        app.feed.stop()
        app.reader.stop()


async def test_enter_opens_the_newest_bake_off_of_the_selected_task(console: Opened, project: Project) -> None:
    moment = scene()
    assert moment.boards
    board = next(board for board in moment.boards if board.candidates and board.state == "done")
    async with console(moment, size=(120, 40)) as pilot:
        await pilot.press("T")
        screen = pilot.app.screen
        assert isinstance(screen, TasksScreen)
        row = replace(next(row for row in task_rows(project) if row.name == "judge"), name=board.task)
        screen.post_message(screen.TasksRead([row], board.project_id))
        await pilot.pause()
        assert board.headline.split()[0] in text_of(pilot, "#rows")
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, Results) and pilot.app.screen.job_id == board.job_id
