from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from core.config.project import shipped
from core.home import Home
from tests.support.waiting import PATIENCE_SECONDS
from tests.tui.scene import scene
from tui.app import ConsoleApp
from tui.model.snapshot import Snapshot
from tui.theme import DARK
from tui.widgets.canvas import Canvas


@pytest.fixture(autouse=True)
def colours_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine the tests run on shows."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


Opened = Callable[..., contextlib.AbstractAsyncContextManager[Pilot[None]]]


@pytest.fixture
def console(tmp_path: Path) -> Opened:
    """Opens a console on an invented moment, without threads: `async with console(snapshot, size=(80, 24)) as pilot`."""

    @contextlib.asynccontextmanager
    async def opened(snapshot: Snapshot | None = None, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Pilot[None]]:
        app = ConsoleApp(Home(tmp_path / "home").create(), shipped, live=False)
        app.theme = DARK.name
        async with app.run_test(size=size) as pilot:
            app.show(snapshot or scene())
            await pilot.pause()
            yield pilot

    return opened


def text_of(pilot: Pilot[None], selector: str = "Canvas") -> str:
    """What one reads on the widgets of the screen on top."""
    return "\n".join(widget.text for widget in pilot.app.screen.query(selector).results(Canvas) if widget.display)


def keys_of(pilot: Pilot[None]) -> str:
    """The last line."""
    return text_of(pilot, "#keys")


async def seen(
    pilot: Pilot[None], condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait until something is so; fail with what stands on the screen when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not seen within {seconds} s: {what}\n{text_of(pilot)}")
        await pilot.pause(0.02)
