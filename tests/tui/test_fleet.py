"""The fleet: is what serves well? A row a task with what to look at, the strip below it, and a screen for each task."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.aliases.observing import Observed
from core.config.project import shipped
from core.errors import InputError
from core.fleet.promotion import Foreign
from core.home import Home
from core.store.fleet import LLAMA_SERVER, Target
from core.text import printable
from tests.support.hostile import NAME
from tests.support.stored_fleet import StoredFleet
from tests.support.waiting import wait_until
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.fleet_scene import fleet, row
from tests.tui.scene import scene
from tests.tui.test_hostile_names import rows_of
from tests.tui.test_served import LEASE, served
from tui import fleet_requests
from tui.app import ConsoleApp
from tui.model.fleet_reader import FleetNow, FleetReader
from tui.model.snapshot import Snapshot
from tui.screens.confirm import Confirm
from tui.screens.fleet_actions import can_roll_back, why_no_rollback
from tui.screens.fleet_task import FleetTaskScreen
from tui.screens.new_bakeoff import NewBakeoff
from tui.screens.results import Results
from tui.screens.served import ServedScreen
from tui.screens.start_parity import AskParity
from tui.theme import DARK
from tui.widgets.canvas import Canvas

Compare = Callable[..., bool]
SIZES = [(120, 40), (80, 24)]
ANALYST = "analyst-smollm2-135m-9"


def moment(found: FleetNow | None = None, **changes: object) -> Snapshot:
    models = (served(ANALYST, "serving", size=145_000_000), served("other-2", "stopped"))
    return scene(**{"fleet": found or fleet(), "lease_state": LEASE, "served": models, **changes})


@pytest.mark.parametrize("size", SIZES, ids=["120x40", "80x24"])
async def test_each_task_says_what_serves_it_how_well_and_what_to_look_at(
    console: Opened, size: tuple[int, int]
) -> None:
    async with console(moment(), size=size) as pilot:
        await pilot.press("1")
        shown = {line.split()[2]: line for line in text_of(pilot, "#fleet").splitlines() if len(line.split()) > 3}
        assert "2.10→4.92 8.5→4.3" in shown["judge"] and "3 Nov" in shown["judge"]
        assert "4.60→4.31" in shown["planner"] and "▲ stale" in shown["planner"]
        for task, mark in {
            "quizzer": "▼ drift",
            "reflector": "▲ changed",
            "spacer": "▷ promoting",
            "summarizer": "◇ train 40 %",
        }.items():
            assert mark in shown[task], f"the answer of {task} is not lost"
        assert shown["seeder"].split()[3:5] == ["qwen3:8b", "—"], "what nobody measured has no score"
        assert "▶ analyst" in shown["analyst"] and "0.14" in shown["analyst"]


async def test_below_the_tasks_stand_free_aliases_what_serves_beside_and_tasks_without_an_alias(
    console: Opened,
) -> None:
    few = FleetNow(fleet().rows[1:2] + fleet().rows[-1:])
    async with console(moment(few)) as pilot:
        await pilot.press("1", "z")
        lines = [line.strip("│ ") for line in text_of(pilot, "#fleet").splitlines()]
        heads = [lines.index(one) for one in ("aliases without a task", "serving, no alias: A adopts")]
        assert lines[heads[0] + 1].startswith("◌ —       vault-embed")
        assert lines[heads[1] + 1].startswith(f"▶ {ANALYST}") and lines[heads[1] + 3].startswith("▶ vault-judge:v1")
        (best,) = (number for number, line in enumerate(lines) if "best, of 5" in line)
        assert heads[0] < heads[1] < best and "judge " in lines[best + 1] and "4.92" in lines[best + 1]
        assert not any(line.startswith("planner") for line in lines[best:]), "a task of the fleet stands once"
        await pilot.press("escape", "G", "k", "enter")
        assert isinstance(pilot.app.screen, Results), "a leaderboard below the fleet opens as before"


async def test_the_strip_tells_all_of_the_selected_task_and_gives_way_to_the_job(console: Opened) -> None:
    async with console(moment()) as pilot:
        await pilot.press("1", "j")
        strip = text_of(pilot, "#detail")
        for words in (
            "planner · vault-planner on ollama 0.25.1",
            "not loaded until a client asks",
            "version 3, promoted 3 Nov 14:37 · Qwen3-4B · 4.3 GB",
            "format 4.31/5 · content 4.20/5 · 36 inputs, bake-off 41",
            "recipe lora-bf16 · data judge.jsonl · training 42",
            "stale: changed since bake-off 41",
        ):
            assert words in strip
        await pilot.press("3")
        assert "42  train judge" in text_of(pilot, "#detail")


async def test_keys_of_a_task_are_about_what_serves_it(console: Opened) -> None:
    async with console(moment()) as pilot:
        await pilot.press("1", *"jjjjjjj")
        assert "x stop" in keys_of(pilot) and "a start" not in keys_of(pilot), "a served model keeps its keys"
        await pilot.press("y")
        screen = pilot.app.screen
        assert isinstance(screen, AskParity)
        assert screen.values == {"of": f"served:{ANALYST}", "task": "analyst", "model": "SmolLM2-135M"}
        await pilot.press("escape", "g", "b")
        form = pilot.app.screen
        assert isinstance(form, NewBakeoff)
        assert (form.begun.tasks, form.begun.candidates) == (["judge"], ["Qwen3-4B", "ollama:vault-judge"])
        await pilot.press("escape")
        pilot.app.show(moment(replace(fleet(), rows=(row(20, "asker", "vault-asker"), *fleet().rows))))  # type: ignore[attr-defined]
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, FleetTaskScreen) and "judge · vault-judge" in text_of(pilot, "#facts")


@pytest.mark.parametrize("server", ["ollama", LLAMA_SERVER])
async def test_a_task_s_screen_has_its_versions_and_its_history(console: Opened, tmp_path: Path, server: str) -> None:
    stored = StoredFleet(tmp_path)
    alias = stored.alias("vault-judge", server=server)
    stored.becomes(alias, Target("vault-judge-7b", "d1" * 32, size_bytes=4_700_000_000, model="Qwen2.5-7B"))
    stored.becomes(alias, Target("new", "d2" * 32), "promote", origin="promoted", task="judge", override="too slow")
    async with console(moment()) as pilot:
        await pilot.press("1", "enter")
        screen = pilot.app.screen
        assert isinstance(screen, FleetTaskScreen) and "reading the history" in text_of(pilot, "#rows")
        screen.context.home = stored.home
        screen.key = (alias.id, "vault", "judge")
        screen.post_message(screen._read())
        await pilot.pause()
        shown = text_of(pilot, "#rows")
        assert shown.index("2  ") < shown.index("1  ") and "Qwen2.5-7B" in shown and "model unknown" in shown
        said = " ".join(shown.replace("│", " ").split())
        assert "vault-judge became version 2" in said and "asked by anna@box (command)" in said
        assert "overridden: too slow" in said and said.index("became version 2") < said.index("was taken in as it was")


async def test_a_served_alias_leads_on_to_its_log(console: Opened) -> None:
    async with console(moment()) as pilot:
        await pilot.press("1", *"jjjjjjj", "enter", "o")
        assert isinstance(pilot.app.screen, ServedScreen) and pilot.app.screen.name_of == ANALYST


async def test_names_of_others_are_text_and_every_size_has_room(console: Opened) -> None:
    rows = tuple(
        replace(one, task=one.task and f"{one.task}{NAME}", alias=replace(one.alias, name=f"{one.alias.name}{NAME}"))
        for one in fleet().rows
    )
    async with console(moment(FleetNow(rows))) as pilot:
        for keys in ((), ("1",), ("z",), ("G",), ("g", "enter")):
            await pilot.press(*keys)
            await pilot.pause()
            assert all(printable(line) == line for line in rows_of(pilot))
            for part, width, height in itertools.product(
                pilot.app.screen.query(Canvas), (0, 1, 20, 56, 92), (0, 1, 3, 30)
            ):
                assert type(part) is Canvas or all(line.width >= 0 for line in part.draw(width, height))


def test_the_reader_follows_the_store(tmp_path: Path) -> None:
    stored = StoredFleet(tmp_path)
    alias = stored.alias("vault-judge")
    stored.assign("judge", alias)
    told: list[FleetNow | None] = []
    reader = FleetReader(stored.home, lambda: told.append(reader.found))
    reader.start()
    try:
        wait_until(
            lambda: told and told[-1] and [one.task for one in told[-1].rows] == ["judge"], what="the first look"
        )
        asked = stored.asked(alias, Target("new", "d2" * 32), "promote")
        reader.data_changed()
        wait_until(lambda: told[-1] and told[-1].rows[0].change, what="the open move")
        assert reader.found is not None and [one.change for one in reader.found.rows] == [asked]
    finally:
        reader.stop()
        reader.join()


def pictured(tmp_path: Path) -> ConsoleApp:
    app = ConsoleApp(Home(tmp_path / "home").create(), shipped, live=False)
    app.theme = DARK.name
    app.context.snapshot = moment()
    return app


@pytest.mark.parametrize("size", SIZES, ids=["120x40", "80x24"])
def test_the_look_of_the_fleet(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    assert snap_compare(pictured(tmp_path), press=["1", "j"], terminal_size=size)


async def test_a_rollback_says_what_comes_back_and_is_asked_for_once(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    monkeypatch.setattr(fleet_requests, "roll_back", lambda context, row: asked.append(row.task))
    monkeypatch.setattr(fleet_requests, "check_for_drift", lambda context, row: asked.append(f"drift {row.task}"))
    async with console(moment()) as pilot:
        await pilot.press("1")
        assert "R roll back" in keys_of(pilot) and "Y drift" in keys_of(pilot)
        await pilot.press("R")
        question = pilot.app.screen
        assert isinstance(question, Confirm) and question.question == "Roll back vault-judge?"
        assert "version 2 comes back: Qwen2.5-7B, 8.5 GB" in question.explanation
        assert "copied from vault-judge:bakehouse-2, and nothing is built again" in question.explanation
        await pilot.press("escape", "Y")
        assert asked == ["drift judge"], "the safe answer does nothing"
        await pilot.press("j", "j", "j", "R")
        question = pilot.app.screen
        assert isinstance(question, Confirm) and "What somebody else put there is kept" in question.explanation
        await pilot.press("y")
        assert asked[1:] == ["reflector"]
        await pilot.press("j", "R")
        assert "roll back" not in keys_of(pilot) and len(asked) == 2, "spacer is being moved"
        await pilot.press("1", "G", "Y")
        assert len(asked) == 2, "an alias without a task has nothing to be held to"


def test_a_version_that_took_nothing_s_place_is_not_rolled_back_also_where_another_stood_before_it() -> None:
    judge = fleet().rows[0]
    assert judge.before is not None and can_roll_back(SimpleNamespace(fleet_row=judge))
    first = SimpleNamespace(fleet_row=replace(judge, back=None))
    assert not can_roll_back(first) and "nothing to go back to" in why_no_rollback(first)


async def test_an_alias_that_somebody_removed_comes_back_as_it_was(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []

    def rolled_back(home: Home, alias: object, **given: object) -> None:
        asked.append(given)
        raise InputError("this is as far as the test goes")

    gone = Foreign(is_missing=True)
    monkeypatch.setattr("core.fleet.promotion.foreign_change", lambda *told: gone)
    monkeypatch.setattr("core.fleet.promotion.rollback", rolled_back)
    rows = tuple(replace(one, observed=Observed(1.0)) if one.task == "reflector" else one for one in fleet().rows)
    async with console(moment(FleetNow(rows))) as pilot:
        await pilot.press("1", "j", "j", "j", "R")
        question = pilot.app.screen
        assert isinstance(question, Confirm) and "nothing is there now" in question.explanation
        await pilot.press("y")
        await seen(pilot, lambda: asked, "the rollback")
    assert (asked[0]["foreign"], asked[0]["task"]) == (gone, "reflector")
