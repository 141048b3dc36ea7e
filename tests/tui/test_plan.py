"""The plan on a screen of its own: budgets, lengths, what is preferred, and the way into the form."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from core.vram.calibration import SPREAD_ON_CPU
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.scene import scene
from tui.screens.new_run import NewRun
from tui.screens.plan import PlanScreen
from tui.screens.plan_rows import PlanTable
from tui.widgets.choice import ChoiceField


async def opened(pilot: Pilot[None], *keys: str) -> PlanScreen:
    await pilot.press("p")
    screen = pilot.app.screen
    assert isinstance(screen, PlanScreen)
    await seen(pilot, lambda: screen.planned is not None, "the plan")
    for key in keys:
        await pilot.press(key)
        await seen(pilot, lambda: planned_as_asked(screen), "the plan that was asked for")
    return screen


def planned_as_asked(screen: PlanScreen) -> bool:
    planned = screen.planned
    wanted = screen.asked.vram if screen.asked else ""
    return (
        planned is not None and planned.budget is not None and (f"--vram {wanted}" == planned.budget.name or not wanted)
    )


def line_of(screen: str, model: str, method: str) -> str:
    return next(line for line in screen.splitlines() if model in line and method in line)


async def test_it_begins_with_this_gpu_and_its_preferred_model(console: Opened) -> None:
    async with console() as pilot:
        screen = await opened(pilot)
        asked = text_of(pilot, "#asked")
        assert "RX 9070 XT" in asked and "17.1 GB" in asked and "in use" in asked and "± 5 %" in asked
        table = text_of(pilot, "#plan-table")
        assert "✓ Qwen3-4B" in line_of(table, "Qwen3-4B", "bf16") and "●" in line_of(table, "Qwen3-4B", "bf16")
        assert "✗ Qwen3-8B" in line_of(table, "Qwen3-8B", "bf16")
        assert "? Qwen3.5-9B" in line_of(table, "Qwen3.5-9B", "not predicted")
        assert screen.row is not None and screen.row.key == ("Qwen3-4B", "lora")
        why = text_of(pilot, "#chosen-row")
        assert "● prefer Qwen3-4B bf16" in why and "weights 8" in why
        assert text_of(pilot, "#command").strip() == "bakehouse plan"


async def test_another_budget_and_length_are_a_key_away(console: Opened) -> None:
    async with console() as pilot:
        screen = await opened(pilot, *"bbbbb")
        assert "‹ 32 GB ›" in text_of(pilot, "#asked") and "34.4 GB" in text_of(pilot, "#asked")
        before = line_of(text_of(pilot, "#plan-table"), "Qwen3-8B", "bf16")
        assert "✓" in before
        await pilot.press("l")
        await seen(pilot, lambda: line_of(text_of(pilot, "#plan-table"), "Qwen3-8B", "bf16") != before, "length 512")
        assert "bakehouse plan --vram 32 --max-length 512" in text_of(pilot, "#command")
        await pilot.press("b")
        await seen(pilot, lambda: "RX 9070 XT" in text_of(pilot, "#asked"), "this GPU again")
        assert screen.budget == 0


async def test_enter_fills_the_form_of_a_new_run(console: Opened) -> None:
    async with console() as pilot:
        screen = await opened(pilot, "b", "b", "b", "l", "l")
        table = screen.query_one(PlanTable)
        table.move([row.key for row in table.rows].index(("Qwen3-8B", "qlora-hqq")) - table.index)
        await pilot.press("enter")
        form = pilot.app.screen
        assert isinstance(form, NewRun)
        await seen(pilot, lambda: "Qwen3-8B" in text_of(pilot, "#command"), "the form")
        assert form.query_one("#recipe", ChoiceField).value == "qlora-hqq4"
        assert "--max-length 1024" in text_of(pilot, "#command")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, PlanScreen)


async def test_help_and_palette_have_its_keys(console: Opened) -> None:
    async with console() as pilot:
        await opened(pilot, "question_mark")
        assert "The next budget" in text_of(pilot, "#help") and "New training run with the selected" in text_of(
            pilot, "#help"
        )


async def test_without_a_gpu_the_plan_is_for_the_host(console: Opened) -> None:
    async with console(scene(with_gpu=False)) as pilot:
        await opened(pilot)
        assert "host memory" in text_of(pilot, "#asked") and f"± {SPREAD_ON_CPU * 100:.0f} %" in text_of(
            pilot, "#asked"
        )


@pytest.mark.parametrize("size", [(80, 24), (60, 16), (200, 60)])
async def test_it_fits_any_size(console: Opened, size: tuple[int, int]) -> None:
    async with console(size=size) as pilot:
        await opened(pilot)
        assert "Qwen3-4B" in text_of(pilot, "#plan-table") and "esc back" in keys_of(pilot)
        assert all(len(line) <= size[0] for line in text_of(pilot).splitlines())
