"""The marking screen: a pair without names, a key, and a golden file that grows."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from core.config.golden import GoldenInput
from core.config.project import Project
from core.home import Home
from core.jobfile.drafts import DraftsSpec
from core.jobfile.spec import JobFile
from core.store.database import open_database
from core.store.jobs import list_jobs
from core.store.marks import list_marks
from tests.support.drafted import GOLDEN, LETTERS, ONE, OTHER, SAID, drafted_home
from tests.tui.conftest import keys_of, seen, text_of
from tui.app import ConsoleApp
from tui.screens.add_golden import AskGolden, ask_golden
from tui.screens.confirm import Confirm
from tui.screens.dialog import DialogRows
from tui.screens.marking import MarkingScreen
from tui.screens.marking_dialogs import EditExpectations
from tui.screens.start_drafts import AskDrafts, ask_drafts
from tui.widgets.text_field import TextField


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the runner nor the home's other readings are what this is about."""
    monkeypatch.setattr("tui.model.background_reader.BackgroundReader.start", lambda self: None)


@pytest.fixture
def drafted(tmp_path: Path) -> tuple[Home, Project, int]:
    return drafted_home(tmp_path)


@contextlib.asynccontextmanager
async def console(
    home: Home, project: Project, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[ConsoleApp, Pilot[None]]]:
    """The console. Its threads are real, and none of them reads the home; no runner is."""
    app = ConsoleApp(home, lambda: Project.find(explicit=project.root), live=False)
    async with app.run_test(size=size) as pilot:
        app.context.live = True
        yield app, pilot


@contextlib.asynccontextmanager
async def marking(
    drafted: tuple[Home, Project, int], size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[Pilot[None], MarkingScreen]]:
    """The screen on the drafts, with the answers read."""
    home, project, job = drafted
    async with console(home, project, size) as (app, pilot):
        screen = MarkingScreen(app.context, job)
        app.push_screen(screen)
        await seen(pilot, lambda: screen.view is not None and app.screen is screen, "the answers")
        await pilot.pause()
        yield pilot, screen


async def pressed(pilot: Pilot[None], screen: MarkingScreen, key: str) -> None:
    """A key, and what came of it."""
    await pilot.press(key)
    await seen(pilot, lambda: not screen.busy, "the answer")
    await pilot.pause()


async def written(pilot: Pilot[None], dialog: EditExpectations, text: str, said: str) -> None:
    """Expectations in the field, and what is said of them at once."""
    dialog.query_one(TextField).value = text
    await seen(pilot, lambda: said in dialog.query_one(DialogRows).text, said)


def golden(project: Project) -> str:
    return (project.root / "golden/letters.yaml").read_text()


def newest(project: Project) -> GoldenInput:
    return project.golden(project.task("letters")).inputs[-1]


def marks(home: Home, project: Project) -> int:
    with contextlib.closing(open_database(home)) as connection:
        return len(list_marks(connection, project.id))


async def test_two_answers_without_names_and_a_key_that_says_which_is_right(
    drafted: tuple[Home, Project, int],
) -> None:
    home, project, _ = drafted
    async with marking(drafted) as (pilot, screen):
        assert screen.view is not None and screen.view.offer is not None
        offer = screen.view.offer
        text = text_of(pilot)
        assert "how many inputs show 0.10 is not known yet" in text and "8 of 8 left" in text
        assert offer.pair.input_id in text and LETTERS[offer.pair.input_id][:30] in text
        assert ONE not in text and OTHER not in text
        assert "expect verdict:" in text and "◂ left" in text and "right ▸" in text and "≠" in text
        assert "left" in keys_of(pilot) and "undo" not in keys_of(pilot)
        await pressed(pilot, screen, "h")
        text = text_of(pilot)
        assert f"left was {offer.left.candidate}" in text and "7 of 8 left" in text
        assert golden(project).startswith(GOLDEN) and f"id: {offer.pair.input_id}" in golden(project)
        assert marks(home, project) == 2
        assert "undo" in keys_of(pilot)
        await pressed(pilot, screen, "u")
        assert golden(project) == GOLDEN and marks(home, project) == 0
        assert screen.view.offer == offer and "taken back" in text_of(pilot)


