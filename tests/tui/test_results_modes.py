"""Why a candidate lost, on the results screen: failure modes before all else, and the answer that shows each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from core.failure_modes import CODES
from core.home import Home
from core.wording.failure_modes import NAMES, NOT_LOOKED_FOR, SENTENCES
from tests.support.stored_modes import BASE, TUNED, home_with_modes
from tests.tui.conftest import Opened, keys_of, text_of
from tests.tui.scene import scene
from tests.tui.stored_boards import boards_of
from tui.model.answers import read_answers
from tui.model.snapshot import Board
from tui.screens.result_panels import Texts
from tui.screens.result_rows import failure_rows, mode_rows, note_rows
from tui.screens.results import Results

NEWEST = 1
"""The number of the rescoring."""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, int, tuple[Board, ...]]]:
    folder = tmp_path_factory.mktemp("modes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        home, job_id = home_with_modes(folder)
        yield home, job_id, boards_of(home, job_id)


async def opened(pilot: Pilot[None], home: Home, job_id: int) -> Results:
    await pilot.press("4", "enter")
    screen = pilot.app.screen
    assert isinstance(screen, Results) and screen.board is not None
    screen.texts = Texts(*read_answers(home, job_id, NEWEST, screen.board.task))
    return screen


def test_each_code_has_a_name_and_a_sentence() -> None:
    assert set(NAMES) == set(SENTENCES) >= set(CODES)


async def test_the_board_says_first_what_is_wrong_and_a_key_leads_to_the_answer_that_shows_it(
    console: Opened, stored: tuple[Home, int, tuple[Board, ...]]
) -> None:
    home, job_id, boards = stored
    async with console(scene(boards=boards, jobs=(), detail=None), size=(120, 40)) as pilot:
        screen = await opened(pilot, home, job_id)
        table = text_of(pilot, "#table")
        assert table.index("instructions repeated 7 of 13") < table.index("p 0.0005"), "before the headline"
        assert screen.place.candidate is not None and screen.place.candidate.name == TUNED
        assert "e what failed" not in keys_of(pilot), "nothing is wrong with the best one"
        await pilot.press("j", "j")
        assert screen.place.candidate.name == BASE and "e what failed" in keys_of(pilot)
        checks = text_of(pilot, "#checks")
        assert checks.index("instructions repeated") < checks.index("heading") and "54 % [29, 77]" in checks
        modes = screen.place.candidate.modes
        assert modes is not None and [one.code for one in modes] == ["echo_instructions", "echo_input", "cut"]
        for mode in (*modes, modes[0]):
            await pilot.press("e")
            answers = text_of(pilot, "#answers")
            assert boards[0].input_ids[screen.place.position] == mode.input_id
            assert mode.input_id in answers and f"✗ {NAMES[mode.code]}" in answers


async def test_the_next_candidate_begins_with_its_most_frequent_failure_mode(
    console: Opened, stored: tuple[Home, int, tuple[Board, ...]]
) -> None:
    home, job_id, boards = stored
    async with console(scene(boards=boards, jobs=(), detail=None), size=(80, 24)) as pilot:
        screen = await opened(pilot, home, job_id)
        await pilot.press("j", "j", "e", "e", "k", "e")
        candidate = screen.place.candidate
        assert candidate is not None and candidate.modes
        assert boards[0].input_ids[screen.place.position] == candidate.modes[0].input_id


@pytest.mark.parametrize("width", [30, 44, 76, 116])
def test_no_row_is_wider_than_its_room(stored: tuple[Home, int, tuple[Board, ...]], width: int) -> None:
    (board,) = stored[2]
    rows = failure_rows(board, width)
    for candidate in board.candidates:
        rows += mode_rows(candidate, width)
    assert rows and all(row.width <= width for row in rows)


def test_scores_of_before_say_that_nobody_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    home, job_id = home_with_modes(tmp_path, rescored=False)
    (board,) = boards_of(home, job_id)
    assert all(one.modes is None for one in board.candidates)
    assert not failure_rows(board, 200)
    assert NOT_LOOKED_FOR in note_rows(board, 200, now=0.0)[-1].plain
    assert [mode_rows(one, 60) for one in board.candidates] == [[], [], []]
