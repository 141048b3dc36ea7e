"""The look of the screens of experiments: the list, one that runs and one that is answered, the form of a tournament."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from core.config.project import Project
from core.home import Home
from core.vram.budget import Budget
from tests.support.lab import lab
from tests.support.projects import with_shipped_tasks
from tests.support.stored_experiment import NAME, home_with_experiment
from tests.tui.conftest import seen
from tests.tui.scene import scene
from tui.app import ConsoleApp
from tui.screens.experiment import ExperimentScreen
from tui.screens.experiments import ExperimentsScreen
from tui.screens.new_tournament import NewTournament
from tui.theme import DARK
from tui.widgets.text_field import TextField

Compare = Callable[..., bool]
MEMORY = Budget(17_100_000_000, 1_200_000_000, "host memory", "cpu", held_bytes=1_200_000_000)
SIZES = pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])


def console(home: Home, project: Project) -> ConsoleApp:
    app = ConsoleApp(home, lambda: project, live=False)
    app.theme = DARK.name
    app.context.snapshot = scene(jobs=(), counts={}, detail=None)
    return app


async def listed(pilot: Pilot[None]) -> ExperimentsScreen:
    await pilot.press("E")
    screen = pilot.app.screen
    assert isinstance(screen, ExperimentsScreen)
    screen.action_read()
    await seen(pilot, lambda: screen.experiments is not None, "the experiments")
    while screen.selected != NAME:
        await pilot.press("j")
    await pilot.pause()
    return screen


async def shown(pilot: Pilot[None]) -> ExperimentScreen:
    await listed(pilot)
    await pilot.press("enter")
    screen = pilot.app.screen
    assert isinstance(screen, ExperimentScreen)
    screen.action_read()
    await seen(pilot, lambda: screen.found is not None, "the experiment")
    await pilot.press("right_square_bracket")
    await pilot.pause()
    return screen


@SIZES
def test_the_look_of_the_list(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    async def read(pilot: Pilot[None]) -> None:
        await listed(pilot)

    assert snap_compare(console(*home_with_experiment(tmp_path, blocks=1)), run_before=read, terminal_size=size)


@SIZES
@pytest.mark.parametrize("blocks", [0, 1, 3], ids=["begun", "running", "answered"])
def test_the_look_of_an_experiment(snap_compare: Compare, tmp_path: Path, blocks: int, size: tuple[int, int]) -> None:
    async def read(pilot: Pilot[None]) -> None:
        await shown(pilot)

    assert snap_compare(console(*home_with_experiment(tmp_path, blocks=blocks)), run_before=read, terminal_size=size)


@SIZES
def test_the_look_of_the_end_of_an_answer(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    async def read(pilot: Pilot[None]) -> None:
        await shown(pilot)
        await pilot.press("G")

    assert snap_compare(console(*home_with_experiment(tmp_path)), run_before=read, terminal_size=size)


@SIZES
@pytest.mark.parametrize("moment", ["empty", "filled", "wrong"])
def test_the_look_of_the_form(
    snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, size: tuple[int, int]
) -> None:
    kept = lab(tmp_path, monkeypatch)
    monkeypatch.setattr("core.submission.memory_check.this_machine", lambda home: MEMORY)
    monkeypatch.chdir(kept.project.root)  # else the command names the folder, which is another one each time

    async def filled(pilot: Pilot[None]) -> None:
        await pilot.press("E", "n")
        form = pilot.app.screen
        assert isinstance(form, NewTournament)
        await seen(pilot, lambda: form.entrants is not None, "the project")
        for field in form.query(TextField):
            field.cursor_blink = False
        if moment != "empty":
            await pilot.press("space", "tab", "space", "j", "space")
            form.query_one("#steps", TextField).value = "40"
            form.query_one("#rates", TextField).value = "1e-4 2e-4" if moment == "filled" else "fast"
        if moment == "filled":
            await seen(pilot, lambda: form.current is not None, "what it comes to")
        await pilot.pause()

    few_shipped = with_shipped_tasks(kept.project, tmp_path / "shipped", "planner", "spacer")
    assert snap_compare(console(kept.home, few_shipped), run_before=filled, terminal_size=size)
