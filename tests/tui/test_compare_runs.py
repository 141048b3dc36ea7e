"""A bake-off of several runs from the console: rows are marked, the dialog says what tells the runs apart."""

from __future__ import annotations

from typing import Any

import pytest

from core.wording.runs import differences
from tests.tui.conftest import Opened, keys_of, text_of
from tests.tui.scene import NOW, boards, candidate, job, scene
from tui.model.snapshot import Board, Snapshot
from tui.panes.bakeoff import board_rows
from tui.queries.bakeoff_plan import BakeoffPlan
from tui.screens import result_rows
from tui.screens.dashboard import Dashboard
from tui.screens.new_bakeoff import NewBakeoff
from tui.screens.start_bakeoff import AskBakeoff


def runs(*numbers: int, task: str = "judge", state: str = "done") -> tuple[Any, ...]:
    return tuple(
        job(
            number, state, f"train {task} · small", ended_at=NOW if state == "done" else None, settings={"rank": number}
        )
        for number in numbers
    )


def with_runs(*jobs: Any) -> Snapshot:
    return scene(jobs=jobs, differences=differences(jobs), run_scores={8: 0.966})


async def asked(pilot: Any, *press: str) -> AskBakeoff:
    await pilot.press(*press)
    screen = pilot.app.screen
    assert isinstance(screen, AskBakeoff)
    screen.post_message(AskBakeoff.PlanRead(BakeoffPlan("judge", "small", 13, 3)))
    await pilot.pause()
    return screen


@pytest.mark.parametrize(
    ("keys", "candidates"),
    [
        (["b"], ("small", "job:9")),
        (["space", "space", "b"], ("small", "job:9", "job:8")),
        (["space", "j", "space", "b"], ("small", "job:9", "job:7")),
        (["j", "space", "space", "k", "k", "k", "b"], ("small", "job:8", "job:7")),
        (["space", "space", "k", "k", "space", "b"], ("small", "job:8")),  # the same key takes a mark away
    ],
)
async def test_the_marked_runs_are_compared(console: Opened, keys: list[str], candidates: tuple[str, ...]) -> None:
    async with console(with_runs(*runs(9, 8, 7))) as pilot:
        screen = await asked(pilot, *keys)
        assert screen.chosen is not None
        assert set(screen.chosen.candidates) == set(candidates) and screen.chosen.candidates[0] == "small"
        assert f"× {len(candidates)} candidates" in text_of(pilot, "#plan")


async def test_a_run_that_has_not_ended_can_be_marked_and_is_waited_for(console: Opened) -> None:
    async with console(with_runs(*runs(10, state="running"), *runs(9, 8))) as pilot:
        screen = await asked(pilot, "space", "space", "b")
        assert screen.chosen is not None and screen.chosen.candidates == ("small", "job:10", "job:9")
        assert "waits for it" in text_of(pilot, "#plan")


async def test_runs_of_several_tasks_lead_into_the_form(console: Opened) -> None:
    async with console(with_runs(*runs(9), *runs(8, task="spacer"), *runs(7))) as pilot:
        await pilot.press("space", "space", "space", "k", "k", "k", "b")
        screen = pilot.app.screen
        assert isinstance(screen, NewBakeoff)
        assert [job.id for job in screen.jobs] == [9, 8, 7]


async def test_the_dialog_says_what_tells_the_runs_apart_and_their_score(console: Opened) -> None:
    async with console(with_runs(*runs(9, 8, 7))) as pilot:
        await asked(pilot, "b")
        shown = text_of(pilot, "#plan")
        assert "job 9  rank 9" in shown and "job 8  rank 8  4.83/5" in shown and "job 7  rank 7" in shown


async def test_many_runs_keep_the_keys_and_the_command_in_sight(console: Opened) -> None:
    async with console(with_runs(*runs(*range(30, 10, -1))), size=(60, 18)) as pilot:
        await asked(pilot, "b")
        await pilot.press(*["j"] * 5, "space")
        shown = text_of(pilot, "#plan")
        assert "⏎ start" in shown and "bakehouse bakeoff judge small" in shown and "✓ small tuned, job 24" in shown


async def test_only_runs_are_marked_and_the_marks_are_told(console: Opened) -> None:
    async with console(with_runs(*runs(9, 8), job(5, "done", "pull small", ended_at=NOW))) as pilot:
        screen = pilot.app.screen
        assert isinstance(screen, Dashboard)
        await pilot.press("G", "space")
        assert screen.queue.marked == set()
        await pilot.press("g", "space")
        assert "1 marked" in text_of(pilot, "#queue") and "●  9" in text_of(pilot, "#queue")
        assert "b bake-off" in keys_of(pilot)


def test_the_leader_has_a_sign_that_is_no_cursor_and_a_legend() -> None:
    _, spacer = boards()
    rows = [line.plain for line in board_rows(spacer, 80, 8, NOW)]
    assert rows[1].startswith("◆ ") and any(row.startswith("◆ leads") for row in rows)
    notes = [line.plain for line in result_rows.note_rows(spacer, 100, NOW)]
    assert "◆ leads: alone at the top" in notes
    tied = [line.plain for line in result_rows.note_rows(boards()[0], 100, NOW)]
    assert not any("◆" in row for row in tied)
    assert not any(">" in row for row in rows + notes)


@pytest.mark.parametrize("width", [100, 120, 160])
@pytest.mark.parametrize("name", ["tuned", "SmolLM2-135M-Instruct tuned, job 12, merged"])
def test_the_intervals_are_drawn_with_three_candidates(width: int, name: str) -> None:
    three = tuple(candidate(f"{name} {number}", 4.9 - number, 0.2, 0.9) for number in range(3))
    board = Board(1, "judge", "p", "done", NOW, ("a",), 3, three, incumbent=f"{name} 2")
    rows = [line.plain for line in result_rows.table_rows(board, 0, width - 4, 10)]
    assert all("●" in row or "◂" in row for row in rows[1:]), rows
    assert rows[0].endswith("5")


@pytest.mark.parametrize("keys", [[], ["n"], ["p"], ["2", "D"], ["4", "enter"], ["enter"], ["2", "z"]])
@pytest.mark.parametrize("size", [(60, 18), (60, 24), (80, 18)])
async def test_every_screen_keeps_its_key_line(console: Opened, keys: list[str], size: tuple[int, int]) -> None:
    async with console(size=size) as pilot:
        await pilot.press(*keys)
        await pilot.pause()
        footer = pilot.app.screen.query_one("#keys")
        assert (footer.region.y, footer.region.height) == (size[1] - 1, 1)
        assert len(keys_of(pilot).split("  ")) >= 3
