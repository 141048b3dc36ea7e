"""What the results say beside their figures: what has changed since, which inputs confirm, and notes that do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from core.home import Home
from tests.support.stored_tasks import BASE, INPUTS, OTHER, SERVED, home_with_tasks
from tests.tui.conftest import Opened, text_of
from tests.tui.scene import NOW, scene
from tests.tui.stored_boards import boards_of
from tui.model.snapshot import Board, Changed, Snapshot
from tui.panes.bakeoff import board_rows, matrix_board_rows
from tui.screens.result_rows import changed_rows
from tui.screens.results import Results

CONFIRMING = INPUTS[5:]
STALE = "Stale, changed since it was measured: " + "; ".join(f"checks of task-{number} (~ one)" for number in range(12))
UNKNOWN = f"Not known whether changed: {SERVED} (its server did not answer)"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, int, tuple[Board, ...]]]:
    folder = tmp_path_factory.mktemp("told")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        home, job_id = home_with_tasks(Path(folder), CONFIRMING)
        yield home, job_id, boards_of(home, job_id)


def moment(boards: tuple[Board, ...], changed: Changed | None) -> Snapshot:
    told = tuple(replace(one, changed=changed, changed_anywhere=changed) for one in boards)
    return scene(boards=told, jobs=(), detail=None)


async def opened(pilot: Pilot[None]) -> Results:
    await pilot.press("4", "enter")
    screen = pilot.app.screen
    assert isinstance(screen, Results)
    return screen


def plain(changed: Changed | None, most: int = 20) -> list[str]:
    return [row.plain.rstrip() for row in changed_rows(changed, 60, NOW, most)]


def test_stale_unknown_and_unchanged_are_told_apart_in_words() -> None:
    assert plain(None) == [], "nobody has looked yet"
    assert plain(Changed()) == ["unchanged since it was measured"]
    assert plain(Changed(asked=NOW))[0].startswith("unchanged since it was measured · servers asked ")
    assert plain(Changed(asking=True)) == ["unchanged since it was measured · asking the servers …"]
    assert " ".join(plain(Changed(unknown=UNKNOWN, asked=NOW))).startswith(f"{UNKNOWN} servers asked ")
    few = plain(Changed(STALE, UNKNOWN), most=3)
    assert len(few) == 3 and few[1].endswith(" …") and few[2].startswith("Not known whether"), "neither hides the other"
    assert max(map(len, few)) <= 60


@pytest.mark.parametrize(("changed", "label"), [(Changed(STALE, UNKNOWN), "stale"), (Changed("", UNKNOWN), "stale?")])
async def test_each_view_and_the_dashboard_say_it(
    console: Opened, stored: tuple[Home, int, tuple[Board, ...]], changed: Changed, label: str
) -> None:
    boards = tuple(replace(one, changed=changed, changed_anywhere=changed) for one in stored[2])
    assert label in matrix_board_rows(boards[0], boards, 70, 10, NOW)[0].plain.split()
    lone = "\n".join(row.plain for row in board_rows(replace(boards[0], matrix=None), 80, 10, NOW))
    assert f"{label} · " in lone
    async with console(moment(stored[2], changed), size=(100, 30)) as pilot:
        await opened(pilot)
        for key in ("", "enter", "i", "enter"):
            if key:
                await pilot.press(key)
            assert label in text_of(pilot, "#table").splitlines()[0].split()


async def test_what_has_changed_reads_no_answers_again(
    console: Opened, stored: tuple[Home, int, tuple[Board, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    monkeypatch.setattr(Results, "_read", lambda self: reads.append(self.board.task))
    async with console(moment(stored[2], None)) as pilot:
        screen = await opened(pilot)
        screen.show(moment(stored[2], Changed(STALE)))
        assert "Stale" in text_of(pilot, "#table") and reads == ["judge"]
        await pilot.press("enter", "t")
        assert reads == ["judge", "planner"]


async def test_the_key_asks_the_servers_again_and_so_does_opening_when_they_were_not_asked_of_late(
    console: Opened, stored: tuple[Home, int, tuple[Board, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(
        "tui.model.staleness_reader.StalenessReader.ask_again", lambda self, older_than=0.0: asked.append(older_than)
    )
    async with console(moment(stored[2], Changed())) as pilot:
        await opened(pilot)
        assert asked == [60.0]
        await pilot.press("a")
        assert asked == [60.0, 0.0]


async def test_inputs_that_confirm_are_marked_and_the_selected_one_says_it(
    console: Opened, stored: tuple[Home, int, tuple[Board, ...]]
) -> None:
    async with console(moment(stored[2], None), size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("i")
        rows = [line.strip("│ ") for line in text_of(pilot, "#table").splitlines()]
        marked = [line.removeprefix("▸").split()[1] for line in rows if line.removeprefix("▸").strip().startswith("◇ ")]
        assert [name for name in marked if name in INPUTS] == list(CONFIRMING)
        assert "to choose by" in text_of(pilot, "#table") and "◇ kept to confirm by" in text_of(pilot, "#table")
        await pilot.press(*["down"] * 5)
        assert "to confirm by" in "\n".join(text_of(pilot, "#table").splitlines()[-6:])
        await pilot.press("enter")
        assert "to confirm by · ‹ 6 of 12 ›" in text_of(pilot, "#table")


async def test_notes_that_do_not_fit_are_counted_and_a_key_shows_them(
    console: Opened, stored: tuple[Home, int, tuple[Board, ...]]
) -> None:
    async with console(moment(stored[2], Changed(STALE, UNKNOWN)), size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await pilot.press("enter")
        assert screen.board is not None
        shown = text_of(pilot, "#table")
        assert screen.board.headline.split(" over ")[0] in shown, "what matters most comes first"
        assert "further rows: z" in shown and "tied set" not in shown
        await pilot.press("z")
        whole = text_of(pilot, "#table")
        assert (
            "checks of task-9 " in whole and "further rows: space" in whole and not screen.query_one("#below").display
        )
        await pilot.press(*["space"] * 4)
        assert "further rows" not in text_of(pilot, "#table") and "tied set" in text_of(pilot, "#table")
        await pilot.press("z")
        assert text_of(pilot, "#table") == shown


async def test_the_board_below_the_matrix_is_named_and_selects_who_is_selected_above(
    console: Opened, stored: tuple[Home, int, tuple[Board, ...]]
) -> None:
    async with console(moment(stored[2], None)) as pilot:
        screen = await opened(pilot)
        assert any(line.strip("│ ").startswith("── judge ──") for line in text_of(pilot, "#table").splitlines())
        assert screen.board is not None and screen.board.candidates[0].name == OTHER
        drawn = screen.panel("table", 116, 36)[2]
        chosen = [row.plain for row in drawn if row.mark == "chosen"]
        assert len(chosen) == 1 and SERVED in chosen[0]
        await pilot.press(*["down"] * 9)
        assert BASE in next(row.plain for row in screen.panel("table", 116, 36)[2] if row.mark == "chosen")