async def test_every_pair_can_be_marked_and_what_needs_words_is_asked_for(drafted: tuple[Home, Project, int]) -> None:
    _, project, _ = drafted
    async with marking(drafted) as (pilot, screen):
        for _ in LETTERS:
            assert screen.view is not None and screen.view.offer is not None and screen.view.expected is not None
            left = screen.view.expected[0]
            if not left.missing:
                await pressed(pilot, screen, "l" if screen.view.expected[1].missing == () else "h")
                continue
            assert "does not show" in text_of(pilot)
            await pilot.press("e")
            await seen(pilot, lambda: isinstance(pilot.app.screen, EditExpectations), "what lacks is asked for")
            dialog = pilot.app.screen
            assert isinstance(dialog, EditExpectations)
            await written(pilot, dialog, "verdict: ASKS", "expect days")
            await pilot.press("enter")
            assert pilot.app.screen is dialog
            await written(pilot, dialog, "verdict: ASKS, days: [1", "not valid YAML")
            await written(pilot, dialog, "verdict: ASKS, days: 1", "can be written")
            offer = screen.view.offer
            await pilot.press("enter")
            await seen(pilot, lambda: pilot.app.screen is screen, "the screen again")
            assert "(yours)" in text_of(pilot)
            await pressed(pilot, screen, "b")
            await seen(pilot, lambda before=offer: screen.view and screen.view.offer != before, "the next pair")
        assert "Nothing is left to mark" in text_of(pilot)
        assert len(project.golden(project.task("letters")).inputs) == 2 + len(LETTERS)
        assert golden(project).startswith(GOLDEN)


async def test_a_decision_that_lacks_expectations_asks_for_them_and_is_carried_out_with_them(tmp_path: Path) -> None:
    said = {ONE: {"fee": "In May. DAYS: 3"}, OTHER: {"fee": "VERDICT: ASKS"}}
    drafted = drafted_home(tmp_path, said, {"fee": LETTERS["fee"]})
    _, project, _ = drafted
    async with marking(drafted) as (pilot, screen):
        await pilot.press("left")
        await seen(pilot, lambda: isinstance(pilot.app.screen, EditExpectations), "what lacks is asked for")
        dialog = pilot.app.screen
        assert isinstance(dialog, EditExpectations)
        await written(pilot, dialog, "verdict: ASKS, days: 3", "can be written")
        await pilot.press("enter")
        await seen(pilot, lambda: newest(project).id == "fee", "the golden input")
        assert newest(project).expect == {"verdict": "ASKS", "days": 3}
        await seen(pilot, lambda: screen.view and screen.view.offer is None, "that nothing is left")


async def test_a_file_that_others_have_written_is_told_and_read_again(drafted: tuple[Home, Project, int]) -> None:
    home, project, _ = drafted
    file = project.root / "golden/letters.yaml"
    async with marking(drafted) as (pilot, screen):
        theirs = GOLDEN + "- {id: theirs, input: Somebody else wrote this one., expect: {verdict: TELLS, days: 0}}\n"
        file.write_text(theirs)
        assert screen.view is not None
        offer = screen.view.offer
        await pressed(pilot, screen, "h")
        assert "changed by somebody else" in text_of(pilot) and golden(project) == theirs and marks(home, project) == 0
        assert screen.view.offer == offer
        await pressed(pilot, screen, "h")
        assert golden(project).startswith(theirs) and marks(home, project) == 2


async def test_the_difference_and_the_order_are_the_persons(drafted: tuple[Home, Project, int]) -> None:
    async with marking(drafted) as (pilot, screen):
        await pilot.press("t")
        await pilot.press("l", "enter")
        await seen(pilot, lambda: pilot.app.screen is screen and not screen.busy, "the screen again")
        await pilot.pause()
        assert "how many inputs show 0.15" in text_of(pilot)
        await pressed(pilot, screen, "o")
        assert "by chance alone" in text_of(pilot) and "drawn by chance" in text_of(pilot)


@pytest.mark.parametrize("size", [(80, 24), (60, 18), (200, 50)])
async def test_no_row_is_lost_or_too_wide_at_any_size(
    drafted: tuple[Home, Project, int], size: tuple[int, int]
) -> None:
    async with marking(drafted, size) as (pilot, screen):
        await pressed(pilot, screen, "s")
        rows = text_of(pilot, "RowsView").splitlines()
        assert all(len(row) <= size[0] for row in rows) and "skipped" in "".join(rows)


