"""The form of a bake-off: tasks and candidates are ticked with keys and mouse, and queued as the command would."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from core.config.shipped import DEMO_TASK
from core.store.database import open_database
from core.store.jobs import list_jobs
from tests.support.kitchen import Kitchen, kitchen
from tests.support.ollama_standin import OllamaStandin
from tests.support.projects import with_shipped_tasks
from tests.tui.bakeoff_form import console, form, looked, no_server, queued, read, server, tick
from tests.tui.conftest import keys_of, seen, text_of
from tests.tui.scene import job, scene
from tui.app import ConsoleApp
from tui.queries.bakeoff_form import ServerRead
from tui.queries.bakeoff_plan import BakeoffPlan
from tui.screens.dashboard import Dashboard
from tui.screens.new_bakeoff import NewBakeoff
from tui.screens.results import Results
from tui.screens.start_bakeoff import AskBakeoff
from tui.theme import DARK

__all__ = ["kitchen", "no_server", "server"]


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_tasks_candidates_and_a_variant_are_queued(kitchen: Kitchen, size: tuple[int, int]) -> None:
    async with form(kitchen, size) as (pilot, screen):
        assert screen.task_list.has_focus
        assert "Tick a task" in text_of(pilot, "#outlook")
        await pilot.press("a", "tab")
        assert set(screen.choices.tasks) == {"bread", "jam"}, "the project's own, as --tasks all has it"
        await tick(pilot, screen, "plain", "other")
        await looked(pilot, screen)
        shown = text_of(pilot, "#outlook")
        assert "24 answers in all" in shown
        assert "bread 3 inputs × 2, jam 3 inputs × 2; each by 2 candidates" in shown
        assert "bakehouse bakeoff --tasks bread,jam plain other" in text_of(pilot, "#command")
        await pilot.press("@", *"temperature=0.5")
        await seen(pilot, lambda: "✓" in text_of(pilot, "#note-add"), "that it can be")
        await pilot.press("enter")
        await looked(pilot, screen)
        assert screen.candidate_list.has_focus
        assert screen.candidate_list.selected == "other@temperature=0.5"
        assert "2 candidates" in text_of(pilot, "#outlook")
        command = shlex.split(screen.wanted.command())
        assert command[2:] == ["--tasks", "bread,jam", "plain", "other", "other@temperature=0.5"]
        screen.fields.text("repeats").focus()
        await pilot.press(*"3", "enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Dashboard) or screen.current, "another outlook")
        if pilot.app.screen is screen:  # it was asked for before the outlook on three repeats was there
            await looked(pilot, screen)
            await pilot.press("enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Dashboard), "the dashboard")
    (job_id,) = queued(kitchen)
    with contextlib.closing(open_database(kitchen.home)) as connection:
        (row,) = list_jobs(connection)
    assert row.id == job_id
    spec = kitchen.spec(row)
    assert [task.name for task in spec.tasks] == ["bread", "jam"]
    assert [task.repeats for task in spec.tasks] == [3, 3]
    assert [one.name for one in spec.candidates] == ["plain base", "other base", "other base @temperature=0.5"]
    assert spec.incumbent is None


async def test_what_cannot_be_is_told_as_one_types_and_stays(kitchen: Kitchen) -> None:
    async with form(kitchen) as (pilot, screen):
        await tick(pilot, screen, "bread", "plain")
        await pilot.press("@", *"few_shot=99")
        await seen(pilot, lambda: "✓" in text_of(pilot, "#note-add"), "that it is a variant")
        await pilot.press("enter")
        await seen(pilot, lambda: "12 examples can be shown" in text_of(pilot, "#outlook"), "why it can't be")
        await pilot.press("enter")
        (said,) = pilot.app._notifications
        assert "not queued" in said.message and "12 examples" in said.message
        await pilot.press("@", *"temprature=1")
        await seen(pilot, lambda: "unknown key" in text_of(pilot, "#note-add"), "what is wrong")
        await pilot.press("enter")
        await pilot.pause()
        assert screen.fields.added == "@temprature=1", "what is wrong stays to be mended"
        assert not screen.valid
        await pilot.press("ctrl+u")
        screen.candidate_list.select("plain@few_shot=99")
        screen.candidate_list.focus()
        await pilot.press("space")
        await looked(pilot, screen)
        assert screen.valid
        assert "plain@few_shot=99" in [row.key for row in screen.candidate_list.rows], "it can be ticked again"
    assert not queued(kitchen)


async def test_a_candidate_that_can_t_be_says_why_in_its_row(kitchen: Kitchen) -> None:
    async with form(kitchen) as (pilot, screen):
        await tick(pilot, screen, "bread", "plain")
        screen.choices.add("plain@format=json")
        screen._changed()
        await looked(pilot, screen)
        assert "✗ @format=json  a model that the job loads itself is not held" in text_of(pilot, "#candidates")
        assert "a model that the job loads itself" in text_of(pilot, "#outlook")


async def test_numbers_are_whole_and_the_incumbent_is_among_the_candidates(kitchen: Kitchen) -> None:
    async with form(kitchen) as (pilot, screen):
        await tick(pilot, screen, "bread", "plain", "other")
        screen.fields.text("concurrency").focus()
        await pilot.press(*"two")
        await pilot.pause()
        assert "concurrency: enter a whole number of at least 1" in text_of(pilot, "#outlook")
        assert "✗ concurrency" in text_of(pilot, "#note-numbers")
        await pilot.press("enter")
        assert screen.fields.text("concurrency").has_focus
        await pilot.press("ctrl+u", *"2")
        screen.fields.choice("incumbent").focus()
        await pilot.press("right", "right")
        screen.fields.choice("curtail").focus()
        await pilot.press("right")
        await looked(pilot, screen)
        command = screen.wanted.command()
        assert command == "bakehouse bakeoff bread plain other --incumbent other --concurrency 2 --curtail"
        await tick(pilot, screen, "other")
        assert screen.fields.incumbent is None, "who is not ticked is nobody's measure"


async def test_the_mouse_ticks(kitchen: Kitchen) -> None:
    async with form(kitchen) as (pilot, screen):
        await pilot.click("#tasks", offset=(5, 1))
        assert screen.choices.tasks == ["bread"]
        row = next(index for index, one in enumerate(screen.candidate_list.rows) if one.key == "plain")
        await pilot.click("#candidates", offset=(5, row + 1))
        assert screen.choices.candidates == ["plain"]
        await pilot.click("#candidates", offset=(5, row + 1))
        assert screen.choices.candidates == []


async def test_a_task_that_cannot_be_scored_is_not_ticked(kitchen: Kitchen) -> None:
    kitchen.task("scoreless", more="")
    async with form(kitchen) as (pilot, screen):
        await tick(pilot, screen, "scoreless")
        assert screen.choices.tasks == []
        (said,) = pilot.app._notifications
        assert "no checks" in said.message


async def test_a_path_that_is_not_listed_is_added(kitchen: Kitchen) -> None:
    async with form(kitchen) as (pilot, screen):
        await tick(pilot, screen, "bread")
        await pilot.press("+", *"../models/othr")
        await seen(pilot, lambda: "✗" in text_of(pilot, "#note-add"), "that there is none")
        await pilot.press("backspace", *"er@top_k=3")
        await seen(pilot, lambda: "✓" in text_of(pilot, "#note-add"), "that it can be")
        await pilot.press("enter")
        await looked(pilot, screen)
        shown = text_of(pilot, "#candidates")
        assert "written below" in shown and "· ../models/other" in shown and "✓ @top_k=3" in shown
        assert screen.wanted.candidates == ("../models/other@top_k=3",)


async def test_names_of_a_server_are_only_text(kitchen: Kitchen) -> None:
    async with form(kitchen) as (pilot, screen):
        screen.post_message(ServerRead("ollama", ("served:[bold]x[/]\x1b[2J\n" + "y" * 300, "served:z")))
        await pilot.pause()
        assert "served:[bold]x[/]" in text_of(pilot, "#candidates") and "\x1b" not in text_of(pilot)
        await tick(pilot, screen, "served:z")
        assert screen.choices.candidates == ["served:z"]


async def test_models_of_servers_are_offered_with_the_server_s_state(kitchen: Kitchen, server: OllamaStandin) -> None:
    async with form(kitchen) as (pilot, screen):
        keys = [row.key for row in screen.candidate_list.rows]
        assert {"served:planner", "served:judge:v1"} <= set(keys)
        await tick(pilot, screen, "bread", "served:planner")
        await pilot.press("@", *"think=on")
        await seen(pilot, lambda: "cannot think" in text_of(pilot, "#note-add"), "what the server says")
        server.down()
        await pilot.press("f5")
        await seen(
            pilot, lambda: "server ollama  no model server answers" in text_of(pilot, "#candidates"), "its state"
        )
        assert "served:planner" in screen.wanted.candidates, "it may be up again when the job runs"


def run(number: int, task: str, state: str = "done") -> Any:
    return job(number, state, f"train {task} · plain")


async def test_runs_are_offered_and_marked_ones_are_ticked(kitchen: Kitchen) -> None:
    jobs = (run(9, "bread"), run(8, "jam"), run(7, "bread", "failed"))
    async with console(kitchen, jobs=jobs) as pilot:
        await pilot.press("space", "space", "b")  # of two tasks: more than the short question is about
        screen = await read(pilot)
        assert screen.choices.tasks == ["bread", "jam"]
        assert screen.choices.candidates == ["plain", "job:9", "job:8"]
        shown = text_of(pilot, "#candidates")
        assert "job:9 plain" in shown and "job:8 plain" in shown and "job:7" not in shown
        await pilot.press("escape")
        await pilot.press("B")
        again = await read(pilot)
        assert again is not screen and again.choices.candidates == ["plain", "job:9", "job:8"]


async def test_the_short_question_leads_into_the_form(kitchen: Kitchen) -> None:
    async with console(kitchen, jobs=(run(9, "bread"), run(8, "bread"))) as pilot:
        await pilot.press("b")
        dialog = pilot.app.screen
        assert isinstance(dialog, AskBakeoff)
        dialog.post_message(AskBakeoff.PlanRead(BakeoffPlan("bread", "plain", 3, 2)))
        await pilot.pause()
        assert "B more models, tasks, variants" in text_of(pilot, "#plan")
        await pilot.press("space", "B")
        screen = await read(pilot)
        assert screen.choices.candidates == ["plain", "job:9", "job:8"]
        assert screen.choices.tasks == ["bread"]


async def test_the_form_forgets_what_was_ticked(kitchen: Kitchen) -> None:
    async with form(kitchen) as (pilot, screen):
        await tick(pilot, screen, "bread", "plain")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, Dashboard)
        await pilot.press("B")
        again = await read(pilot)
        assert not again.choices.tasks and not again.choices.candidates
    assert not queued(kitchen)
    assert not list(kitchen.home.inputs.glob("*")), "looking stores nothing"


async def test_an_ended_bake_off_goes_on_from_its_results(kitchen: Kitchen) -> None:
    former = kitchen.submit(kitchen.wanted("plain", "other@think=on", incumbent="plain"))
    kitchen.end(former)
    async with console(kitchen) as pilot:
        pilot.app.push_screen(Results(pilot.app.context, former.id))  # type: ignore[attr-defined]
        await pilot.pause()
        await pilot.press("x")
        screen = await read(pilot)
        await looked(pilot, screen)
        assert screen.extend == former.id
        shown = " ".join(text_of(pilot, "#candidates").split())
        assert "✓ plain base there already" in shown and "✓ other base @think=on there already" in shown
        assert "✓ bread there already" in " ".join(text_of(pilot, "#tasks").split())
        assert screen.wanted.command() == f"bakehouse bakeoff --extend {former.id}"
        await tick(pilot, screen, "jam", "other")
        await looked(pilot, screen)
        assert "36 answers in all" in text_of(pilot, "#outlook")
        await pilot.press("enter")
        await seen(pilot, lambda: pilot.app.screen is not screen, "that it is queued")
    job_id = max(queued(kitchen))
    with contextlib.closing(open_database(kitchen.home)) as connection:
        spec = kitchen.spec(next(row for row in list_jobs(connection) if row.id == job_id))
    assert spec.extends == former.id
    assert [one.name for one in spec.candidates] == ["plain base", "other base @think=on", "other base"]
    assert spec.incumbent == "plain base"


async def test_one_that_runs_is_not_extended(kitchen: Kitchen) -> None:
    former = kitchen.submit(kitchen.wanted("plain"))
    kitchen.end(former, "running")
    async with console(kitchen) as pilot:
        pilot.app.push_screen(NewBakeoff(pilot.app.context, extend=former.id))  # type: ignore[attr-defined]
        await pilot.pause()
        screen = await read(pilot)
        assert "has not ended yet" in text_of(pilot, "#outlook")
        await pilot.press("enter")
        assert not screen.queueing
    assert queued(kitchen) == [former.id]


async def test_a_refusal_at_the_queue_leaves_everything_as_it_was(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    async with form(kitchen) as (pilot, screen):
        await tick(pilot, screen, "bread", "plain")
        await looked(pilot, screen)
        monkeypatch.setattr("core.submission.bakeoff.store", refused)
        await pilot.press("enter")
        await seen(pilot, lambda: not screen.queueing and pilot.app._notifications, "that it was refused")
        assert pilot.app.screen is screen
        assert screen.choices.candidates == ["plain"] and screen.valid
        assert "queue it" in keys_of(pilot)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
def test_the_look_of_the_form(
    snap_compare: Callable[..., bool], kitchen: Kitchen, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a task and three candidates ticked, and a variant that is wrong being written."""

    async def ticked(pilot: Pilot[None]) -> None:
        await pilot.press("B")
        screen = await read(pilot)
        await seen(pilot, lambda: "ollama" in screen.servers, "what the server says")
        await tick(pilot, screen, "bread", "other", "plain")
        await pilot.press("@", *"few_shot=2")
        await seen(pilot, lambda: "✓" in text_of(pilot, "#note-add"), "that it can be")
        assert "⏎ add it" in keys_of(pilot) and "queue it" not in keys_of(pilot)
        await pilot.press("enter")
        await looked(pilot, screen)
        await pilot.press("k", "@", *"think=ja")
        await seen(pilot, lambda: "✗" in text_of(pilot, "#note-add"), "that it can't be")
        screen.fields.text("add").cursor_blink = False
        await pilot.pause()

    # Of the shipped tasks one is enough: the picture is of the form, whatever else is shipped.
    one_shipped = with_shipped_tasks(kitchen.project, kitchen.root.parent / "shipped", DEMO_TASK)
    app = ConsoleApp(kitchen.home, lambda: one_shipped, live=False)
    app.theme = DARK.name
    app.context.snapshot = scene(jobs=())
    monkeypatch.chdir(kitchen.root)  # else the command names the folder, which is another one each time
    assert snap_compare(app, run_before=ticked, terminal_size=size)
