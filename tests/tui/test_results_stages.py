"""The stages of an adapter in the results: the table first, a step in full below, the board and the answers a key away."""

from __future__ import annotations

import pytest

from core.home import Home
from core.wording.stages import stage_words
from tests.support.stored_stages import STAGES, home_with_stages
from tests.tui.conftest import Opened, keys_of, text_of
from tests.tui.scene import NOW, job, scene
from tests.tui.stored_boards import boards_of
from tui import actions
from tui.model.snapshot import Board
from tui.screens.result_stages import below_rows, stage_rows
from tui.screens.results import Results


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, int, Board]:
    folder = tmp_path_factory.mktemp("stages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        home, job_id = home_with_stages(folder)
        (board,) = boards_of(home, job_id)
        return home, job_id, board


async def test_the_results_open_on_the_stages_and_the_other_views_are_keys_apart(
    console: Opened, stored: tuple[Home, int, Board]
) -> None:
    async with console(scene(boards=(stored[2],), jobs=(), detail=None), size=(120, 40)) as pilot:
        await pilot.press("4", "enter")
        screen = pilot.app.screen
        assert isinstance(screen, Results)
        assert screen.view == "stages" and "b board" in keys_of(pilot)
        shown = text_of(pilot, "#table")
        assert all(stage_words(stage) in shown for stage, _ in STAGES.values())
        assert "Loss shown: GGUF Q8_0 → GGUF Q4_K_M" in shown and "the first stage" in shown
        await pilot.press(*["down"] * 5)
        assert screen.place.name == "SmolLM2-135M tuned, Q4_K_M"
        assert "GGUF Q8_0 → GGUF Q4_K_M in content: loss shown. −" in text_of(pilot, "#table")
        await pilot.press("v")
        assert "content" in text_of(pilot, "#table").splitlines()[1]
        await pilot.press("enter")
        assert screen.view == "board" and screen.place.name == "SmolLM2-135M tuned, Q4_K_M"
        await pilot.press("S")
        assert screen.view == "stages"
        await pilot.press("i", "escape")
        assert screen.view == "stages", "where `i` was pressed"
        await pilot.press("b", "escape")
        assert screen.view == "stages"
        await pilot.press("escape")
        assert not isinstance(pilot.app.screen, Results)


async def test_a_click_selects_a_stage(console: Opened, stored: tuple[Home, int, Board]) -> None:
    async with console(scene(boards=(stored[2],), jobs=(), detail=None), size=(120, 40)) as pilot:
        await pilot.press("4", "enter")
        screen = pilot.app.screen
        assert isinstance(screen, Results)
        screen.clicked(4, 4)
        assert screen.place.name == "SmolLM2-135M tuned, f16"


async def test_what_does_not_fit_is_scrolled_to(console: Opened, stored: tuple[Home, int, Board]) -> None:
    async with console(scene(boards=(stored[2],), jobs=(), detail=None), size=(80, 24)) as pilot:
        await pilot.press("4", "enter", "down")
        before = text_of(pilot, "#table")
        if "further rows" in before:
            await pilot.press("space")
            assert "is ruled out" in text_of(pilot, "#table")
        else:
            assert "is ruled out" in before


async def test_a_key_on_a_training_asks_for_its_stages(console: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(actions, "compare_stages", lambda context, chosen: asked.append(chosen.id))
    jobs = (job(9, "done", "train judge · m", kind="train", task="judge", ended_at=NOW),)
    async with console(scene(jobs=jobs), size=(120, 40)) as pilot:
        await pilot.press("3", "S")
        assert asked == [9]
    assert not actions.can_compare_stages(job(9, "failed", "train judge · m", kind="train", task="judge", ended_at=NOW))
    assert not actions.can_compare_stages(job(9, "done", "merge judge · m", kind="merge", task="judge", ended_at=NOW))


async def test_a_board_of_other_candidates_has_no_such_view(console: Opened) -> None:
    async with console(scene(), size=(120, 40)) as pilot:
        await pilot.press("4", "enter", "S")
        screen = pilot.app.screen
        assert isinstance(screen, Results) and screen.view == "board"


@pytest.mark.parametrize("width", [20, 40, 76, 116, 200])
def test_no_row_is_wider_than_its_room(stored: tuple[Home, int, Board], width: int) -> None:
    table = stored[2].stages
    assert table is not None
    for part in table.parts:
        assert all(row.width <= width for row in stage_rows(table, part, 2, width))
    assert all(row.width <= width for selected in range(7) for row in below_rows(table, selected, width))
