"""The mouse: a click selects a row, a second one on it or a double click opens it."""

from __future__ import annotations

import pytest
from textual.widgets import Button

from tests.tui.conftest import Opened, seen, text_of
from tests.tui.scene import NOW, boards, job, scene
from tui.screens.confirm import Confirm
from tui.screens.dashboard import Dashboard
from tui.screens.job import JobScreen
from tui.screens.results import Results

RUNS = tuple(job(number, "done", f"train judge · model-{number}", ended_at=NOW) for number in (9, 8, 7))


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 18)])
async def test_a_click_selects_a_job_and_a_second_one_opens_it(console: Opened, size: tuple[int, int]) -> None:
    async with console(scene(jobs=RUNS), size=size) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, Dashboard)
        await pilot.click("#queue", offset=(10, 4))  # the frame and the heads stand above the rows
        assert screen.queue.selected_id == 7 and pilot.app.screen is screen
        await pilot.click("#queue", offset=(10, 3))
        assert screen.queue.selected_id == 8 and pilot.app.screen is screen, "another row: selected, not opened"
        await pilot.pause(0.6)  # longer than a double click takes
        await pilot.click("#queue", offset=(12, 3))
        await seen(pilot, lambda: isinstance(pilot.app.screen, JobScreen), "the job")
        assert pilot.app.screen.job_id == 8  # type: ignore[attr-defined]


async def test_a_double_click_opens_what_it_is_on(console: Opened) -> None:
    async with console(scene(jobs=RUNS)) as pilot:
        await pilot.double_click("#queue", offset=(10, 3))
        await seen(pilot, lambda: isinstance(pilot.app.screen, JobScreen), "the job")
        assert pilot.app.screen.job_id == 8  # type: ignore[attr-defined]


async def test_a_row_that_was_left_with_the_keys_is_selected_again_first(console: Opened) -> None:
    async with console(scene(jobs=RUNS)) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, Dashboard)
        await pilot.click("#queue", offset=(10, 3))
        await pilot.pause(0.6)
        await pilot.press("j")
        await pilot.click("#queue", offset=(10, 3))
        assert screen.queue.selected_id == 8 and pilot.app.screen is screen


async def test_what_stands_above_and_below_the_rows_opens_nothing(console: Opened) -> None:
    async with console(scene(jobs=RUNS)) as pilot:
        for y in (0, 1, 7):
            await pilot.double_click("#queue", offset=(10, y))
        assert isinstance(pilot.app.screen, Dashboard)


@pytest.mark.parametrize(("pane", "row", "board"), [("#bakeoff", 2, 41), ("#bakeoff", 10, 30), ("#fleet", 2, 41)])
async def test_leaderboards_open_from_their_rows(console: Opened, pane: str, row: int, board: int) -> None:
    async with console(scene(), size=(120, 50)) as pilot:
        await pilot.double_click(pane, offset=(10, row))
        await seen(pilot, lambda: isinstance(pilot.app.screen, Results), "the leaderboard")
        assert pilot.app.screen.job_id == board  # type: ignore[attr-defined]


async def test_a_click_in_the_table_selects_a_candidate(console: Opened) -> None:
    async with console() as pilot:
        await pilot.press("4", "enter")
        screen = pilot.app.screen
        assert isinstance(screen, Results)
        await pilot.click("#table", offset=(10, 4))
        assert screen.place.selected == 2
        assert boards()[0].candidates[2].name in text_of(pilot, "#checks")
        await pilot.click("#table", offset=(10, 9))
        assert screen.place.selected == 2, "no candidate stands there"


@pytest.mark.parametrize("key", ["colon", "question_mark"])
async def test_what_is_asked_to_go_twice_goes_alone(console: Opened, key: str) -> None:
    """As by a double click beside the palette, whose second half waits in its queue already."""
    async with console() as pilot:
        dashboard = pilot.app.screen
        await pilot.press(key)
        dialog = pilot.app.screen
        assert dialog is not dashboard
        for _ in range(3):
            dialog.dismiss()
        await pilot.press("j")
        assert pilot.app.screen is dashboard and pilot.app.is_running


async def test_a_question_that_is_answered_twice_is_answered_once(console: Opened) -> None:
    async with console() as pilot:
        dashboard = pilot.app.screen
        answers: list[bool | None] = []
        question = Confirm("End job 42?", "It loses ten steps.", "End it")
        await pilot.app.push_screen(question, answers.append)
        button = question.query_one("#act", Button)
        for _ in range(3):
            question.post_message(Button.Pressed(button))
        await seen(pilot, lambda: pilot.app.screen is dashboard, "the dashboard")
        await pilot.pause()
        assert answers == [True] and pilot.app.screen is dashboard
