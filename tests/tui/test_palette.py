"""The palette lists every command: what cannot be done now is dimmed, with why not and when it could be."""

from __future__ import annotations

import pytest
from textual.command import DiscoveryHit, Hit, Hits

from tests.tui.conftest import Opened, seen
from tests.tui.scene import NOW, job, scene
from tui.commands import Command
from tui.screens.command_screen import CommandScreen, ConsolePalette, Palette
from tui.screens.confirm import Confirm


async def listed(hits: Hits) -> list[str]:
    """The rows, the best first."""
    found = [hit async for hit in hits]
    assert all(isinstance(hit, Hit | DiscoveryHit) for hit in found)
    if all(isinstance(hit, Hit) for hit in found):
        found.sort(key=lambda hit: -hit.score)
    return [str(hit.prompt) for hit in found]


@pytest.mark.parametrize(
    ("typed", "first", "why"),
    [
        ("retry", "Retry the job from its last checkpoint", "Only a job that ended without a result can be retried."),
        ("release", "Release the held job", "is not held."),
        ("resume", "Resume the queue", "The queue is not paused."),
        ("earl", "Move the waiting job up", "Only a waiting job can be moved."),
        ("kill", "Force-kill a job", "Only a job that was asked to stop can be force-killed."),
        ("all pan", "Show all panes again", "All panes are shown already."),
    ],
)
async def test_what_does_not_apply_is_found_with_its_reason(console: Opened, typed: str, first: str, why: str) -> None:
    async with console() as pilot:  # job 42, which runs, is selected
        palette = Palette(pilot.app.screen)
        row = (await listed(palette.search(typed)))[0]
        assert row.startswith(first) and why in row


@pytest.mark.parametrize(
    ("typed", "first"),
    [("hold", "Hold the job"), ("canc", "Cancel the job"), ("filt", "Filter jobs"), ("bake", "Bake-off")],
)
async def test_a_command_is_found_by_its_name_first(console: Opened, typed: str, first: str) -> None:
    async with console() as pilot:
        rows = await listed(Palette(pilot.app.screen).search(typed))
        assert rows[0].startswith(first) and "\n" not in rows[0]


async def test_hold_is_found_when_it_does_not_apply(console: Opened) -> None:
    ended = job(3, "failed", "train judge · b", ended_at=NOW)
    async with console(scene(jobs=(ended,), counts={"failed": 1})) as pilot:
        rows = await listed(Palette(pilot.app.screen).search("hold"))
        assert rows[0].startswith("Hold the job") and "Job 3 has failed." in rows[0]


async def test_every_command_is_listed_once_those_that_apply_first(console: Opened) -> None:
    async with console() as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, CommandScreen)
        rows = await listed(Palette(screen).discover())
        wanted = {item.entry for item in screen.commands if item.palette}
        assert {row.partition("\n")[0] for row in rows} == wanted and len(rows) == len(wanted)
        applies = ["\n" not in row for row in rows]
        assert applies == sorted(applies, reverse=True)
        silent = [
            item
            for item in screen.impossible()
            if item.palette and item.why_not(screen) == Command("", "").why_not(screen)
        ]
        assert silent == [], "each says why in its own words"


async def test_what_does_not_apply_says_so_and_does_nothing(console: Opened) -> None:
    async with console() as pilot:
        asked = [hit async for hit in Palette(pilot.app.screen).search("retry")]
        best = max((hit for hit in asked if isinstance(hit, Hit)), key=lambda hit: hit.score)
        before = pilot.app.screen
        best.command()
        await seen(pilot, lambda: pilot.app._notifications, "the reason")
        (said,) = pilot.app._notifications
        assert "retry: Job 42 is running." in said.message
        assert pilot.app.screen is before and not isinstance(before, Confirm)


@pytest.mark.parametrize("height", [1, 2, 3, 4])
@pytest.mark.parametrize("key", ["pagedown", "pageup", "down"])
async def test_pages_of_a_list_that_has_no_room_are_no_crash(console: Opened, height: int, key: str) -> None:
    async with console(size=(80, height)) as pilot:
        await pilot.press("colon")
        await seen(pilot, lambda: isinstance(pilot.app.screen, ConsolePalette), "the palette")
        for _ in range(3):
            await pilot.press("down", key)
        await pilot.press("escape")
