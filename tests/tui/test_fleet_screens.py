"""What holds for all screens of the fleet: room at every size, names of others as text, and what two versions differ in."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from textual.pilot import Pilot

from core.fleet.version_diff import VersionDiff, VersionSide
from core.text import printable
from tests.support.hostile import NAME
from tests.tui.conftest import Opened, keys_of, text_of
from tests.tui.fleet_scene import fleet, version
from tests.tui.test_any_size import HEIGHTS
from tests.tui.test_fleet import moment
from tests.tui.test_fleet_adopt import found
from tests.tui.test_fleet_adopt import opened as adopt_opened
from tests.tui.test_fleet_challenge import opened as challenge_opened
from tests.tui.test_fleet_promotion import looked_at
from tests.tui.test_hostile_names import rows_of
from tui.screens.start_ship import AskShip
from tui.screens.version_diff import VersionDiffScreen
from tui.widgets.canvas import Canvas

WIDTHS = (0, 1, 3, 5, 12, 20, 33, 62, 120)


def differing() -> VersionDiff:
    """Of `vault-judge`: another model, another size, texts that nobody kept."""
    first = fleet().rows[0]
    old = version(2, 1, size_bytes=8_500_000_000, model=f"Qwen2.5-7B {NAME}")
    return VersionDiff(first.alias, VersionSide(old, first.lineage), VersionSide(version(3, 1), first.lineage))


async def diff_opened(pilot: Pilot[None]) -> None:
    await pilot.press("1", "V")
    screen = pilot.app.screen
    assert isinstance(screen, VersionDiffScreen)
    screen.post_message(screen.DiffRead(differing(), (1, 2, 3)))
    await pilot.pause()


async def adopting(pilot: Pilot[None]) -> None:
    serving = found()
    names = tuple(replace(one, name=f"{one.name}{NAME}") for one in serving.found)
    await adopt_opened(pilot, replace(serving, found=names))


async def promoting(pilot: Pilot[None]) -> None:
    screen = await looked_at(pilot, "cannot_tell")
    screen.post_message(screen.EvidenceRead("job:61", screen.evidence, problem=f"said {NAME}"))
    await pilot.pause()


@pytest.mark.parametrize("open_screen", [adopting, promoting, challenge_opened, diff_opened])
async def test_each_has_room_at_every_size_and_shows_names_as_text(
    console: Opened, open_screen: Callable[[Pilot[None]], Awaitable[object]]
) -> None:
    async with console(moment()) as pilot:
        await open_screen(pilot)
        assert all(printable(line) == line for line in rows_of(pilot))
        parts = [part for part in pilot.app.screen.query(Canvas) if type(part) is not Canvas]
        assert parts
        for part, width, height in itertools.product(parts, WIDTHS, HEIGHTS):
            assert all(line.width >= 0 for line in part.draw(width, height))


async def test_two_versions_and_another_older_one_by_its_key(console: Opened) -> None:
    async with console(moment()) as pilot:
        await diff_opened(pilot)
        shown = text_of(pilot, "#rows")
        assert "version 2" in shown and "→ version 3" in shown and "8.5 GB → 4.3 GB" in shown and "the same" in shown
        screen = pilot.app.screen
        assert isinstance(screen, VersionDiffScreen) and "older, newer" in keys_of(pilot)
        await pilot.press("l")
        assert (screen.older, screen.found) == (1, None), "the present one is never held against itself"
        screen.post_message(screen.DiffRead(None, problem="database is locked"))
        await pilot.pause()
        assert "database is locked" in text_of(pilot, "#rows") and "older, newer" in keys_of(pilot)
        await pilot.press("l")
        assert "reading both" in text_of(pilot, "#rows"), "a failure is not the end"


async def test_a_ship_from_the_fleet_begins_as_what_serves_was_made(console: Opened) -> None:
    async with console(moment()) as pilot:
        await pilot.press("1", "j", "s")
        dialog = pilot.app.screen
        assert isinstance(dialog, AskShip)
        assert {name: dialog.values[name] for name in ("task", "model", "recipe")} == {
            "task": "planner",
            "model": "Qwen3-4B",
            "recipe": "lora-bf16",
        }
