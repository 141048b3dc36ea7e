"""Keys that arrive in a burst are not lost, whatever the console is doing, and each reaches what the one before it opened."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from core.config.project import Project, shipped
from core.home import Home
from tests.support.waiting import PATIENCE_SECONDS
from tests.tui.conftest import Opened, seen, text_of
from tests.tui.scene import scene
from tests.tui.terminal import Terminal
from tests.tui.test_terminal import CONSOLE, environment, home  # noqa: F401 - fixtures
from tui.app import ConsoleApp
from tui.key_queue import Deliver
from tui.queries import background_queries
from tui.queries.catalogue import Catalogue, read_catalogue
from tui.queries.data_file import ProjectPlace, seen_project
from tui.screens import new_task
from tui.screens.confirm import Confirm
from tui.screens.dashboard import Dashboard
from tui.screens.doctor import DoctorScreen
from tui.screens.new_run import NewRun
from tui.screens.plan import PlanScreen
from tui.widgets.text_field import TextField

NAMED = {"⏎": "enter", "⇥": "tab", "⎋": "escape", "⌫": "backspace", "→": "right"}


def burst(pilot: Pilot[None], keys: str) -> None:
    """All of them at once, as one read of a terminal gives them; `NAMED` are keys without a letter."""
    for letter in keys:
        if letter in NAMED:
            pilot.app.post_message(events.Key(NAMED[letter], None))
        else:
            pilot.app.post_message(events.Key(_character_to_key(letter), letter))


def form_of(pilot: Pilot[None]) -> NewRun:
    assert isinstance(pilot.app.screen, NewRun)
    return pilot.app.screen


class Gate:
    """A reading of the project that stands still until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        monkeypatch.setattr(background_queries, "read_catalogue", self.read)

    def read(self, place: Home, project: Project) -> Catalogue:
        assert self.opened.wait(PATIENCE_SECONDS)
        return read_catalogue(place, project)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Any:
    found = Gate(monkeypatch)
    yield found
    found.opened.set()


async def test_a_form_that_is_still_being_put_up_takes_all_of_it(console: Opened) -> None:
    async with console() as pilot:
        burst(pilot, "n⇥⇥⇥64⇥1024⇥2.5")
        await seen(pilot, lambda: isinstance(pilot.app.screen, NewRun), "the form")
        screen = form_of(pilot)
        await seen(pilot, lambda: screen.form.numbers.get("epochs") == "2.5", "the last of what was typed")
        assert (screen.form.numbers["rank"], screen.form.numbers["max_length"]) == ("64", "1024")
        assert screen.form.command.endswith("--rank 64 --max-length 1024 --epochs 2.5")


async def test_what_is_typed_before_the_project_is_read_is_not_overwritten_by_it(console: Opened, gate: Gate) -> None:
    async with console() as pilot:
        burst(pilot, "n⇥⇥d⇥48⇥512")
        await seen(pilot, lambda: isinstance(pilot.app.screen, NewRun), "the form")
        screen = form_of(pilot)
        await pilot.pause()
        assert not screen.read
        gate.opened.set()
        await seen(pilot, lambda: screen.form.numbers.get("max_length") == "512", "the last of what was typed")
        assert screen.form.recipe == "demo" and screen.form.numbers["rank"] == "48"


async def test_a_recipe_that_fills_the_fields_does_not_overwrite_what_comes_behind_it(console: Opened) -> None:
    async with console() as pilot:
        await pilot.press("n")
        screen = form_of(pilot)
        await seen(pilot, lambda: screen.read, "the project")
        for recipe, rank in (("q", "7"), ("d", "9"), ("l", "11"), ("q", "13")):
            screen.query_one("#recipe").focus()
            await pilot.pause()
            burst(pilot, f"{recipe}⇥{rank}")
            await seen(pilot, lambda rank=rank: screen.form.numbers["rank"] == rank, f"rank {rank}")
            assert screen.form.recipe.startswith(recipe) and screen.form.changed["rank"] == int(rank)


async def test_leaving_does_not_wait_for_a_project_that_is_slow(console: Opened, gate: Gate) -> None:
    async with console() as pilot:
        burst(pilot, "n⇥⇥64")
        await seen(pilot, lambda: isinstance(pilot.app.screen, NewRun), "the form")
        burst(pilot, "⎋")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Dashboard), "the dashboard")
        await pilot.pause()
        assert len(pilot.app.screen_stack) == 1 and not gate.opened.is_set()


async def test_words_of_a_filter_are_no_commands(console: Opened) -> None:
    """`x`, `K`, `q` and `n` among them would cancel, kill, leave and open a form."""
    async with console() as pilot:
        burst(pilot, "/xKqnh 9⏎")
        screen = pilot.app.screen
        assert isinstance(screen, Dashboard)
        await seen(pilot, lambda: screen.queue.filter == "xKqnh 9", "the filter")
        await seen(pilot, lambda: not screen.query_one("#filter").display, "the filter's end")
        assert pilot.app.screen is screen and pilot.app.is_running


async def test_a_filter_that_is_opened_again_is_replaced(console: Opened) -> None:
    async with console() as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, Dashboard)
        burst(pilot, "/judge⏎/notes⏎")
        await seen(pilot, lambda: screen.queue.filter == "notes", "the second filter")


