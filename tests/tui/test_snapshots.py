"""The look of the main screens, kept as pictures (SVG): a change shows in the report of pytest-textual-snapshot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from core.config.project import shipped
from core.home import Home
from tests.support.stored_stages import home_with_stages
from tests.support.stored_tasks import home_with_tasks
from tests.tui import gpus
from tests.tui.conftest import seen
from tests.tui.scene import scene
from tests.tui.stored_boards import boards_of
from tui.app import ConsoleApp
from tui.model.answers import read_answers
from tui.screens.confirm import Confirm
from tui.screens.result_panels import Texts
from tui.screens.results import Results
from tui.theme import DARK

Compare = Callable[..., bool]


def console(tmp_path: Path, **changes: Any) -> ConsoleApp:
    app = ConsoleApp(Home(tmp_path / "home").create(), shipped, live=False)
    app.theme = DARK.name
    app.context.snapshot = scene(**changes)
    return app


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
def test_dashboard(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    assert snap_compare(console(tmp_path), terminal_size=size)


def test_dashboard_without_a_gpu(snap_compare: Compare, tmp_path: Path) -> None:
    assert snap_compare(console(tmp_path, with_gpu=False), terminal_size=(120, 40))


def test_results(snap_compare: Compare, tmp_path: Path) -> None:
    assert snap_compare(console(tmp_path), press=["4", "enter", "j", "j", "f"], terminal_size=(120, 40))


def test_cancel(snap_compare: Compare, tmp_path: Path) -> None:
    async def settled(pilot: Pilot[None]) -> None:
        await pilot.press("x")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Confirm), "the question")
        await pilot.pause()

    assert snap_compare(console(tmp_path), run_before=settled, terminal_size=(120, 40))


@pytest.mark.parametrize("moment", ["idle", "training", "held_by_another", "stale_memory"])
def test_gpu(snap_compare: Compare, tmp_path: Path, moment: str) -> None:
    app = console(tmp_path)
    app.context.snapshot = gpus.MOMENTS[moment]()
    assert snap_compare(app, press=["2"], terminal_size=(120, 40))


def test_gpu_alone(snap_compare: Compare, tmp_path: Path) -> None:
    app = console(tmp_path)
    app.context.snapshot = gpus.several()
    assert snap_compare(app, press=["2", "z"], terminal_size=(120, 40))


def test_gpu_on_a_small_terminal(snap_compare: Compare, tmp_path: Path) -> None:
    app = console(tmp_path)
    app.context.snapshot = gpus.intruded()
    assert snap_compare(app, press=["2"], terminal_size=(80, 24))


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
@pytest.mark.parametrize("view", ["matrix", "inputs", "differences"])
def test_results_of_several_tasks(snap_compare: Compare, tmp_path: Path, view: str, size: tuple[int, int]) -> None:
    home, job_id = home_with_tasks(tmp_path)
    app = console(tmp_path, boards=boards_of(home, job_id), jobs=(), detail=None)

    async def shown(pilot: Pilot[None]) -> None:
        await pilot.press("4", "enter", "down", "right")
        if view != "matrix":
            await pilot.press("i", "down")
        if view == "differences":
            screen = pilot.app.screen
            assert isinstance(screen, Results)
            screen.texts = Texts(*read_answers(home, job_id, 0, screen.place.task))
            await pilot.press("d")

    assert snap_compare(app, run_before=shown, terminal_size=size)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
def test_results_of_the_stages_of_an_adapter(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    home, job_id = home_with_stages(tmp_path)
    app = console(tmp_path, boards=boards_of(home, job_id), jobs=(), detail=None)
    assert snap_compare(app, press=["4", "enter", *["down"] * 5], terminal_size=size)
