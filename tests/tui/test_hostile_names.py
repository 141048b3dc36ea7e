"""The console with hostile names in everything it is told: its screens show text, and nothing of it speaks to the terminal."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from textual.pilot import Pilot

from core.gpu_lease.notes import Note
from core.gpu_lease.state import LeaseState, ResidentModel
from core.reasons import Reason
from core.text import printable
from tests.support.hostile import NAME, assert_only_printed
from tests.tui.conftest import Opened
from tests.tui.scene import NOW, scene
from tui.screens.confirm import Confirm

NAMES = {
    *(
        "title",
        "task",
        "name",
        "message",
        "headline",
        "text",
        "detail",
        "project",
        "host",
        "budget",
        "reason",
        "author",
    ),
    *("server", "server_problem", "user", "command", "source", "problem", "phase", "lines", "notes", "architecture"),
}
"""The fields of a snapshot whose text is written by others."""


def spoiled(value: Any, name: str = "") -> Any:
    """The value with a hostile name behind each text of others in it."""
    if isinstance(value, str):
        return f"{value} {NAME}" if name in NAMES else value
    if isinstance(value, tuple):
        return tuple(spoiled(item, name) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{one.name: spoiled(getattr(value, one.name), one.name) for one in fields(value) if one.init}
        )
    return value


def rows_of(pilot: Pilot[None]) -> list[str]:
    """What stands on the screen, row by row, as it is sent to the terminal."""
    strips = pilot.app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip) for strip in strips]


HELD = Reason("held_by_program", {"name": NAME, "pid": 4711, "user": NAME, "held_bytes": 9_000_000_000})
SAID = Reason(NAME, {"name": NAME})
"""A code that no version knows is shown as it is, so it is text of others, too."""
LEASE = LeaseState(
    NOW,
    phase="blocked",
    status=SAID,
    server=NAME,
    server_fault=SAID,
    remedy=SAID,
    residents=(ResidentModel(NAME, 5_000_000_000),),
    evicted=(NAME,),
    served=(ResidentModel(NAME, 2_000_000_000),),
    served_away=(NAME,),
    notes=(Note(NOW, SAID, "bad"),),
)


@pytest.mark.parametrize(
    "keys", [(), ("1",), ("2",), ("2", "z"), ("3",), ("3", "enter"), ("4",), ("4", "z"), ("question_mark",)]
)
@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_no_screen_lets_a_name_speak_to_the_terminal(
    console: Opened, keys: tuple[str, ...], size: tuple[int, int]
) -> None:
    async with console(spoiled(scene(lease_state=LEASE)), size=size) as pilot:
        for key in keys:
            await pilot.press(key)
        await pilot.pause()
        rows = rows_of(pilot)
        for row in rows:
            assert printable(row) == row
        assert "gnp.exe" in "\n".join(rows) or keys == ("question_mark",), "the names are shown, as text"
        assert_only_printed(max(rows, key=len))


async def test_a_question_and_a_notice_are_text(console: Opened) -> None:
    async with console(size=(120, 40)) as pilot:
        pilot.app.push_screen(Confirm(f"Cancel {NAME}?", NAME, "Cancel it"))
        await pilot.pause()
        rows = rows_of(pilot)
        assert "gnp.exe" in "\n".join(rows)
        for row in rows:
            assert printable(row) == row
