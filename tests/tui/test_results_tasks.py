"""The results of a bake-off over several tasks, by keys and by mouse: matrix, board, inputs, answers, differences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from core.config.project import shipped
from core.home import Home
from core.text import printable
from tests.support.stored import fresh
from tests.support.stored_tasks import (
    BASE,
    EXAMPLES,
    INPUTS,
    OLD,
    QUALITY,
    SERVED,
    TUNED,
    bakeoff,
    candidates,
    home_with_tasks,
    trained,
)
from tests.tui.conftest import Opened, keys_of, seen, text_of
from tests.tui.scene import NOW, scene
from tests.tui.stored_boards import boards_of
from tui.app import ConsoleApp
from tui.lines import Line
from tui.model.answers import read_answers
from tui.model.snapshot import Board, Detail, Share, Snapshot
from tui.panes.bakeoff import matrix_board_rows
from tui.screens.result_inputs import grid_of as inputs_grid
from tui.screens.result_inputs import input_rows
from tui.screens.result_matrix import grid_of as matrix_grid
from tui.screens.result_matrix import matrix_rows
from tui.screens.result_panels import Texts
from tui.screens.results import Results
from tui.widgets.detail import shares


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, int, tuple[Board, ...]]:
    folder = tmp_path_factory.mktemp("tasks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        home, job_id = home_with_tasks(folder)
        return home, job_id, boards_of(home, job_id)


@pytest.fixture
def moment(stored: tuple[Home, int, tuple[Board, ...]]) -> Snapshot:
    return scene(boards=stored[2], jobs=(), detail=None)


async def opened(pilot: Pilot[None], home: Home, job_id: int) -> Results:
    """The results screen, with the answers that a thread reads in a live console."""
    await pilot.press("4", "enter")
    screen = pilot.app.screen
    assert isinstance(screen, Results)
    assert screen.board is not None
    screen.texts = Texts(*read_answers(home, job_id, 0, screen.board.task))
    return screen


def view_of(screen: Results) -> str | None:
    return screen.view


def table(pilot: Pilot[None]) -> list[str]:
    return [line.strip("│ ") for line in text_of(pilot, "#table").splitlines()[1:-1]]


async def test_the_views_are_keys_apart_and_esc_leads_back(
    console: Opened, moment: Snapshot, stored: tuple[Home, int, tuple[Board, ...]]
) -> None:
    async with console(moment, size=(100, 30)) as pilot:
        screen = await opened(pilot, stored[0], stored[1])
        assert view_of(screen) == "matrix" and "wins" in table(pilot)[0]
        await pilot.press("down", "right", "enter")
        assert "? help" in keys_of(pilot) and "esc back" in keys_of(pilot)
        assert (view_of(screen), screen.place.task, screen.place.name) == ("board", "planner", OLD)
        assert "planner" in text_of(pilot, "#table") and "Checks" in text_of(pilot, "#checks")
        await pilot.press("i")
        assert view_of(screen) == "inputs" and "m matrix" in keys_of(pilot) and "b board" in keys_of(pilot)
        await pilot.press("m")
        assert view_of(screen) == "matrix" and screen.place.task == "planner"
        await pilot.press("b")  # from the matrix the board opens by ⏎ on a cell
        assert view_of(screen) == "matrix"
        await pilot.press("i", "enter")
        assert view_of(screen) == "answers"
        await pilot.press("escape")
        assert view_of(screen) == "inputs"
        await pilot.press("escape")
        assert view_of(screen) == "matrix"  # where `i` was pressed
        await pilot.press("enter", "i", "escape")
        assert view_of(screen) == "board"
        await pilot.press("escape")
        assert view_of(screen) == "matrix"
        await pilot.press("escape")
        assert not isinstance(pilot.app.screen, Results)


async def test_the_empty_input_is_what_the_old_model_fails(
    console: Opened, moment: Snapshot, stored: tuple[Home, int, tuple[Board, ...]]
) -> None:
    async with console(moment, size=(130, 40)) as pilot:
        screen = await opened(pilot, stored[0], stored[1])
        await pilot.press("i")
        empty = next(line for line in table(pilot) if "empty " in line)
        assert empty.count("0.00 e") == 1 and any("e empty answer" in line for line in table(pilot))
        while screen.place.candidate is not None and screen.place.candidate.name != OLD:
            await pilot.press("right")
        assert OLD in table(pilot)
        await pilot.press("enter")
        assert "an empty input" in text_of(pilot, "#table") and "empty answer" in text_of(pilot, "#table")
        means = table(pilot)
        await pilot.press("escape", "down", "w")
        assert table(pilot) != means and "worst repeat" in text_of(pilot, "#table")
        await pilot.press("v")
        assert "content" in text_of(pilot, "#table")


async def test_two_answers_beside_each_other_with_only_the_differences_marked(
    console: Opened, moment: Snapshot, stored: tuple[Home, int, tuple[Board, ...]]
) -> None:
    async with console(moment) as pilot:
        screen = await opened(pilot, stored[0], stored[1])
        await pilot.press("right", "enter")
        screen.texts = Texts(*read_answers(stored[0], stored[1], 0, "planner"))
        await pilot.press("n", "n", "d")
        shown = text_of(pilot, "#answers")
        assert "⟦" in shown and "lines differ" in shown
        left = [one.name for one in screen.place.pair]
        await pilot.press("c")
        assert [one.name for one in screen.place.pair] != left and screen.place.candidate is not None
        assert screen.place.candidate.name == SERVED  # the selected one stays
        await pilot.press("enter")
        assert view_of(screen) == "answers" and "lines differ" in text_of(pilot, "#table")
        await pilot.press("C")
        assert screen.place.candidate.name != SERVED
        await pilot.press("d")
        assert "⟦" not in text_of(pilot, "#table")


async def test_a_click_selects_a_cell_and_a_second_one_opens_it(
    console: Opened, moment: Snapshot, stored: tuple[Home, int, tuple[Board, ...]]
) -> None:
    async with console(moment) as pilot:
        screen = await opened(pilot, stored[0], stored[1])
        assert screen.grid is not None
        at = (2 + screen.grid.name + screen.grid.cell * 2 + 2, 1 + 3)
        await pilot.click("#table", offset=at)
        assert view_of(screen) == "matrix" and screen.place.matrix_place == (2, 2)
        name = screen.place.name
        await pilot.click("#table", offset=at)
        assert (view_of(screen), screen.place.task, screen.place.name) == ("board", "tidy", name)
        await pilot.press("i")
        assert screen.grid is not None
        await pilot.click("#table", offset=(2 + screen.grid.name + 1, 1 + 4))
        assert screen.place.position == 3


async def test_the_answers_of_the_task_that_is_shown_are_read(
    stored: tuple[Home, int, tuple[Board, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The runner is not what this is about.
    monkeypatch.setattr("tui.model.background_reader.BackgroundReader._start_runner", lambda self: None)
    app = ConsoleApp(stored[0], shipped)
    app.feed.start()
    try:
        async with app.run_test(size=(120, 40)) as pilot:
            await seen(pilot, lambda: "3 tasks" in text_of(pilot, "#bakeoff"), "the bake-off")
            await pilot.press("4", "enter")
            await seen(pilot, lambda: isinstance(pilot.app.screen, Results), "the results")
            await pilot.press("enter", "n")
            await seen(pilot, lambda: "The judge input note-1" in text_of(pilot, "#answers"), "the answers to judge")
            await pilot.press("t", "n")
            await seen(pilot, lambda: "The planner input" in text_of(pilot, "#answers"), "the answers to planner")
    finally:
        app.feed.stop()
        app.reader.stop()


HOSTILE = "\x1b[2J[bold]x[/]\u202e"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, int, tuple[Board, ...]]:
    """20 candidates × 8 tasks × 30 inputs, with names that would like to be more than text."""
    folder = tmp_path_factory.mktemp("large")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        from core.authoring.scaffold import new_project

        home, connection = fresh(folder)
        project = folder / "project"
        new_project(project)
        made = candidates(home, [trained(home, connection, project, rank) for rank in (8, 16)])
        names = [f"{HOSTILE} model-{number}" for number in range(20)]
        many = [made[0].model_copy(update={"name": name}) for name in names]
        tasks = [f"task-{number}" for number in range(8)]
        quality = {name: dict.fromkeys(tasks, 0.2 + 0.04 * number) for number, name in enumerate(names)}
        inputs = [f"{HOSTILE} input-{number}" for number in range(30)]
        job_id = bakeoff(home, connection, project, many, tasks, quality, inputs, 1)
        connection.close()
        return home, job_id, boards_of(home, job_id)


@pytest.mark.parametrize("size", [(80, 24), (60, 18), (120, 40)])
async def test_many_candidates_and_tasks_scroll_and_hostile_names_are_text(
    console: Opened, large: tuple[Home, int, tuple[Board, ...]], size: tuple[int, int]
) -> None:
    async with console(scene(boards=large[2], jobs=(), detail=None), size=size) as pilot:
        screen = await opened(pilot, large[0], large[1])
        for view in ("matrix", "inputs", "answers"):
            if view != "matrix":
                await pilot.press("i" if view == "inputs" else "enter")
            await pilot.press(*["down"] * 12, *["right"] * 7)
            lines = text_of(pilot).splitlines()
            assert all(line == printable(line) for line in lines)
            assert size[0] < 80 or ("? help" in keys_of(pilot) and "esc back" in keys_of(pilot))
            assert any("\x1b" not in line and "[bold]x[/]" in line for line in lines)
            if view == "matrix":
                assert screen.place.matrix_place == (12, 7)
                assert any(line.startswith("▸") for line in table(pilot)) and "task-7" in table(pilot)[0]
            elif view == "inputs":
                assert screen.place.position == 12
                assert any(line.startswith("▸") for line in table(pilot))
        await pilot.press("escape", "m", *["up"] * 30, *["left"] * 9)
        assert screen.place.matrix_place == (0, 0)


def test_the_pane_says_who_is_best_at_each_task_and_who_wins_most(stored: tuple[Home, int, tuple[Board, ...]]) -> None:
    boards = stored[2]
    for width, height in ((56, 10), (116, 10), (40, 4)):
        rows = [line.plain for line in matrix_board_rows(boards[0], boards, width, height, NOW)]
        assert len(rows) <= height and max(map(len, rows)) <= width
    rows = [line.plain for line in matrix_board_rows(boards[0], boards, 70, 10, NOW)]
    assert "3 tasks × 6 candidates" in rows[0] and SERVED in rows[2] and "+1.97" in rows[2]
    assert f"{SERVED} wins 3 of 3 tasks against {BASE}" in rows[-1]


def test_the_pane_tells_how_far_the_best_is_from_the_incumbent(stored: tuple[Home, int, tuple[Board, ...]]) -> None:
    (board, *_) = stored[2]
    assert board.best is not None
    led = replace(
        board, incumbent=board.best.name, candidates=(replace(board.best, difference=""), *board.candidates[1:])
    )
    for shown, difference in ((board, board.best.difference), (led, "")):
        (row,) = [line.plain for line in matrix_board_rows(shown, (shown,), 90, 10, NOW) if shown.task in line.plain]
        assert row.rstrip().endswith(difference) and ("[" in row) == bool(difference)


def test_names_are_whole_where_there_is_room(stored: tuple[Home, int, tuple[Board, ...]]) -> None:
    (board, *_) = stored[2]
    assert board.matrix is not None
    ids = tuple(f"entry-{number}" for number in range(8, 8 + len(board.input_ids)))
    board = replace(board, input_ids=ids)
    inputs = input_rows(board, "format", False, 0, 0, inputs_grid(board, 0, 0, 120, 40), 120)
    assert [line.plain[2:].split()[0] for line in inputs[1:]] == list(ids)
    rows = plain(matrix_rows(board.matrix, 0, 0, matrix_grid(board.matrix, 0, 0, 120, 40), 120))
    assert all(any(name in row for row in rows) for name in board.matrix.candidates)


def plain(lines: list[Line]) -> list[str]:
    return [line.plain for line in lines]


def test_a_running_bake_off_shows_where_each_model_is() -> None:
    names = [*QUALITY, *(f"further {number}" for number in range(14))]
    running = tuple(
        Share(name, 108 if at < 3 else 40 if at == 3 else 0, 108, 1.2, 0, "planner" if at == 3 else None, 4, 36)
        for at, name in enumerate(names)
    )
    rows = plain(shares(Detail(1, shares=running), 60, 10))
    assert len(rows) <= 10
    assert any("planner 4/36" in row for row in rows)
    assert any("3 candidates done" in row for row in rows) and any("further candidates" in row for row in rows)
    whole = plain(shares(Detail(1, shares=running), 60, 40))
    assert len(whole) == len(names) + 2
    faulty = Share(TUNED, 9, 108, server_faults=2)
    assert any("2 answers not given by the server" in row for row in plain(shares(Detail(1, shares=(faulty,)), 60, 10)))


def test_trainings_of_one_model_say_what_tells_them_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    from core.authoring.scaffold import new_project

    home, connection = fresh(tmp_path)
    new_project(tmp_path / "project")
    made = candidates(home, [trained(home, connection, tmp_path / "project", rank) for rank in (8, 16)])
    alike = [made[0], *(one.model_copy(update={"name": f"tuned {at}"}) for at, one in enumerate(made[1:3]))]
    quality = {one.name: {"judge": 0.5} for one in alike}
    job_id = bakeoff(home, connection, tmp_path / "project", alike, ["judge"], quality, INPUTS[:3], 1)
    connection.close()
    (board,) = boards_of(home, job_id)
    assert {one.name: one.trained_with for one in board.candidates} == {
        BASE: "",
        "tuned 0": "rank 8",
        "tuned 1": "rank 16",
    }
    assert EXAMPLES not in {one.name for one in board.candidates}
