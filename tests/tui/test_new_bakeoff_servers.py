"""The form of a bake-off beside servers that stall, go and come back: it takes keys all the while."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from core.submission import asked_servers, bakeoff
from tests.support.kitchen import Kitchen, kitchen
from tests.support.ollama_standin import OllamaStandin
from tests.tui.bakeoff_form import console, form, looked, no_server, queued, read, server, tick
from tests.tui.conftest import seen, text_of
from tui.screens.dashboard import Dashboard

__all__ = ["kitchen", "no_server", "server"]


async def test_a_server_that_stalls_holds_no_key_up(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_servers, "SECONDS_FOR_A_SERVER", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        kitchen.write("bakehouse.yaml", f"id: kitchen\nservers: {{lab: {{api: openai, url: '{address}'}}}}\n")
        async with console(kitchen) as pilot:
            await pilot.press("B")
            screen = await read(pilot)
            await tick(pilot, screen, "bread")
            await pilot.press("+", *"lab:m")
            await seen(pilot, lambda: "checking …" in text_of(pilot, "#note-add"), "that it is looked at")
            await tick(pilot, screen, "plain")
            assert screen.choices.candidates == ["plain"], "ticked while the server is waited for"
            screen.fields.text("add").focus()
            await seen(pilot, lambda: "✓" in text_of(pilot, "#note-add"), "that nothing is known against it")
            await pilot.press("enter")
            await looked(pilot, screen)
            assert screen.valid
            assert screen.wanted.candidates == ("plain", "lab:m")
            assert "lab was not asked what it can do" in text_of(pilot, "#outlook")


async def test_a_server_that_is_back_is_asked_again(kitchen: Kitchen, server: OllamaStandin) -> None:
    async with form(kitchen) as (pilot, screen):
        server.down()
        await tick(pilot, screen, "bread", "served:planner")
        screen.choices.add("served:planner@think=on")
        screen._changed()
        await looked(pilot, screen)
        assert screen.valid, "the job asks it"
        server.up()
        await pilot.press("f5")
        await seen(pilot, lambda: not screen.valid, "what the server says now")
        await looked(pilot, screen)
        assert "cannot think" in text_of(pilot, "#outlook")


async def test_the_form_goes_when_it_is_queued_whatever_is_open_over_it(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is slow to answer leaves time to read the help."""
    answered = threading.Event()
    keep = bakeoff.store

    def store(*args: Any, **more: Any) -> Any:
        answered.wait()
        return keep(*args, **more)

    monkeypatch.setattr(bakeoff, "store", store)
    async with form(kitchen) as (pilot, screen):
        await tick(pilot, screen, "bread", "plain")
        await looked(pilot, screen)
        await pilot.press("enter")
        await pilot.pause()
        assert "queueing" in text_of(pilot, "#command")
        await pilot.press("f1")
        assert pilot.app.screen is not screen
        answered.set()
        await seen(pilot, lambda: isinstance(pilot.app.screen, Dashboard), "the dashboard")
    assert len(queued(kitchen)) == 1
