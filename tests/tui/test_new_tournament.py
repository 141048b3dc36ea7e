"""The form of a tournament: what is ticked and written, what it comes to, and what is queued of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from core.store.experiments import find_experiment, runs_of
from tests.support.lab import Lab, lab
from tests.tui.conftest import seen, text_of
from tests.tui.test_experiments import live
from tui.screens.experiments import ExperimentsScreen
from tui.screens.new_tournament import NewTournament
from tui.widgets.text_field import TextField


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return lab(tmp_path, monkeypatch)


async def opened(pilot: Pilot[None]) -> NewTournament:
    await pilot.press("E")
    assert isinstance(pilot.app.screen, ExperimentsScreen)
    await pilot.press("n")
    form = pilot.app.screen
    assert isinstance(form, NewTournament)
    await seen(pilot, lambda: form.entrants is not None, "the project")
    return form


def fill(form: NewTournament, **values: str) -> None:
    for key, value in values.items():
        form.query_one(f"#{key}", TextField).value = value


@pytest.mark.process  # what submits asks logind what a logout would end
async def test_what_is_ticked_is_looked_at_and_queued(home: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async with live(home.home, home.project, monkeypatch) as pilot:
        form = await opened(pilot)
        assert "Tick a task" in text_of(pilot, "#outlook")
        form.ticked["tasks"], form.ticked["models"] = ["judge"], ["small", "large"]
        fill(form, steps="4", rates="1e-3", seeds="2")
        await seen(pilot, lambda: form.current is not None, "what it comes to")
        assert form.current is not None and not form.current.problem, form.current
        shown = text_of(pilot, "#outlook")
        assert "would queue 4 trainings" in shown and "not known is how long" in shown
        assert form.command.startswith(
            "bakehouse tournament judge --model small --model large --lr 1e-3 --steps 4 --seeds 2"
        )
        form.action_queue()
        await seen(pilot, lambda: pilot.app.screen is not form, "the form is left")
    with home.database() as connection:
        stored = find_experiment(connection, home.project.id, "tournament-judge")
        assert stored is not None and stored.kind == "tournament"
        assert len(runs_of(connection, stored.id)) == 4


async def test_what_is_wrong_is_told_beside_its_field_and_queues_nothing(
    home: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with live(home.home, home.project, monkeypatch, size=(80, 24)) as pilot:
        form = await opened(pilot)
        form.action_queue()
        await seen(pilot, lambda: form.focused is not None and form.focused.id == "tasks", "the tasks have the focus")
        form.ticked["tasks"] = ["judge"]
        fill(form, seeds="two", rates="fast", ways="9-bit", hours="-1", steps="0")
        assert set(form.problems()) == {"seeds", "rates", "ways", "hours", "steps"}
        form.action_queue()
        await seen(pilot, lambda: form.focused is not None and form.focused.id == "steps", "the first that is wrong")
        fill(form, seeds="", rates="", ways="", steps="4", hours="2")
        await seen(pilot, lambda: form.current is not None, "what it comes to")
        assert form.current is not None and "not known" in form.current.problem
        form.action_queue()
        assert pilot.app.screen is form and not home.kinds()


async def test_all_that_a_tournament_comes_to_can_be_read_on_a_small_terminal(
    home: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with live(home.home, home.project, monkeypatch, size=(80, 24)) as pilot:
        form = await opened(pilot)
        assert "…" not in text_of(pilot, ".note"), "what a field means is whole"
        form.ticked["tasks"] = ["judge", "tidy"]
        fill(form, steps="4", rates="1e-3 2e-3")
        form.query_one("#hours", TextField).focus()
        await seen(pilot, lambda: form.current is not None, "what it comes to")
        await seen(pilot, lambda: "rows below" in text_of(pilot, "#outlook"), "more than the screen has room for")
        # Without blanks: the folder of a test may be a word that is longer than a row.
        told = lambda: "".join(text_of(pilot, "#command").split())  # noqa: E731
        await seen(pilot, lambda: told() == form.command.replace(" ", ""), "the whole command")
        read = ""
        for _ in range(10):
            read += text_of(pilot, "#outlook")
            await pilot.press("pagedown")
        assert all(f". {model}" in read for model in ("small", "large", "other"))
        assert "below" not in text_of(pilot, "#outlook")
        await pilot.press(*["pageup"] * 10)
        assert "rows below" in text_of(pilot, "#outlook")
