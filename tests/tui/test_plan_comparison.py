"""Rows of the plan are marked and held side by side: what `bakehouse plan --compare` tells, on a screen."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.command import Hit
from textual.pilot import Pilot

from core.cli.plan import plan
from core.config.project import shipped
from core.home import Home
from tests.support.stored_experiment import home_with_experiment
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.scene import scene
from tests.tui.test_experiments import live
from tests.tui.test_palette import listed
from tests.tui.test_plan import opened
from tests.unit.test_plan_compare import measured, trainings
from tui.app import ConsoleApp
from tui.screens.command_screen import Palette
from tui.screens.plan import PlanScreen
from tui.screens.plan_comparison import PlanComparisonScreen
from tui.screens.plan_rows import MARKED, PlanTable
from tui.theme import DARK
from tui.widgets.comparison_rows import comparison_rows

FOUR = (
    ("Qwen3-4B", "lora-bf16"),
    ("Qwen3-8B", "qlora-hqq4"),
    ("Qwen3-14B", "lora-bf16"),
    ("Gemma-3-270M", "lora-bf16"),
)


async def marked(pilot: Pilot[None], screen: PlanScreen, *rows: tuple[str, str]) -> None:
    table = screen.query_one(PlanTable)
    for name in rows:
        table.move([(row.model.name, row.recipe.name) for row in table.rows].index(name) - table.index)
        await pilot.press("space")
    await pilot.pause()


async def compared(pilot: Pilot[None]) -> PlanComparisonScreen:
    await pilot.press("c")
    screen = pilot.app.screen
    assert isinstance(screen, PlanComparisonScreen)
    if screen.found is None and not screen.context.live:
        screen.begin()
    await seen(pilot, lambda: screen.found is not None or screen.problem, "the comparison")
    await pilot.pause()
    return screen


async def test_marked_rows_stand_side_by_side_with_the_words_of_the_command(console: Opened) -> None:
    async with console() as pilot:
        plan_screen = await opened(pilot, "b", "b", "b")
        await marked(pilot, plan_screen, *FOUR[:2])
        assert f"{MARKED} 2 marked, c compares them" in text_of(pilot, "#plan-table") and "c compare" in keys_of(pilot)
        screen = await compared(pilot)
        rows = text_of(pilot, "#rows")
        assert screen.found is not None and [one.row.recipe.name for one in screen.found] == ["lora-bf16", "qlora-hqq4"]
        for words in ("--vram 16: 17.2 GB", "Qwen3-4B (4.0 B)", "Qwen3-8B (8.2 B)", "66 M (1.6 %)", "time a step"):
            assert words in rows
        assert text_of(pilot, "#command").strip() == (
            "bakehouse plan --vram 16 --compare Qwen3-4B:lora-bf16 Qwen3-8B:qlora-hqq4"
        )
        await pilot.press("escape")
        assert pilot.app.screen is plan_screen and len(plan_screen.marked) == 2, "the marks stay"


async def test_marks_hold_at_another_budget_and_length_and_go_by_the_same_key(console: Opened) -> None:
    async with console() as pilot:
        screen = await opened(pilot)
        await marked(pilot, screen, *FOUR[:3])
        await pilot.press("b", "b", "b", "b", "l")
        await seen(pilot, lambda: screen.planned is not None, "the plan that was asked for")
        assert [row.model.name for row in screen.marked] == ["Qwen3-4B", "Qwen3-8B", "Qwen3-14B"]
        comparison = await compared(pilot)
        assert {row.recipe.max_length for row in screen.marked} == {512}
        assert comparison.found is not None and {one.row.recipe.max_length for one in comparison.found} == {512}
        told = shlex.split(comparison.command)
        with plan.make_context("plan", told[2:]) as context:  # an odd one stands beside the first again
            pairs = [said for two in context.params["pairs"] for said in two]
        assert list(dict.fromkeys(pairs)) == [f"{model}:{recipe}" for model, recipe in FOUR[:3]]
        assert told[2:6] == ["--vram", "24", "--max-length", "512"]
        await pilot.press("escape")
        await marked(pilot, screen, FOUR[1])
        assert [row.model.name for row in screen.marked] == ["Qwen3-4B", "Qwen3-14B"]


@pytest.mark.parametrize("count", [0, 1])
async def test_with_fewer_than_two_marked_it_says_what_to_do(console: Opened, count: int) -> None:
    async with console() as pilot:
        screen = await opened(pilot)
        await marked(pilot, screen, *FOUR[:count])
        assert ("c compares two or more" in text_of(pilot, "#plan-table")) == bool(count)
        assert "compare" not in keys_of(pilot) and "space mark" in keys_of(pilot)
        await pilot.press("c")
        assert pilot.app.screen is screen
        assert "Mark two or more rows with space." in [*pilot.app._notifications][-1].message
        found = await listed(Palette(screen).search("compare"))
        assert any("Compare the marked rows" in row and "Mark two or more rows with space." in row for row in found)
        await pilot.press("question_mark")
        assert "once two or more are marked" in text_of(pilot, "#help")


async def test_the_palette_compares_what_is_marked(console: Opened) -> None:
    async with console() as pilot:
        screen = await opened(pilot)
        await marked(pilot, screen, *FOUR)
        hits = [hit async for hit in Palette(screen).search("compare") if isinstance(hit, Hit)]
        await max(hits, key=lambda hit: hit.score).command()
        await seen(pilot, lambda: isinstance(pilot.app.screen, PlanComparisonScreen), "the comparison")
        await pilot.press("question_mark")
        assert "Back to the plan" in text_of(pilot, "#help")


async def test_times_come_from_the_trainings_of_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, project = home_with_experiment(tmp_path)
    async with live(home, project, monkeypatch) as pilot:
        plan_screen = await opened(pilot, "b", "b", "b")
        await marked(pilot, plan_screen, *FOUR[:2])
        screen = await compared(pilot)
        assert not screen.problem
        assert "21 s, measured" in text_of(pilot, "#rows") and "44 s, measured" in text_of(pilot, "#rows")


@pytest.mark.parametrize("width", [0, 1, 5, 16, 20, 30, 56, 76, 116, 200])
@pytest.mark.parametrize("times", [0, 1])
def test_no_row_is_wider_than_its_room_and_nothing_is_lost(width: int, times: int) -> None:
    known = [measured("Qwen3-4B", "plain", 4_000_000_000, 2.0)] * times
    rows = comparison_rows([*trainings(*known), *trainings(*known)], width)
    if width >= 30:
        assert all(line.width <= width for line in rows)
        shown = " ".join(line.plain for line in rows)
        assert shown.count("Qwen3-8B") == 2 and ("scaled" in shown) == bool(times)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
@pytest.mark.parametrize("count", [2, 4])
def test_the_look_of_trainings_side_by_side(
    snap_compare: Callable[..., bool], tmp_path: Path, count: int, size: tuple[int, int]
) -> None:
    async def shown(pilot: Pilot[None]) -> None:
        screen = await opened(pilot, "b", "b", "b")
        await marked(pilot, screen, *FOUR[:count])
        await compared(pilot)

    assert snap_compare(_console(tmp_path), run_before=shown, terminal_size=size)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
def test_the_look_of_a_plan_with_a_marked_row(
    snap_compare: Callable[..., bool], tmp_path: Path, size: tuple[int, int]
) -> None:
    async def shown(pilot: Pilot[None]) -> None:
        await marked(pilot, await opened(pilot), FOUR[0])

    assert snap_compare(_console(tmp_path), run_before=shown, terminal_size=size)


def _console(folder: Path) -> ConsoleApp:
    app = ConsoleApp(Home(folder / "home").create(), shipped, live=False)
    app.theme = DARK.name
    app.context.snapshot = scene()
    return app
