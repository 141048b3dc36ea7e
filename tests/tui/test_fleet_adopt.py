"""Adopting by keys: what serves is ticked, each with a task that can be changed, and a bake-off is offered afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from core.config.project import shipped
from core.fleet.adoptable import Adoptable, WhatServes
from core.fleet.adopting import Adoption
from core.fleet.lineage import VersionLineage
from core.home import Home
from core.reasons import Reason
from core.store.fleet import LLAMA_SERVER, Target
from tests.support.waiting import PATIENCE_SECONDS
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.fleet_scene import URL, alias, version
from tests.tui.test_fleet import moment
from tui.app import ConsoleApp
from tui.screens.adopt import AdoptScreen
from tui.screens.confirm import Confirm
from tui.screens.new_bakeoff import NewBakeoff
from tui.theme import DARK

Compare = Callable[..., bool]
TASKS = ("judge", "planner", "seeder")


def found() -> WhatServes:
    """One that the name gives a task, one that a deployment does, one of which nothing is known, one that does its task."""
    judge = Adoptable(
        "ollama",
        URL,
        "vault-judge",
        Target("vault-judge", "d1" * 32, server_version="0.24.0", size_bytes=4_300_000_000),
        family="qwen3",
        parameter_size="4.0B",
        quantization="Q8_0",
        proposed_task="judge",
        proposed_by="name",
    )
    made = VersionLineage("Qwen3-4B", "lora-bf16", "plans.jsonl", None, 42, 61)
    planner = replace(judge, name="vault-planner", lineage=made, proposed_task="planner", proposed_by="deployment")
    stray = replace(
        judge, name="qwen3:8b", proposed_task=None, fault=Reason("server_slow", {"url": URL, "seconds": 5.0})
    )
    present = version(1, 8)
    note = Adoptable(
        LLAMA_SERVER,
        "",
        "note-12",
        Target("note-12", present.digest),
        alias=alias(8, "note-12", present, LLAMA_SERVER),
        is_current=True,
        tasks=("note",),
    )
    return WhatServes((judge, planner, stray, note), {"other": Reason("server_down", {"url": "http://10.0.0.9:11434"})})


async def opened(pilot: Pilot[None], serving: WhatServes) -> AdoptScreen:
    await pilot.press("1", "A")
    screen = pilot.app.screen
    assert isinstance(screen, AdoptScreen)
    screen.post_message(screen.ServingRead(serving, TASKS))
    await pilot.pause()
    return screen


async def test_what_is_ticked_is_adopted_with_its_task_and_a_bake_off_is_offered(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []
    async with console(moment()) as pilot:
        screen = await opened(pilot, found())
        shown = text_of(pilot, "#found")
        assert "→ judge (guessed)" in shown and "→ planner" in shown and "→ no task" in shown
        assert "in the fleet: does note" in shown
        assert "other: nobody answers at its server" in text_of(pilot, "#known"), "a server that was silent is named"
        await pilot.press("j")
        assert "deployed by job 61: recipe lora-bf16, data plans.jsonl" in text_of(pilot, "#known")
        await pilot.press("j", "l")
        assert "The task judge can have one alias" in text_of(pilot, "#known") and "⏎ adopt" not in keys_of(pilot)
        await pilot.press("l", "l", "k", "space")
        assert [(one.name, screen.given[one.reference]) for one in screen.wanted] == [
            ("vault-judge", "judge"),
            ("qwen3:8b", "seeder"),
        ]
        refused = Reason("task_moved", {"task": "seeder", "alias": "other", "author": "ben@box, console", "at": None})

        def adopt(wanted: list[tuple[Adoptable, str | None]]) -> AdoptScreen.AdoptionsDone:
            asked.extend((one.name, task) for one, task in wanted)
            return screen.AdoptionsDone([Adoption(*wanted[0]), Adoption(*wanted[1], refused=refused)])

        monkeypatch.setattr(screen, "_adopt", adopt)
        monkeypatch.setattr(screen, "_read", lambda: screen.ServingRead(found(), TASKS))
        await pilot.press("enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Confirm), "the offer of a bake-off")
        assert asked == [("vault-judge", "judge"), ("qwen3:8b", "seeder")]
        assert "seeder" in screen.refused["ollama:qwen3:8b"] and screen.ticked == {"ollama:qwen3:8b"}
        await pilot.press("y")
        form = pilot.app.screen
        assert isinstance(form, NewBakeoff)
        assert (form.begun.tasks, form.begun.candidates) == (["judge"], ["ollama:vault-judge"])


async def test_what_was_asked_for_is_told_though_the_screen_was_left(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()
    refused = Reason("task_moved", {"task": "judge", "alias": "other", "author": "ben@box, console", "at": None})
    async with console(moment()) as pilot:
        screen = await opened(pilot, found())
        await pilot.press("G")
        assert "h l task" not in keys_of(pilot), "what does a task already has it"

        def adopt(wanted: list[tuple[Adoptable, str | None]]) -> AdoptScreen.AdoptionsDone:
            may_end.wait(PATIENCE_SECONDS)
            return screen.AdoptionsDone([Adoption(*wanted[0], refused=refused), Adoption(*wanted[1])])

        monkeypatch.setattr(screen, "_adopt", adopt)
        await pilot.press("enter", "escape")
        may_end.set()
        await seen(pilot, lambda: pilot.app._notifications, "the end")
        (said,) = (one.message for one in pilot.app._notifications)
        assert "vault-judge: The task judge has the alias other" in said and "1 model taken into the fleet" in said


async def test_servers_that_cannot_be_asked_are_not_empty(console: Opened) -> None:
    async with console(moment()) as pilot:
        await pilot.press("1", "A")
        screen = pilot.app.screen
        assert isinstance(screen, AdoptScreen)
        screen.post_message(screen.ServingRead(None, problem="database is locked"))
        await pilot.pause()
        assert "what serves is not known" in text_of(pilot, "#found")
        assert "database is locked" in text_of(pilot, "#known")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
def test_the_look_of_an_adoption(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    app = ConsoleApp(Home(tmp_path / "home").create(), shipped, live=False)
    app.theme = DARK.name
    app.context.snapshot = moment()

    async def shown(pilot: Pilot[None]) -> None:
        await opened(pilot, found())
        await pilot.press("j")

    assert snap_compare(app, run_before=shown, terminal_size=size)