async def test_a_key_that_comes_while_the_console_closes_is_dropped(console: Opened) -> None:
    async with console() as pilot:
        await pilot.press("j")
    app = pilot.app
    assert isinstance(app, ConsoleApp) and not app.screen_stack
    await app.on_deliver(Deliver(events.Key("j", "j")))


@pytest.mark.parametrize(
    ("typed", "screen"), [("plan:", PlanScreen), ("doctor", DoctorScreen), ("new training", NewRun)]
)
async def test_the_palette_runs_what_is_typed_in_one_go(console: Opened, typed: str, screen: type) -> None:
    async with console() as pilot:
        burst(pilot, f":{typed}⏎")
        await seen(
            pilot,
            lambda: isinstance(pilot.app.screen, screen) and pilot.app.screen.is_mounted,
            f"the screen of `{typed}`",
        )


async def test_a_question_gets_the_answer_that_comes_with_it(console: Opened) -> None:
    """The demo is asked for and declined three times, then comes the form: `n` means another thing to each of them."""
    async with console(scene(jobs=())) as pilot:
        burst(pilot, "3dndqd⎋n⇥⇥⇥31")
        await seen(pilot, lambda: isinstance(pilot.app.screen, NewRun), "the form")
        screen = form_of(pilot)
        await seen(pilot, lambda: screen.form.numbers.get("rank") == "31", "what was typed in it")
        assert not any(isinstance(other, Confirm) for other in pilot.app.screen_stack)


async def test_the_plan_opens_the_form_though_it_is_still_being_made(console: Opened) -> None:
    async with console() as pilot:
        burst(pilot, "p⏎⇥⇥⇥8")
        await seen(pilot, lambda: isinstance(pilot.app.screen, NewRun), "the form")
        screen = form_of(pilot)
        await seen(pilot, lambda: screen.form.numbers.get("rank") == "8", "what was typed in it")


async def test_a_form_that_learns_its_project_late_keeps_what_is_typed(
    console: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()

    def late(find: Any) -> ProjectPlace:
        assert opened.wait(PATIENCE_SECONDS)
        return seen_project(find)

    monkeypatch.setattr(new_task, "seen_project", late)
    async with console() as pilot:
        burst(pilot, "ta.jsonl")
        await seen(pilot, lambda: isinstance(pilot.app.screen, new_task.NewTask), "the form")
        screen = pilot.app.screen
        assert isinstance(screen, new_task.NewTask)
        opened.set()
        await seen(pilot, lambda: screen.field("path").value == "a.jsonl", "the path")


async def test_pasted_text_waits_its_turn(console: Opened) -> None:
    async with console() as pilot:
        burst(pilot, "n⇥⇥⇥")
        pilot.app.post_message(events.Paste("12\ud8008\x1b[2J"))
        burst(pilot, "⇥")
        pilot.app.post_message(events.Paste("700\n800"))
        await seen(pilot, lambda: isinstance(pilot.app.screen, NewRun), "the form")
        screen = form_of(pilot)
        await seen(pilot, lambda: screen.form.numbers.get("max_length") == "700", "the second paste")
        assert screen.query_one("#rank", TextField).value == "128"


async def test_half_a_surrogate_pair_is_no_key(console: Opened) -> None:
    async with console() as pilot:
        burst(pilot, "/a\ud800b\udfff⏎")
        screen = pilot.app.screen
        assert isinstance(screen, Dashboard)
        await seen(pilot, lambda: screen.queue.filter == "ab", "the filter")


async def test_keys_that_come_before_the_first_screen_wait_for_it(tmp_path: Any) -> None:
    app = ConsoleApp(Home(tmp_path / "home").create(), shipped, live=False)
    stands: list[bool] = []

    def early() -> None:
        stands.append(app.key_queue._stands)
        for key in ("n", "tab", "tab", "tab", "5"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))

    app.call_later(early)
    async with app.run_test(size=(100, 30)) as pilot:
        await seen(pilot, lambda: isinstance(app.screen, NewRun), "the form")
        screen = form_of(pilot)
        await seen(pilot, lambda: screen.form.numbers.get("rank") == "5", "what was typed")
        assert text_of(pilot, "#command")


@pytest.mark.process
@pytest.mark.parametrize("at_once", ["n\t\t\t48\t640\t3", "n\t\td\t48\t640\t3", "p\r\t\t\t48\t640\t3"])
def test_a_burst_in_a_real_terminal(environment: dict[str, str], at_once: str) -> None:  # noqa: F811
    """One write of all keys, as a slow line delivers them after a pause."""
    with Terminal(CONSOLE, environment=environment) as terminal:
        assert terminal.shows("nothing serves yet", PATIENCE_SECONDS)
        terminal.type(at_once)
        assert terminal.shows("--rank 48 --max-length 640 --epochs 3"), terminal.text


@pytest.mark.process
def test_typed_ahead_of_the_console(environment: dict[str, str]) -> None:  # noqa: F811
    with Terminal(CONSOLE, environment=environment) as terminal:
        assert terminal.shows("3 Queue", PATIENCE_SECONDS)
        terminal.type("/judge x K q\rn\t\t\t24")
        assert terminal.shows("--rank 24"), terminal.text
        terminal.type("\x1b")
        assert terminal.shows("judge x K q"), terminal.text
