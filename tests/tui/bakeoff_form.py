"""The form of a bake-off in the tests: opened by its key, ticked by keys, and waited for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from textual.pilot import Pilot

from core.store.database import open_database
from core.store.jobs import list_jobs
from tests.support.kitchen import Kitchen
from tests.support.ollama_standin import OllamaStandin
from tests.tui.conftest import seen
from tests.tui.scene import scene
from tui.app import ConsoleApp
from tui.screens.new_bakeoff import NewBakeoff

Form = tuple[Pilot[None], NewBakeoff]


@pytest.fixture(autouse=True)
def no_server(kitchen: Kitchen) -> None:
    """Nobody listens where Ollama is expected, whatever runs on the machine of the tests."""
    settings = kitchen.root.parent / "config/bakehouse/settings.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("ollama: {url: 'http://127.0.0.1:1'}\n")


@contextlib.asynccontextmanager
async def console(kitchen: Kitchen, size: tuple[int, int] = (120, 40), **changes: Any) -> AsyncIterator[Pilot[None]]:
    app = ConsoleApp(kitchen.home, lambda: kitchen.project, live=False)
    async with app.run_test(size=size) as pilot:
        app.show(scene(**{"jobs": (), **changes}))
        await pilot.pause()
        yield pilot


@contextlib.asynccontextmanager
async def form(kitchen: Kitchen, size: tuple[int, int] = (120, 40), **changes: Any) -> AsyncIterator[Form]:
    async with console(kitchen, size, **changes) as pilot:
        await pilot.press("B")
        screen = await read(pilot)
        await seen(pilot, lambda: "ollama" in screen.servers, "what the server says")
        yield pilot, screen


async def read(pilot: Pilot[None]) -> NewBakeoff:
    screen = pilot.app.screen
    assert isinstance(screen, NewBakeoff)
    await seen(pilot, lambda: screen.offers is not None, "the project")
    return screen


async def tick(pilot: Pilot[None], screen: NewBakeoff, *keys: str) -> None:
    """Tick by hand: go to the row, press space."""
    for key in keys:
        where = screen.task_list if any(row.key == key for row in screen.task_list.rows) else screen.candidate_list
        where.focus()
        await pilot.pause()
        await pilot.press("g")
        for _ in where.rows:
            if where.selected == key:
                break
            await pilot.press("j")
        assert where.selected == key
        await pilot.press("space")


async def looked(pilot: Pilot[None], screen: NewBakeoff) -> None:
    await seen(pilot, lambda: screen.current is not None, "what it comes to")
    await pilot.pause()


def queued(kitchen: Kitchen) -> list[int]:
    with contextlib.closing(open_database(kitchen.home)) as connection:
        return [row.id for row in list_jobs(connection)]


@pytest.fixture
def server(kitchen: Kitchen, no_server: None) -> Iterator[OllamaStandin]:
    with OllamaStandin(load_seconds=0.01) as server:
        server.add_model("planner")
        server.add_model("judge:v1")
        (kitchen.root.parent / "config/bakehouse/settings.yaml").write_text(f"ollama: {{url: '{server.url}'}}\n")
        yield server
