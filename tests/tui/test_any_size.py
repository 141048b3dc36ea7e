"""Whatever a screen is put together from can be drawn at every size: a terminal is resized to whatever somebody drags it to."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from tests.tui.conftest import Opened
from tests.tui.test_chain import failed
from tests.tui.test_served import moment as fleet
from tui.widgets.canvas import Canvas

WIDTHS = (*range(34), 40, 52, 80, 160, 400)
HEIGHTS = (0, 1, 2, 3, 4, 5, 7, 11, 60)


@pytest.mark.parametrize(
    "keys", [[], ["1"], ["2"], ["3"], ["n"], ["p"], ["d"], ["question_mark"], ["enter"], ["3", "enter"]]
)
async def test_every_part_is_drawn_at_every_size(console: Opened, keys: list[str]) -> None:
    async with console() as pilot:
        await pilot.press(*keys)
        await pilot.pause()
        parts = [part for part in pilot.app.screen.query(Canvas) if type(part) is not Canvas]
        assert parts
        for part, width, height in itertools.product(parts, WIDTHS, HEIGHTS):
            assert all(line.width >= 0 for line in part.draw(width, height))


@pytest.mark.parametrize("keys", [["1"], ["1", "enter"], ["3", "enter"], ["3", "enter", "s"], ["y"]])
async def test_chains_and_what_serves_are_drawn_at_every_size(console: Opened, keys: list[str]) -> None:
    made = failed()
    shown = replace(fleet(), jobs=tuple(link.job for link in made.links), chains=(made,), detail=None)
    async with console(shown) as pilot:
        await pilot.press(*keys)
        await pilot.pause()
        parts = [part for part in pilot.app.screen.query(Canvas) if type(part) is not Canvas]
        assert parts
        for part, width, height in itertools.product(parts, WIDTHS, HEIGHTS):
            assert all(line.width >= 0 for line in part.draw(width, height))