async def test_a_task_that_comes_with_bakehouse_is_copied_before_its_golden_file_grows(
    drafted: tuple[Home, Project, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shipped project is one in a folder here: what is really shipped is never written."""
    home, project, job = drafted
    shipped = Project(project.root, "shipped", "Bakehouse", project.settings)
    mine = Project(project.root.parent / "mine", project.id, "mine", project.settings, shipped)
    app = ConsoleApp(home, lambda: mine, live=False)
    async with app.run_test(size=(120, 40)) as pilot:
        app.context.live = True
        screen = MarkingScreen(app.context, job)
        app.push_screen(screen)
        await seen(pilot, lambda: screen.view is not None and app.screen is screen, "the answers")
        await pilot.press("h")
        await seen(pilot, lambda: isinstance(app.screen, Confirm), "the question")
        assert golden(project) == GOLDEN and marks(home, project) == 0
        await pilot.press("y")
        await seen(pilot, lambda: app.screen is screen and "copied into" in text_of(pilot), "the copy")
        await pressed(pilot, screen, "h")
        assert golden(project) == GOLDEN and golden(mine).startswith(GOLDEN) and golden(mine) != GOLDEN
        assert marks(home, project) == 2


async def test_why_nothing_can_be_marked_is_told(drafted: tuple[Home, Project, int]) -> None:
    home, project, job = drafted
    (project.root / "configs/tasks/letters.yaml").unlink()
    async with console(home, project) as (app, pilot):
        screen = MarkingScreen(app.context, job)
        app.push_screen(screen)
        await seen(pilot, lambda: bool(screen.problem), "why nothing is shown")
        await pilot.pause()
        assert "no task" in text_of(pilot)


async def test_the_shown_answer_becomes_a_golden_input_or_an_input_of_its_own(
    drafted: tuple[Home, Project, int],
) -> None:
    home, project, job = drafted
    async with console(home, project) as (app, pilot):
        for keys, wanted in (([], LETTERS["piano"]), (["l"], SAID[OTHER]["piano"])):
            ask_golden(app, app.context, job, "letters", OTHER, "piano", 1)
            await seen(pilot, lambda: isinstance(app.screen, AskGolden) and app.screen.outlook, "what can be added")
            dialog = app.screen
            assert isinstance(dialog, AskGolden)
            await pilot.press(*keys)
            if keys:
                assert "the checks expect verdict, days" in dialog.query_one(DialogRows).text
                dialog.values["expect"] = "verdict: ASKS, days: 4"
                dialog.fit()
                assert dialog.command.endswith("--as-input --expect=verdict=ASKS --expect=days=4")
            await pilot.press("enter")
            await seen(pilot, lambda text=wanted: newest(project).input == text, "the input")
        added = project.golden(project.task("letters")).inputs
        assert [one.expect for one in added[2:]] == [{"verdict": "ASKS", "days": 4}] * 2
        assert added[3].tags == ["own-output"]
        ask_golden(app, app.context, job, "letters", ONE, "piano", 1)
        await seen(pilot, lambda: isinstance(app.screen, AskGolden) and app.screen.outlook, "what can be added")
        assert "already" in app.screen.query_one(DialogRows).text


async def test_drafts_of_two_candidates_are_asked_for_from_their_bake_off(
    drafted: tuple[Home, Project, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, project, job = drafted
    monkeypatch.setattr("core.submission.enqueue.ensure_runner", lambda home: None)
    monkeypatch.setattr("core.attempt.local.LocalLauncher.warning", lambda _: None)
    file = tmp_path / "new.txt"
    file.write_text("Who has the ladder of the bell tower?")
    async with console(home, project) as (app, pilot):
        ask_drafts(app, app.context, job, "letters", (ONE, OTHER), (ONE, OTHER))
        await seen(pilot, lambda: isinstance(app.screen, AskDrafts) and app.screen.query(DialogRows), "the dialog")
        dialog = app.screen
        assert isinstance(dialog, AskDrafts)
        await seen(pilot, lambda: "is missing" in dialog.query_one(DialogRows).text, "what is missing")
        await pilot.press("enter")
        assert app.screen is dialog
        await pilot.press("e")
        dialog.query_one(TextField).value = "~nobody-of-this-name/new.txt"
        await pilot.press("enter")
        assert "cannot be resolved" in " ".join(dialog.query_one(DialogRows).text.split())
        await pilot.press("e")
        dialog.query_one(TextField).value = str(file)
        await pilot.press("enter")
        assert f"--of {job} --candidates {ONE} {OTHER}" in dialog.command
        await pilot.press("enter")

        def queued() -> bool:
            with contextlib.closing(open_database(home)) as connection:
                return len(list_jobs(connection)) == 2

        await seen(pilot, queued, "the job")
    with contextlib.closing(open_database(home)) as connection:
        newest = next(one for one in list_jobs(connection) if one.id != job)
    spec = JobFile.load(home.run_dir(newest.id)).spec
    assert isinstance(spec, DraftsSpec) and list(spec.asked.forms) == [ONE, OTHER]


async def test_a_task_leads_to_its_newest_answers_or_says_that_there_are_none(
    drafted: tuple[Home, Project, int],
) -> None:
    home, project, job = drafted
    async with console(home, project) as (app, pilot):
        screen = MarkingScreen(app.context, None, "letters")
        app.push_screen(screen)
        await seen(pilot, lambda: screen.view is not None, "the answers")
        await pilot.pause()
        assert f"job {job}," in text_of(pilot)
        none = MarkingScreen(app.context, None, "judge")
        app.push_screen(none)
        await seen(pilot, lambda: bool(none.problem), "why nothing is shown")
        await pilot.pause()
        assert "golden draft judge" in " ".join(text_of(pilot).split())
